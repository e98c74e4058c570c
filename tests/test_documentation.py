"""The examples of the documentation and of the README run."""

import os
import re
import shlex
import subprocess
import sys
import unittest
from pathlib import Path

import pytest
import shell
import sybil
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NEEDS = {
    "networks.md": ("torch",),
    "walkthrough.md": ("torch", "transformers"),
}


# What needs a shell. A block of calls of semrsm alone runs in this process, which has
# imported already what a new one would.
BASH = re.compile(r"[|&;<>$`\\]|^(?!semrsm )", re.MULTILINE)


def commands(example: Example) -> None:
    """Runs a block of commands, each as a user types it; the first failure ends it."""
    place, block = f"{Path(example.path).name}:{example.line}", example.parsed.strip()
    if BASH.search(block):
        command = ["bash", "-euo", "pipefail", "-c", block]
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, f"{place}\n{process.stdout}\n{process.stderr}"
        return
    for line in block.splitlines():
        code, out, err = shell.run(*shlex.split(line, comments=True)[1:])
        assert code == 0, f"{place}\n{out}\n{err}"


PYTHON = [PythonCodeBlockParser(), SkipParser()]
COMMANDS = [CodeBlockParser(language="bash", evaluator=commands)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, in which ``semrsm`` is that of this checkout."""
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
    monkeypatch.syspath_prepend(work)
    return work


def run(page: Path, parsers: list = PYTHON + COMMANDS) -> int:
    """Executes the examples of a page in one namespace, and returns their number.

    Args:
      page: a file in Markdown.
      parsers: of the kinds of examples that are executed.
    """
    document = sybil.Sybil(parsers).parse(page)
    count = 0
    for example in document.examples():
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
    text = page.read_text()
    blocks = re.findall(r"^```(?:python|bash)$", text, re.MULTILINE)
    assert run(page) == len(blocks) - text.count("<!-- skip: next")


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


def test_examples_of_the_readme_run(folder):
    assert run(ROOT / "README.md", PYTHON) == 1


def test_the_readme_is_short_and_opens_with_two_commands():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [block.count("\n") for block in blocks[:2]] == [1, 1]
