"""Many bad inputs to the shell; their count is shown."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from shell import refused

# Each FILE is replaced by every bad file; the others are good.
COMMANDS = (
    "rsm FILE -o o.npz",
    "rsm x.npy FILE -o o.zarr",
    "plan FILE",
    "status FILE",
    "match FILE x.npy",
    "match x.npy FILE -o o.json",
    "search FILE x.npy -o o.npz",
    "search x.npy FILE -o o.json",
    "compare FILE k.npy",
    "compare k.npy FILE --measure rsa",
    "compare FILE k.npy --measure pwcca",
    "correlate FILE --logits p.npy",
    "correlate k.npy --logits FILE",
    "retrieve FILE",
    "retrieve k.npy --queries FILE",
    "report FILE -o o.html",
    "report k.npy --labels FILE -o o.html",
)
OPTIONS = {
    "rsm x.npy -o o.npz": "tile memory-budget bandwidth epsilon tolerance layout grid",
    "compare k.npy l.npy": "estimator bootstrap permutations confidence groups k",
    "search x.npy x.npy -o o.npz": "k matcher kernel exclude bandwidth",
    "match x.npy x.npy": "i j matcher tolerance window ladder",
    "correlate k.npy --logits p.npy": "bootstrap confidence seed kernel",
    "retrieve k.npy": "k exclude score database resamples plot",
}
VALUES = ("-1", "nan", "x y", "", "1e999", "../../none/none")


def bad_files(rng) -> list[str]:
    """Files in the working folder that hold neither features nor RSMs nor labels."""
    arrays = {
        "nan": np.full((4, 3, 2), np.nan),
        "infinite": np.full((4, 4), np.inf),
        "complex": np.ones((4, 4), complex),
        "text": np.array([["a", "b"]] * 4),
        "boolean": np.ones((4, 4), bool),
        "scalar": np.float32(1),
        "empty": np.ones((0, 3, 2)),
        "five": np.ones((4, 2, 2, 2, 2)),
        "times": np.zeros((4, 4), "M8[s]"),
    }
    names = []
    for (name, array), suffix in itertools.product(arrays.items(), ("npy", "npz")):
        names.append(f"{name}.{suffix}")
        (np.save if suffix == "npy" else np.savez)(names[-1], array)
    good = Path("x.npy").read_bytes()
    contents = {
        "cut.npy": good[:-9],
        "noise.npz": rng.bytes(300),
        "noise.safetensors": rng.bytes(300),
        "nothing.npy": b"",
        "nothing.csv": b"",
        "noise.csv": rng.bytes(300),
        "other.txt": b"0.5",
    }
    for name, content in contents.items():
        Path(name).write_bytes(content)
    Path("folder.zarr").mkdir()
    return [*names, *contents, "folder.zarr", "none.npy", "none.zarr", "."]


@pytest.mark.slow
def test_bad_inputs_end_with_one_message(tmp_path, monkeypatch, rng, record_property):
    monkeypatch.chdir(tmp_path)
    x = rng.normal(size=(4, 3, 2)).astype("f")
    for name, array in (("x", x), ("k", np.eye(4)), ("l", np.eye(4)), ("p", x[:, 0])):
        np.save(f"{name}.npy", array)
    bad_ones = bad_files(rng)
    calls = [
        [bad if word == "FILE" else word for word in command.split()]
        for command in COMMANDS
        for bad in bad_ones
    ]
    calls += [
        [*command.split(), f"--{name}", value]
        for command, names in OPTIONS.items()
        for name in names.split()
        for value in VALUES
    ]
    before = sorted(os.listdir())
    for call in calls:
        message = refused(*call)
        assert len(message) < 1500, (call, message)
        assert sorted(os.listdir()) == before, call
    record_property("count", f"{len(calls)} bad inputs refused, with one message each")
