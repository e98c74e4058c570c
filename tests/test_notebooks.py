"""The notebooks run from end to end, as they are, in the folder where they lie."""

import os
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_LARGEST = 300_000  # bytes, outputs included


def test_there_is_one_for_each_study_of_soft_matching():
    studies = {path.stem for path in (ROOT / "experiments").glob("soft_*.py")}
    studies -= {"soft_memory", "soft_runtime"}  # benchmarks
    assert studies and studies <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_small(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < _LARGEST
    outputs = [o for c in notebook.cells for o in c.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch):
    if path.stem == "soft_distill":
        pytest.importorskip("sklearn")
    pytest.importorskip("skimage")
    # The kernel shall use this checkout, whatever is installed.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    )
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    outputs = [o for c in notebook.cells for o in c.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
