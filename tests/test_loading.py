"""Checkpoints, without torch: what is loaded, what is refused, names."""

import json
import sys

import huggingface_hub as hub
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import write_vit
from flax import nnx
from networks import abstract, assert_same_values, pixels
from safetensors.numpy import load_file, save_file

from semrsm_jax.features import extract, layer_names
from semrsm_jax.models import ViTConfig, load, locate, variant
from semrsm_jax.models._layers import LayerNorm
from semrsm_jax.models.checkpoint import _hub
from semrsm_jax.models.checkpoint._loading import ARCHITECTURES
from semrsm_jax.models.checkpoint._settings import Settings

# That which `write_vit` writes.
VIT = ViTConfig((16, 16), (4, 4), width=8, depth=2, heads=2, hidden=16, num_classes=3)


@pytest.fixture
def folder(tmp_path):
    return write_vit(tmp_path, classes=3)


@pytest.fixture
def config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.fixture
def arrays(folder):
    return load_file(folder / "model.safetensors")


def test_a_checkpoint_is_loaded_transposed_and_joined(folder, arrays):
    model = load(folder)
    assert model.config == VIT
    np.testing.assert_array_equal(
        model.classifier.kernel[...], arrays["classifier.weight"].T
    )
    layer = "vit.encoder.layer.1.attention.attention"
    parts = [arrays[f"{layer}.{part}.weight"].T for part in ("query", "key", "value")]
    np.testing.assert_array_equal(
        model.vit.encoder.layer[1].attention.qkv.kernel[...], np.concatenate(parts, 1)
    )
    np.testing.assert_array_equal(
        model.vit.embeddings.projection.kernel[...],
        arrays["vit.embeddings.patch_embeddings.projection.weight"].transpose(
            2, 3, 1, 0
        ),
    )
    # A square matrix is transposed too, where its shape does not tell.
    square = arrays["vit.encoder.layer.1.attention.output.dense.weight"]
    assert square.shape == (8, 8)
    np.testing.assert_array_equal(
        model.vit.encoder.layer[1].attention.output.kernel[...], square.T
    )
    names = layer_names(model)
    assert names[:2] == ["vit", "vit.embeddings"] and names[-1] == "classifier"


@pytest.mark.parametrize(
    "kind", ["vit", "dinov2", "clip_vision_model", "clipseg", "sam", "convnextv2"]
)
def test_the_epsilon_of_a_checkpoint_is_that_of_its_config(kind):
    values = {"layer_norm_eps": 3e-4, "num_hidden_layers": 1, "depths": [1] * 4}
    if kind in ("clipseg", "sam"):
        values = {"vision_config": values, "extract_layers": [0]}
    architecture = ARCHITECTURES[kind]
    config = architecture.config(Settings("config", values), None, jnp.float32)
    model = abstract(architecture.build, config)
    modules = [module for _, module in nnx.iter_modules(model)]
    given = {each.epsilon for each in modules if isinstance(each, LayerNorm)}
    # The neck of SAM and the stages of ConvNeXt have their own.
    own = {1e-6} if kind in ("sam", "convnextv2") else set()
    assert given == {3e-4} | own


def test_a_checkpoint_of_float16_loads_as_bfloat16(folder, arrays):
    halves = {key: value.astype(np.float16) for key, value in arrays.items()}
    save_file(halves, folder / "model.safetensors")
    model = load(folder, dtype="bfloat16")
    assert model.vit.encoder.layer[0].attention.qkv.kernel.dtype == jnp.bfloat16
    assert model.vit.layernorm.scale.dtype == jnp.float32
    assert extract(model, pixels((16, 16)), ["vit"])["vit"].dtype == jnp.bfloat16


def test_a_file_with_its_config_beside_it_or_given(folder, config, tmp_path):
    alone = tmp_path / "alone" / "weights.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="config= must give"):
        load(alone)
    beside = load(folder / "model.safetensors")
    for given in (config, folder / "config.json", str(folder / "config.json")):
        assert_same_values(beside, load(alone, config=given))


