"""What the documentation and the README say can be typed: their examples run."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import pytest
from checkpoints import PREPROCESSOR
from PIL import Image

sybil = pytest.importorskip("sybil")
from sybil.example import Example  # noqa: E402
from sybil.parsers.markdown import (  # noqa: E402
    CodeBlockParser,
    PythonCodeBlockParser,
    SkipParser,
)

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NEEDS = {"walkthrough.md": ("torch", "transformers", "skimage", "matplotlib")}


def shell(example: Example) -> None:
    """Runs a block of commands, each as a user types it; the first failure ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed],
        capture_output=True,
        text=True,
    )
    said = f"{Path(example.path).name}:{example.line}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said


PYTHON = [PythonCodeBlockParser(), SkipParser()]
COMMANDS = [CodeBlockParser(language="bash", evaluator=shell)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, where ``semrsm`` is this checkout's."""
    program = tmp_path / "bin" / "semrsm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m semrsm_jax "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("COLUMNS", "88")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def run(page: Path, parsers: list = PYTHON + COMMANDS, **given) -> int:
    """Executes the examples of a page, in one namespace; how many there were.

    Args:
      page: a file in Markdown.
      parsers: which examples.
      **given: what each example takes as given, whatever those before it made of it.
    """
    document = sybil.Sybil(parsers).parse(page)
    count = 0
    for example in document.examples():
        document.namespace.update(given)
        try:
            example.evaluate()
        except unittest.SkipTest:
            continue
        count += isinstance(example.parsed, str)  # no directive
    return count


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT / "docs")))
def test_examples_of_the_site_run(page, folder):
    for module in NEEDS.get(page.name, ()):
        pytest.importorskip(module)
    count = run(page)
    assert count == 0 or "```" in page.read_text()


def test_examples_are_found(folder):
    page = folder / "page.md"
    page.write_text("```python\nx = 2\n```\n\n```bash\ntest -e nothing\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:5"):
        run(page)
    page.write_text("```python\nx = 2\n```\n\n```python\nassert x == 3\n```\n")
    with pytest.raises(AssertionError):
        run(page)
    page.write_text("```bash\nsemrsm --version > version\n```\n")
    assert run(page) == 1
    assert (folder / "version").read_text().startswith("semrsm_jax ")


@pytest.mark.slow
def test_examples_of_the_readme_run(folder, rng):
    """All but the one that needs a batch system."""
    write_checkpoint(folder / "facebook" / "dinov2-base")
    write_preprocessor(folder / "checkpoint")
    (folder / "photographs").mkdir()
    for number, picture in enumerate(rng.integers(0, 256, (3, 40, 40, 3), np.uint8)):
        Image.fromarray(picture).save(folder / "photographs" / f"{number}.png")
    features = rng.normal(size=(300, 4, 3)).astype(np.float32)
    np.save(folder / "features.npy", features[:220])
    np.save(folder / "database.npy", features[220:])

    X, Y = rng.normal(size=(12, 5)), rng.normal(size=(12, 7))
    query_counts, database_counts = rng.integers(0, 3, (2, 12, 4))
    text = (ROOT / "README.md").read_text()
    on_a_cluster = "```python\nfrom dask_jobqueue import"
    assert text.count(on_a_cluster) == 1
    page = folder / "README.md"
    page.write_text(
        text.replace(
            on_a_cluster,
            f'<!-- skip: next "needs a batch system" -->\n\n{on_a_cluster}',
        )
    )
    count = run(
        page,
        PYTHON,
        x=rng.normal(size=(12, 9, 3)),
        **{"X": X, "Y": Y, "K": X @ X.T, "L": Y @ Y.T, "K1": X @ X.T, "K2": Y @ Y.T},
        logits=rng.normal(size=(12, 6)),
        query_counts=query_counts,
        database_counts=database_counts,
        student=rng.normal(size=(6, 4, 3)),
        teacher=rng.normal(size=(6, 9, 5)),
    )
    assert count == text.count("```python\n") - 1


def write_checkpoint(folder: Path) -> None:
    """DINOv2 of the depth that the README names, otherwise small, of random weights."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    config = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=12, num_attention_heads=2, image_size=28
    )
    transformers.Dinov2Model(config).save_pretrained(folder)


def write_preprocessor(folder: Path) -> None:
    folder.mkdir()
    settings = PREPROCESSOR | {"size": {"height": 28, "width": 28}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
