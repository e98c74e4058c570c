"""Networks of other libraries by name, in Python and in the shell."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from class_images import write_noise
from PIL import Image
from shell import refused, run

from semrsm_jax.features import (
    Preprocessing,
    extract,
    list_layers,
    load_network,
    open_folder,
)
from semrsm_jax.store import FeatureStore, feature_ids, load_features

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

MODULE = """
import torch
from semrsm_jax.features import Preprocessing
from semrsm_jax.features.preprocessing import Exactly

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 1)
    )

def both():
    return network(), Preprocessing(resize=Exactly(32, 32), crop=None)

def in_flax():
    from flax import nnx

    return nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))

def bare():
    return torch.nn.ReLU()

def broken():
    return {}["key"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with four images and a module of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    Path("own_networks.py").write_text(MODULE)
    write_noise(tmp_path / "images", (f"{n}.png" for n in range(4)), 40, 51)
    return tmp_path


def odd_image(rng) -> np.ndarray:
    """Whose surplus over the crop is odd, on both sides of an even half."""
    return rng.integers(0, 256, (301, 437, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",
        pytest.param("vit_tiny_patch16_224", marks=pytest.mark.slow),
        pytest.param("convnext_atto.d2_in1k", marks=pytest.mark.slow),
    ],
)
def test_timm_comes_with_its_data_config(name, rng):
    timm = pytest.importorskip("timm")
    loaded = load_network(f"timm:{name}", pretrained=False)
    config = timm.data.resolve_model_data_config(loaded.model)
    transform = timm.data.create_transform(**config, is_training=False)
    image = odd_image(rng)
    expected = transform(Image.fromarray(image)).permute(1, 2, 0).numpy()
    assert isinstance(loaded.preprocess, Preprocessing)
    np.testing.assert_allclose(loaded.preprocess(image), expected, atol=1e-6)
    assert loaded.last == loaded.blocks[-1]


def test_torchvision_comes_with_the_transforms_of_its_weights(rng):
    models = pytest.importorskip("torchvision.models")
    loaded = load_network("torchvision:resnet18", pretrained=False)
    transforms = models.ResNet18_Weights.DEFAULT.transforms()
    for height in (301, 303, 333):
        image = odd_image(rng)[:height]
        image = np.concatenate([image, image])[:height]
        expected = transforms(Image.fromarray(image)).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(loaded.preprocess(image), expected, atol=1e-6)
    assert loaded.last == "layer4.1"
    assert loaded.select_layers(["layer1.*", "last"]) == [
        "layer1.0",
        "layer1.1",
        "layer4.1",
    ]


@pytest.mark.slow
def test_transformers_by_folder(folder, rng):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "image_size": 32}
    sizes |= {"num_hidden_layers": 2, "intermediate_size": 32, "patch_size": 8}
    config = transformers.Data2VecVisionConfig(**sizes)
    half = transformers.Data2VecVisionModel(config).half()
    half.save_pretrained("checkpoint")
    size = {"height": 32, "width": 32}
    transformers.BeitImageProcessor(size=size, do_center_crop=False).save_pretrained(
        "checkpoint"
    )
    for pretrained in (False, True):
        loaded = load_network("hf:checkpoint", pretrained=pretrained)
        assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    processor = transformers.AutoImageProcessor.from_pretrained("checkpoint")
    image = odd_image(rng)
    expected = processor(images=Image.fromarray(image), return_tensors="np")
    np.testing.assert_allclose(
        loaded.preprocessing()(image),
        expected["pixel_values"][0].transpose(1, 2, 0),
        atol=1e-6,
    )
    images = open_folder("images", loaded.preprocessing())
    features = extract(loaded.model, images, loaded.blocks, tokens="patches")
    assert [array.shape for array in features.values()] == [(4, 16, 16)] * 2
    # One of the package's own kinds runs in JAX.
    vit = transformers.ViTModel(transformers.ViTConfig(**sizes))
    vit.save_pretrained("vit")
    transformers.ViTImageProcessor(size=size).save_pretrained("vit")
    assert type(load_network("hf:vit").model).__module__.startswith("semrsm_jax")


