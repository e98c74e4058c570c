"""The command line: extract and models."""

import json
import os
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import write_vit
from class_images import write_noise
from shell import as_json, done, refused

import semrsm_jax as sj
from semrsm_jax.features import extract, load_preprocessing, open_folder
from semrsm_jax.models import VARIANTS, load
from semrsm_jax.store import FeatureStore, feature_ids, load_features, load_rsm

LAST, FIRST = "vit.layernorm", "vit.encoder.layer.0"
IDENTITY = ("--matcher", "identity")
IDS = ("a.jpg", "b/1.png", "b/2.png", "c.png", "d.webp")


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A checkpoint of a tiny ViT, and five images of several shapes."""
    folder = tmp_path_factory.mktemp("extract")
    write_vit(folder / "vit")
    write_noise(folder / "images", IDS, 20, 31)
    return folder


@pytest.fixture
def folder(shared, tmp_path, monkeypatch) -> Path:
    for name in ("vit", "images"):
        (tmp_path / name).symlink_to(shared / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(shared) -> dict[str, np.ndarray]:
    images = open_folder(shared / "images", load_preprocessing(shared / "vit"))
    return extract(load(shared / "vit"), images, [LAST, FIRST])


def test_default_is_the_papers_layer_with_all_tokens(folder, expected):
    out = done("extract", "-m", "vit", "-i", "images", "-o", "f.npz")
    assert LAST in out
    assert "17 tokens, 8 channels" in out
    loaded = load_features("f.npz")
    np.testing.assert_allclose(loaded, expected[LAST], rtol=1e-5, atol=1e-5)
    assert feature_ids("f.npz") == IDS
    assert sorted(os.listdir()) == ["f.npz", "images", "vit"]


@pytest.mark.slow
@pytest.mark.parametrize("output", ["f.zarr", "f.npz", "f.safetensors"])
def test_several_layers_into_any_output_and_on_to_the_rsm(folder, expected, output):
    out = done(
        *("extract", "--model", "vit", "--images", "images", "-o", output),
        *("--layers", f"{FIRST},last", "--tokens", "patches", "--batch-size", 2),
    )
    for name in (FIRST, LAST):
        loaded = np.asarray(load_features(output, name))
        np.testing.assert_allclose(loaded, expected[name][:, 1:], rtol=1e-5, atol=1e-5)
    assert feature_ids(output) == IDS
    # What the report proposes works as it stands.
    proposed = out.splitlines()[-1].removeprefix("Next: semrsm ").split()
    assert proposed[:2] == ["rsm", output]
    done(*proposed, "--solver", "scipy")
    tokens = np.asarray(load_features(output, proposed[3]))
    rsm = sj.rsm(tokens, matcher=sj.Exact(solver="scipy"))
    np.testing.assert_array_equal(load_rsm("rsm.npz").rsm, rsm)


def test_a_single_layer_needs_no_key(folder):
    arguments = ("extract", "-m", "vit", "-i", "images", "--tokens", "cls")
    for output in ("f.zarr", "f.npz"):
        done(*arguments, "-o", output)
        done("rsm", output, "-o", f"{output}.npz", *IDENTITY)
        rsm = load_rsm(f"{output}.npz")
        assert rsm.rsm.shape == (5, 5)
        assert rsm.metadata["inputs"][0]["shape"] == [5, 1, 8]


def test_a_store_is_resumed_and_refuses_another_network(folder, shared):
    arguments = ("extract", "-i", "images", "-o", "f.zarr", "--batch-size", 2)
    done(*arguments, "-m", "vit")
    (record,) = Path("f.zarr/crc32c").glob("c.1.*")
    record.unlink()
    kept = next(Path("f.zarr", LAST).glob("c.0.*")).stat().st_mtime_ns
    assert FeatureStore.open("f.zarr").missing() == [1]
    # From elsewhere, by another path: still the same network.
    done(*arguments, "-m", shared / "vit")
    assert FeatureStore.open("f.zarr").complete
    assert next(Path("f.zarr", LAST).glob("c.0.*")).stat().st_mtime_ns == kept
    write_vit(folder / "other" / "vit", seed=1)
    assert "holds other features" in refused(*arguments, "-m", "other/vit")
    message = refused(*arguments, "-m", "vit", "--overwrite")
    assert "--overwrite does not fit a .zarr output" in message


def test_broken_images_are_refused_or_skipped_as_told(folder, shared):
    Path("images").unlink()
    Path("images").mkdir()
    for name in ("c.png", "d.webp"):
        Path("images", name).write_bytes((shared / "images" / name).read_bytes())
    Path("images/broken.png").write_bytes(b"no image")
    arguments = ("extract", "-m", "vit", "-i", "images", "-o", "f.npz")
    message = refused(*arguments)
    assert "1 of 3 files below images cannot be read" in message
    assert "broken.png: not an image" in message
    out = done(*arguments, "--on-error", "skip")
    assert "Skipped broken.png: not an image" in out
    assert feature_ids("f.npz") == ("c.png", "d.webp")
    report = as_json(*arguments, "--on-error", "skip", "--overwrite")
    assert report["images"] == 2
    assert report["skipped"][0]["id"] == "broken.png"
    assert report["layers"] == {LAST: [2, 17, 8]}


def test_bfloat16(folder, expected):
    arguments = ("extract", "-m", "vit", "-i", "images", "--dtype", "bfloat16")
    done(*arguments, "-o", "f.safetensors")
    loaded = load_features("f.safetensors")
    assert loaded.dtype == jnp.bfloat16
    x, y = (np.asarray(a, np.float32).reshape(-1, 8) for a in (loaded, expected[LAST]))
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    assert ((x * y).sum(1) / norms).min() > 0.98
    assert "bfloat16 does not fit an .npz output" in refused(*arguments, "-o", "f.npz")


def test_layers_are_listed(folder):
    out = done("extract", "--model", "vit", "--list-layers")
    rows = {" ".join(line.split()) for line in out.splitlines()}
    assert f"* {FIRST} Layer 17 x 8 17 x 8 4 x 4 1 float32" in rows
    assert f"last: {LAST}; blocks are marked by *, unread outputs by ?" in rows
    listed = as_json("extract", "--model", "vit", "--list-layers")
    assert listed["last"] == LAST
    assert FIRST in listed["layers"]


def test_another_preprocessor(folder, expected):
    config = json.loads(Path("vit/preprocessor_config.json").read_text())
    Path("p.json").write_text(json.dumps(config | {"image_mean": [0.0, 0.0, 0.0]}))
    arguments = ("extract", "-m", "vit", "-i", "images", "-o", "f.npz")
    done(*arguments, "--preprocessor", "p.json")
    assert np.abs(load_features("f.npz") - expected[LAST]).max() > 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--layers", "vit.layernom"), f"layer 'vit.layernom'; nearest.*{LAST}"),
        (("--layers", "a,,b"), "layers must be names"),
        (("--model", "vit-b61"), "vit-b16"),
        (("--model", "images"), "images holds no weights"),
        (("-o", "f.txt"), "must end in one of .zarr, .npz, .safetensors"),
        (("-o", "vit/config.json/f.zarr"), "cannot be written"),
        (("--tokens", "some"), "'some' is not one of"),
        (("--preprocessor", "p.json"), "p.json does not exist"),
    ],
)
def test_refused(folder, change, message):
    options = {"--model": "vit", "--images": "images", "-o": "f.npz"}
    options |= dict(zip(change[::2], change[1::2], strict=True))
    text = refused("extract", *(part for item in options.items() for part in item))
    assert re.search(message, text), text
    assert not Path("f.npz").exists()


def test_what_is_missing_is_named(folder):
    assert "--images must be given" in refused("extract", "-m", "vit", "-o", "f.npz")
    assert "--output must be given" in refused("extract", "-m", "vit", "-i", "images")
    Path("p").mkdir()
    for name in ("config.json", "model.safetensors"):
        Path("p", name).symlink_to(Path("vit", name).resolve())
    message = refused("extract", "-m", "p", "-i", "images", "-o", "f.npz")
    assert "holds no preprocessor_config.json" in message


def test_models_lists_all_with_checkpoints_grids_and_taps():
    out = done("models")
    assert max(map(len, out.splitlines())) <= 80
    rows = {row["name"]: row for row in as_json("models")["models"]}
    assert list(rows) == list(VARIANTS)
    for name, row in rows.items():
        assert row["checkpoint"] == VARIANTS[name].checkpoint
        assert row["tap"] == VARIANTS[name].tap
        grid = " x ".join(map(str, row["grid"]))
        for part in (name, row["checkpoint"], row["tap"], grid):
            assert part in out
    assert rows["vit-b16"]["grid"] == [14, 14]
    assert rows["vit-b16"]["prefix_tokens"] == 1
    assert "parameters" not in rows["vit-b16"]


def test_models_counts_parameters(monkeypatch):
    one = {"resnet18": VARIANTS["resnet18"]}
    monkeypatch.setattr("semrsm_jax.models.VARIANTS", one)
    rows = as_json("models", "--parameters")["models"]
    counts = {row["name"]: row["parameters"] for row in rows}
    # As torchvision's documentation gives them for the same network.
    assert counts == {"resnet18": 11_689_512}
    assert "11.7 M" in done("models", "--parameters")
