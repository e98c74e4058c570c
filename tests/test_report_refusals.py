"""What the report refuses, and its command."""

import os

import numpy as np
import pytest
import shell
from PIL import Image
from report_pages import GRID, N, Page, folder, stored, x  # noqa: F401

from semrsm_jax import report
from semrsm_jax.engine import run
from semrsm_jax.store import save_rsm


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"images": np.zeros((3, 4, 4, 3), np.uint8)},
            "one a sample, 7 of them, got 3",
        ),
        ({"images": np.zeros((N, 4, 4), int)}, "uint8 or floats, got dtype int64"),
        ({"images": np.full((N, 4, 4), 7.0)}, r"in \[0, 1\] where they are floats"),
        ({"labels": ["a"] * 3}, "a label for each of 7 samples, got 3"),
        ({"grid": (3, 3)}, r"of S=6 tokens, .* got \(3, 3\)"),
        ({"grid": (1, 3)}, r"of S=6 tokens, .* got \(1, 3\)"),
        ({"also": [(0, 7)]}, "pairs of rows from 0 to 6"),
        ({"neighbors": 0}, "neighbors must be at least 1"),
        ({"layers": ["none"]}, "layers must be of 'features', got 'none'"),
        ({"output": "page.txt"}, "must end in one of .html"),
    ],
)
def test_bad_input_is_named(x, given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        report(x, **{"grid": GRID, **given})


def test_more_samples_or_tokens_than_can_be_shown_are_refused(x):
    with pytest.raises(ValueError, match="grid must be the rows and columns"):
        report(x[:, :3])
    with pytest.raises(ValueError, match=r"at most 1,500 samples, got 1,600.*samples="):
        report(np.zeros((1600, 4, 2), "f4"))


def test_nan_and_other_shapes_are_refused(tmp_path):
    K = np.eye(3)
    K[0, 2] = np.nan
    save_rsm(tmp_path / "nan.npz", K)
    with pytest.raises(ValueError, match="RSM of 'nan' must be finite .*got 1 NaN"):
        report(tmp_path / "nan.npz")
    np.save(tmp_path / "wide.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"must hold a square RSM.*\(3, 4\)"):
        report(tmp_path / "wide.npy")


def test_an_rsm_of_two_sets_is_refused(tmp_path, x):
    files = {"ids": {"x_ids": ["a", "b"], "y_ids": ["c", "d"]}, "inputs": {}}
    for name, ids in files.items():
        path = tmp_path / f"{name}.npz"
        save_rsm(path, np.eye(2), metadata={name: [{}, {}]}, **ids)
    run(x[:2], x[2:4], store=tmp_path / "run.zarr")
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=r"\(2, 2\) of two sets of samples"):
            report(path)


def test_images_that_are_missing_are_named(tmp_path, folder):
    Image.new("RGB", (4, 4)).save(tmp_path / "another.png")
    with pytest.raises(ValueError, match="7 of 7 are missing, for example .0 <.*anot"):
        report(folder / "run.zarr", tmp_path)


@pytest.mark.slow
def test_the_command_writes_the_page_and_keeps_what_is_there(tmp_path, folder):
    out = tmp_path / "new" / "report.html"
    common = ("report", folder / "run.zarr", "-i", folder / "images", "-o", out)
    chosen = ("--layers", "second", "--pairs", "2", "--pair", "1,6", "--k", 2)
    code, printed, _ = shell.run(*common, *chosen)
    assert code == 0 and "MiB" in printed and str(out) in printed.replace("\n", "")
    document = Page(out.read_text(encoding="utf-8"))
    assert [layer["name"] for layer in document.data["layers"]] == ["second"]
    assert len(stored(document.layer())) == 2 and (1, 6) in stored(document.layer())
    assert os.listdir(out.parent) == ["report.html"]
    assert "--overwrite" in shell.refused(*common)
    everything = shell.run(*common, "--overwrite", "-q", "--pairs", "all")
    assert everything[:2] == (0, "")
    everything = stored(Page(out.read_text(encoding="utf-8")).layer(1))
    assert len(everything) == N * (N - 1) // 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pair", "3"), "--pair must be I,J"),
        (("--pairs", "few"), "--pairs must be a number of pairs or all"),
        (("--layers", "third"), "layers must be of 'first', 'second', got 'third'"),
        (("--bandwidth", "2"), "--bandwidth needs --kernel rbf"),
        (("--labels", "none.csv"), "none.csv does not exist"),
        (("-i", "none"), "images: none does not exist"),
        (("--features", "none.npy"), "none.npy"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, folder, arguments, message):
    command = ("report", folder / "run.zarr", "-o", tmp_path / "r.html")
    assert message in shell.refused(*command, *arguments)
    assert os.listdir(tmp_path) == []