def test_a_function_of_the_users(folder):
    loaded = load_network("own_networks:both")
    assert loaded.layers == ["0", "1", "2"]
    code, out, _ = run(
        *("extract", "-m", "own_networks:both", "-i", "images", "-l", "2"),
        *("--tokens", "patches", "-o", "f.zarr"),
    )
    assert code == 0, out
    images = open_folder("images", loaded.preprocessing())
    expected = extract(loaded.model, images, ["2"])["2"]
    np.testing.assert_allclose(load_features("f.zarr"), expected, atol=1e-6)
    assert feature_ids("f.zarr") == ("0.png", "1.png", "2.png", "3.png")
    recorded = FeatureStore.open("f.zarr").metadata["preprocessing"]
    assert recorded == str(loaded.preprocessing())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:vit_tiny_patch16_225", "timm has no network .*vit_tiny_patch16_224"),
        ("torchvision:resnet5", "torchvision has no network 'resnet5'.*resnet50"),
        ("own_networks:netwok", "no function 'netwok', nearest are .*'network'"),
        ("own_networks:broken", "own_networks:broken fails: KeyError: 'key'"),
        (
            "own_networks:network",
            "the preprocessing of own_networks:network is unknown",
        ),
        ("no_such_module:build", "No module named 'no_such_module'"),
        ("hf:images", "images holds no weights"),
    ],
)
def test_refused_names(folder, source, message):
    error = refused("extract", "-m", source, "-i", "images", "-o", "f.npz")
    assert re.search(message, error), error
    assert not Path("f.npz").exists()


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("own_networks:both", {"pretrained": False}, "random weights .* do not fit"),
        ("own_networks:both", {"revision": "main"}, "revision .* got 'main'"),
        ("timm:resnet10t", {"revision": "main"}, "revision .* got 'main'"),
        ("own_networks:in_flax", {"dtype": "bfloat16"}, "dtype must be float32 for"),
        ("own_networks:bare", {}, "must have layers"),
    ],
)
def test_settings_that_do_not_fit(folder, source, settings, message):
    with pytest.raises(ValueError, match=message):
        load_network(source, **settings)


def test_a_missing_package_names_its_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    error = refused("see", "-m", "timm:resnet18", "-i", "images")
    assert "pip install 'semrsm_jax[timm]'" in error


@pytest.mark.slow
def test_see_goes_from_a_folder_to_a_report(folder):
    Path("labels.csv").write_text("id,label\n3.png,last\n2.png,b\n0.png,first\n")
    code, out, err = run(
        *("see", "--model", "own_networks:both", "--images", "images"),
        *("--layers", "0,2", "--samples", "3", "--labels", "labels.csv"),
    )
    assert code == 0, err
    assert "64 tokens, 8 channels" in out
    assert "left out" in out
    page = Path("report.html").read_text()
    assert page.index("0.png") < page.index("2.png") < page.index("3.png")
    assert '["first","b","last"]' in page.replace(" ", "")
    error = refused("see", "-m", "own_networks:both", "-i", "images")
    assert "report.html" in error and "--overwrite" in error


def test_layers_are_shown_with_what_they_give(folder):
    code, out, _ = run("extract", "-m", "own_networks:both", "--list-layers", "--json")
    assert code == 0
    rows = json.loads(out)["table"]
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    assert rows[2]["shape"] == [8, 8, 8] and rows[2]["grid"] == [8, 8]
    table = list_layers(
        load_network("own_networks:both").model, torch.zeros(2, 3, 32, 32)
    )
    assert (table[0].tokens, table[0].channels, table[0].prefix) == (64, 8, 0)
    assert table[0].dtype == "float32"
    assert "8 x 8 x 8" in str(table)


def test_weights_that_cannot_be_fetched(folder, monkeypatch):
    models = pytest.importorskip("torchvision.models")

    def offline(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(models, "get_model", offline)
    code, _, err = run("see", "-m", "torchvision:resnet18", "-i", "images")
    assert code == 1
    message = " ".join(err.split())
    assert "cannot be fetched: no route to host" in message
    assert "--untrained" in message
