"""The notebooks run from start to end, in their own folder."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# In the order of reading.
TUTORIALS = (
    "quickstart",
    "own_flax_model",
    "own_pytorch_model",
    "exact_or_approximate",
    "soft_permutations",
    "retrieval",
    "comparing_models",
    "laptop_to_cluster",
)
# The first runs with every change, the others before a release.
RUNS = [
    pytest.param(
        path, id=path.stem, marks=() if path.stem == "quickstart" else pytest.mark.long
    )
    for path in NOTEBOOKS
]
_LARGEST = 300_000  # bytes, outputs included
# Folders of the machine where it was run, and memory addresses.
_LOCAL = re.compile(r"/(home|root|tmp|usr|work|Users|var)/| at 0x[0-9a-f]{6,}")


def _outputs(notebook):
    return [o for cell in notebook.cells for o in cell.get("outputs", ())]


def _pictures(notebook):
    return sum("image/png" in o.get("data", {}) for o in _outputs(notebook))


def test_each_subject_and_each_study_of_soft_matching_has_one():
    folder = ROOT / "experiments" / "soft"
    studies = {
        f"soft_{path.stem}"
        for path in folder.glob("*.py")
        if "STUDY = Study(" in path.read_text()
    }
    assert studies
    assert {path.stem for path in NOTEBOOKS} == studies | {*TUTORIALS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_small_and_do_not_depend_on_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < _LARGEST
    assert _pictures(notebook) > 0
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    for output in _outputs(notebook):
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output["text"]
        texts = [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
        assert not _LOCAL.search("".join(texts))


@pytest.mark.slow
@pytest.mark.parametrize("path", RUNS)
def test_notebook_runs(path, monkeypatch):
    if path.stem == "own_pytorch_model":
        pytest.importorskip("torch")
    # The kernel is to use this checkout, also where another version is installed.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    )
    notebook = nbformat.read(path, as_version=4)
    pictures = _pictures(notebook)
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    assert _pictures(notebook) == pictures
