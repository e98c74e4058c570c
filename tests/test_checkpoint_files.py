"""Every kind of file, and every set of names, gives the same network."""

import json
import shutil

import numpy as np
import pytest
from networks import assert_same_values
from safetensors.numpy import load_file, save_file

from semrsm_jax.models import convert_checkpoint, load

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.torch
from transformers_cases import (  # noqa: E402
    CASES,
    FIVE,
    RESNET,
    SMALL_RESNET,
    VIT_NET,
    hub,
    randomized,
)


@pytest.mark.parametrize("name", ["vit-b16", "dinov2-giant", "dinov2-mlp", "clip-b32"])
def test_the_names_of_transformers_5_are_read_as_those_of_the_hub(name, tmp_path):
    model = randomized(CASES[name][0]())
    model.save_pretrained(tmp_path / "old")
    old = load(tmp_path / "old")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old" / "config.json", tmp_path / "new")
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    save_file(arrays, tmp_path / "new" / "model.safetensors")
    if "clip" not in name:
        assert set(arrays) != set(load_file(tmp_path / "old" / "model.safetensors"))
    assert_same_values(old, load(tmp_path / "new"))


def test_a_converted_file_keeps_shapes_and_permissions(tmp_path):
    source, target = tmp_path / "a.bin", tmp_path / "a.safetensors"
    torch.save({"number": torch.tensor(3)}, source)
    convert_checkpoint(source, target)
    assert load_file(target)["number"].shape == ()
    assert target.stat().st_mode == source.stat().st_mode


@pytest.mark.parametrize("kind", ["bin", "pth", "shards", "shards-bin", "converted"])
def test_every_kind_of_file_gives_the_same_network(kind, tmp_path):
    model = randomized(CASES["vit-b16"][0]())
    whole, other = tmp_path / "whole", tmp_path / "other"
    model.save_pretrained(whole)
    shutil.copytree(whole, other)
    arrays = load_file(other / "model.safetensors")
    (other / "model.safetensors").unlink()
    tensors = {key: torch.tensor(value) for key, value in arrays.items()}
    source = other
    if kind == "bin":
        torch.save(tensors, other / "pytorch_model.bin")
    elif kind == "pth":
        source = other / "weights.pth"
        torch.save(tensors, source)
    elif kind == "converted":
        torch.save(tensors, tmp_path / "weights.bin")
        source = other / "weights.safetensors"
        convert_checkpoint(tmp_path / "weights.bin", source)
        with pytest.raises(ValueError, match="exists"):
            convert_checkpoint(tmp_path / "weights.bin", source)
    elif kind == "shards":
        model.save_pretrained(other, max_shard_size="30KB")
        assert len(list(other.glob("*.safetensors"))) > 2
    else:
        half = len(tensors) // 2
        weight_map = {}
        for index, keys in enumerate((list(tensors)[:half], list(tensors)[half:])):
            file = f"pytorch_model-{index}.bin"
            torch.save({key: tensors[key] for key in keys}, other / file)
            weight_map |= dict.fromkeys(keys, file)
        index = other / "pytorch_model.bin.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_same_values(load(whole), load(source))


def test_files_of_torch_are_never_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    path = tmp_path / "weights.pth"
    torch.save({"weight": Hostile()}, path)
    with pytest.raises(ValueError, match="not loaded since it could run code"):
        load(path)
    assert not (tmp_path / "ran").exists()
    torch.save([torch.ones(3)], path)
    with pytest.raises(ValueError, match="must hold a state dict.*got list"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="weights.pth"):
        load(path)


def test_bfloat16_files_of_torch(tmp_path):
    model = randomized(CASES["vit-b16"][0]()).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    tensors = {k: torch.tensor(v.astype(np.float32)) for k, v in arrays.items()}
    tensors = {key: value.to(torch.bfloat16) for key, value in tensors.items()}
    torch.save(tensors, tmp_path / "weights.bin")
    assert_same_values(load(tmp_path), load(tmp_path / "weights.bin"))


# torchvision's names, from the hub's.
RESNET_NAMES = {
    r"resnet.embedder.embedder.convolution": "conv1",
    r"resnet.embedder.embedder.normalization": "bn1",
    "classifier.1": "fc",
}


def torchvision_resnet_name(key):
    for ours, theirs in RESNET_NAMES.items():
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    parts = key.removeprefix("resnet.encoder.stages.").split(".")
    stage, block, kind, leaf = int(parts[0]) + 1, parts[2], parts[3], parts[-1]
    if kind == "shortcut":
        module = f"downsample.{0 if parts[4] == 'convolution' else 1}"
    else:
        short = "conv" if parts[5] == "convolution" else "bn"
        module = f"{short}{int(parts[4]) + 1}"
    return f"layer{stage}.{block}.{module}.{leaf}"


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_torchvision_resnets_need_no_config(kind, tmp_path):
    model = randomized(hub(RESNET, layer_type=kind, **SMALL_RESNET)())
    model.save_pretrained(tmp_path / "hf")
    state = {torchvision_resnet_name(k): v for k, v in model.state_dict().items()}
    assert "layer2.0.downsample.1.running_var" in state
    torch.save(state, tmp_path / "resnet.pth")
    assert_same_values(load(tmp_path / "hf"), load(tmp_path / "resnet.pth"))


def test_torchvision_vits_need_no_config(tmp_path):
    size = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12}
    size |= {"intermediate_size": 64, "image_size": 32, "layer_norm_eps": 1e-6}
    model = randomized(hub(VIT_NET, **size | FIVE)())
    model.save_pretrained(tmp_path / "hf")
    saved = load_file(tmp_path / "hf" / "model.safetensors")
    layer, theirs = "vit.encoder.layer.0.", "encoder.layers.encoder_layer_0."
    names = {
        "vit.embeddings.cls_token": "class_token",
        "vit.embeddings.position_embeddings": "encoder.pos_embedding",
        "vit.embeddings.patch_embeddings.projection.": "conv_proj.",
        f"{layer}layernorm_before.": f"{theirs}ln_1.",
        f"{layer}attention.output.dense.": f"{theirs}self_attention.out_proj.",
        f"{layer}layernorm_after.": f"{theirs}ln_2.",
        f"{layer}intermediate.dense.": f"{theirs}mlp.0.",
        f"{layer}output.dense.": f"{theirs}mlp.3.",
        "vit.layernorm.": "encoder.ln.",
        "classifier.": "heads.head.",
    }
    state = {
        new + key.removeprefix(old): value
        for key, value in saved.items()
        for old, new in names.items()
        if key.startswith(old)
    }
    for leaf in ("weight", "bias"):
        parts = [
            saved[f"{layer}attention.attention.{name}.{leaf}"]
            for name in ("query", "key", "value")
        ]
        state[f"{theirs}self_attention.in_proj_{leaf}"] = np.concatenate(parts)
    save_file(state, tmp_path / "vit.safetensors")
    first, second = load(tmp_path / "hf"), load(tmp_path / "vit.safetensors")
    assert first.config == second.config
    assert_same_values(first, second)