def test_shards_are_read_from_the_files_that_the_index_names(folder, arrays):
    whole = load(folder)
    (folder / "model.safetensors").unlink()
    keys = list(arrays)
    weight_map = {key: f"model-{k % 3}.safetensors" for k, key in enumerate(keys)}
    for file in set(weight_map.values()):
        save_file({k: arrays[k] for k in keys if weight_map[k] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_same_values(whole, load(folder))
    for refused, message in (
        (weight_map | {"extra": "model-0.safetensors"}, "1 keys .* shard.*extra"),
        ({"a": "../other.safetensors"}, "outside of its folder"),
        ([], "must hold a weight_map"),
        ({"a": "absent.safetensors"}, "absent.safetensors does not exist"),
    ):
        index.write_text(json.dumps({"weight_map": refused}))
        with pytest.raises(ValueError, match=message):
            load(folder)


def test_all_faults_of_the_keys_are_listed_in_one_error(folder, arrays):
    del arrays["vit.layernorm.weight"]
    del arrays["vit.encoder.layer.0.attention.attention.key.bias"]
    arrays["vit.encoder.layer.2.output.dense.bias"] = np.zeros(8, np.float32)
    arrays["classifier.bias"] = np.zeros(4, np.float32)
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(ValueError) as caught:
        load(folder)
    message = str(caught.value)
    for part in (
        "missing: ",
        "vit.layernorm.weight",
        "layer.0.attention.attention.key.bias",
        "1 unexpected: vit.encoder.layer.2.output.dense.bias",
        "1 misshapen: classifier.bias: (4,), expected (3,)",
    ):
        assert part in message


def test_a_pooler_alone_is_ignored_and_weights_must_be_floats(folder, arrays):
    def write(name, values):
        save_file(arrays | {name: values}, folder / "model.safetensors")

    write("vit.pooler.dense.bias", np.zeros(8, np.float32))
    load(folder)
    write("vit.encoder.layer.0.gate", np.zeros(8, np.float32))
    with pytest.raises(ValueError, match=r"1 unexpected: vit.encoder.layer.0.gate$"):
        load(folder)
    write("classifier.bias", np.zeros(3, np.int32))
    with pytest.raises(TypeError, match="classifier.bias: int32"):
        load(folder)


@pytest.mark.parametrize("kept", [0, 5, 200, -100])
def test_a_truncated_file_is_refused(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="model.safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "dinov3"}, "'dinov3' is not supported; nearest are dinov2"),
        ({"model_type": "bert"}, "supported are bit, clip, "),
        ({"model_type": None}, "model_type None"),
        (
            {"architectures": ["ViTForMaskedImageModeling"]},
            "class 'ViTForMaskedImageModeling'.* are ViTForImageClassification,",
        ),
        ({"model_type": "dinov2", "architectures": ["Dinov2Model"]}, "missing"),
        ({"hidden_size": "wide"}, "hidden_size must be an integer of at least 1"),
        ({"hidden_act": "mish"}, "hidden_act must be one of gelu"),
        ({"layer_norm_eps": 0}, "layer_norm_eps must be a positive number"),
        ({"image_size": [1, 2, 3]}, "image_size must be an integer or two"),
        ({"qkv_bias": "no"}, "qkv_bias must be true or false"),
        ({"num_attention_heads": 3}, "config.json: heads must divide width=8"),
        ({"num_hidden_layers": 3}, "16 missing"),
        ("{", "truncated or not JSON"),
        ("[1]", "must hold a JSON object, got list"),
    ],
)
def test_configs_of_checkpoints_refused(folder, config, change, message):
    text = change if isinstance(change, str) else json.dumps(config | change)
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_paths_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no weights; expected one of model.saf"):
        load(tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF")
    with pytest.raises(ValueError, match=r"must end in one of \.index\.json"):
        load(tmp_path / "weights.h5")


def test_what_is_missing_is_named_as_its_neighbors_are(tmp_path):
    write_vit(tmp_path)  # the backbone alone, whose keys have no prefix
    weights = load_file(tmp_path / "model.safetensors")
    del weights["layernorm.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="1 missing: layernorm.bias$"):
        load(tmp_path)
    prefixed = {f"vit.{name}": value for name, value in weights.items()}
    save_file(prefixed, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 missing: vit\.layernorm.bias$"):
        load(tmp_path)


def test_a_wrong_dtype_is_not_a_fault_of_the_config(folder):
    with pytest.raises(ValueError, match=r"^dtype must be a floating dtype, got int32"):
        load(folder, dtype="int32")
    with pytest.raises(TypeError, match=r"^dtype must be a floating dtype, got 'flo'"):
        load(folder, dtype="flo")


def test_the_hub_is_asked_by_id_and_by_name(monkeypatch, folder):
    asked, patterns = [], []

    def snapshot(name, *, revision, allow_patterns):
        asked.append((name, revision))
        patterns.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert locate("someone/vit", revision="main") == folder
    assert load("vit-b16").config == VIT
    assert asked == [("someone/vit", "main"), ("google/vit-base-patch16-224", None)]
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no weights on the hub"):
        locate("someone/vit")
    assert locate("someone/vit", weights=False) == folder
    assert all(name.endswith(".json") for name in patterns[-1])


def test_a_hub_out_of_reach_is_explained(monkeypatch):
    def offline(*_, **__):
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(ConnectionError, match=r"facebook/dinov2-giant.*no network"):
        locate("facebook/dinov2-gaint")


def test_without_huggingface_hub_or_torch_the_extra_is_named(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"semrsm_jax\[hub\]"):
        locate("someone/vit")
    monkeypatch.setitem(sys.modules, "torch", None)
    (folder / "weights.pth").write_bytes(b"PK")
    with pytest.raises(ImportError, match=r"semrsm_jax\[torch\]"):
        load(folder / "weights.pth")


def test_unknown_names_answer_with_the_nearest():
    with pytest.raises(ValueError, match="nearest are dinov2-giant"):
        variant("dinov2-base")
    with pytest.raises(ValueError, match="all are clip-b32"):
        variant("?")
    with pytest.raises(ValueError, match="no file or folder.*nearest are vit-b16"):
        load("vit-b61")
    assert _hub._nearest("nobody/nothing") == ""
