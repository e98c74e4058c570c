"""Every network against the transformers class of the same name, weights and all."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from semrsm_jax.features import extract, list_layers
from semrsm_jax.models import VARIANTS, convert_checkpoint, load
from semrsm_jax.models.checkpoint._loading import ARCHITECTURES, network_of_shapes
from semrsm_jax.models.checkpoint._matching_keys import checkpoint_shapes
from semrsm_jax.models.checkpoint._settings import ACTIVATIONS

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
pytestmark = pytest.mark.torch
from flax import nnx  # noqa: E402

hf.utils.logging.set_verbosity_error()

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT |= {"image_size": 32, "patch_size": 8}
TOWER = VIT | {"intermediate_size": 48}
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXT |= {"intermediate_size": 48, "vocab_size": 50, "bos_token_id": 0}
TEXT |= {"eos_token_id": 2}
SAM = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SAM |= {"image_size": 64, "patch_size": 8, "window_size": 3, "mlp_dim": 48}
SAM |= {"global_attn_indexes": [1], "output_channels": 16}
CLIPSEG = {"text_config": TEXT, "projection_dim": 16, "extract_layers": [0, 1, 2]}
CLIPSEG |= {"reduce_dim": 16, "decoder_intermediate_size": 48}
CLIPSEG |= {"vision_config": TOWER | {"num_hidden_layers": 4, "patch_size": 16}}
CLIPSEG["vision_config"] |= {"image_size": 64}
CONV = {"embedding_size": 8, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 2, 1, 1]}
SMALL_RESNET = CONV | {"num_labels": 5}


def resnet(**settings):
    return hf.ResNetForImageClassification(hf.ResNetConfig(**settings))


def bit(**settings):
    return hf.BitModel(hf.BitConfig(num_groups=4, **CONV, **settings))


def vit(**settings):
    return hf.ViTForImageClassification(hf.ViTConfig(num_labels=5, **settings))


def clipseg(**settings):
    return hf.CLIPSegForImageSegmentation(hf.CLIPSegConfig(**CLIPSEG, **settings))


def convolutional(model, x):
    output = model(x, output_hidden_states=True)
    states = [state.permute(0, 2, 3, 1) for state in output.hidden_states]
    last = output.logits if "logits" in output else output.pooler_output.flatten(1)
    return states, last


def transformer(model, x):
    extra = {"interpolate_pos_encoding": True} if hasattr(model, "vit") else {}
    output = model(x, output_hidden_states=True, **extra)
    last = output.logits if "logits" in output else output.last_hidden_state
    return output.hidden_states, last


def clip(model, x):
    tower = getattr(model, "vision_model", model)
    output = tower(x, output_hidden_states=True, interpolate_pos_encoding=True)
    return output.hidden_states, output.pooler_output


def segmentation(model, x):
    """The tower's states and the decoder's, the image being its own prompt."""
    decoded = []
    hooks = [
        layer.register_forward_hook(lambda *seen: decoded.append(seen[2]))
        for layer in model.decoder.layers
    ]
    states = model.clip.vision_model(x, output_hidden_states=True).hidden_states
    logits = model(pixel_values=x, conditional_pixel_values=x).logits
    for hook in hooks:
        hook.remove()
    return [*states, *decoded], logits


def sam(model, x):
    output = model.vision_encoder(x, output_hidden_states=True)
    return output.hidden_states, output.last_hidden_state.permute(0, 2, 3, 1)


def stages(backbone, stem="embedder"):
    return [f"{backbone}.{stem}"] + [f"{backbone}.encoder.stages.{k}" for k in range(4)]


def layers(path, count, first):
    return [first] + [f"{path}.{k}" for k in range(count)]


VIT_LAYERS = layers("vit.encoder.layer", 2, "vit.embeddings")
DINOV2_LAYERS = layers("dinov2.encoder.layer", 2, "dinov2.embeddings")
CLIP_LAYERS = layers("vision_model.encoder.layers", 2, "vision_model.pre_layrnorm")
SEG = "clip.vision_model"
CLIPSEG_LAYERS = layers(f"{SEG}.encoder.layers", 4, f"{SEG}.pre_layrnorm")
CLIPSEG_LAYERS += [f"decoder.layers.{k}" for k in range(3)]
SAM_LAYERS = layers("vision_encoder.layers", 3, "vision_encoder.embeddings")
TWO_SIZES, ODD = ((32, 32), (40, 56)), ((64, 64), (75, 96))

# Each of the twelve, small: a class of transformers, how it is run, our layers, sizes.
CASES = {
    "resnet18": (
        lambda: resnet(layer_type="basic", **SMALL_RESNET),
        convolutional,
        stages("resnet"),
        ODD,
    ),
    "resnet50": (lambda: resnet(**SMALL_RESNET), convolutional, stages("resnet"), ODD),
    "resnet101": (
        lambda: resnet(**SMALL_RESNET | {"depths": [3, 4, 2, 3]}),
        convolutional,
        stages("resnet"),
        ODD,
    ),
    "resnet-v1": (
        lambda: resnet(
            downsample_in_bottleneck=True,
            downsample_in_first_stage=True,
            hidden_act="gelu",
            **SMALL_RESNET,
        ),
        convolutional,
        stages("resnet"),
        ((75, 96),),
    ),
    "bit-50": (bit, convolutional, stages("bit"), ODD),
    "bit-same": (
        lambda: bit(global_padding="same", embedding_dynamic_padding=True),
        convolutional,
        stages("bit"),
        ODD[1:],
    ),
    "bit-dilated": (
        lambda: bit(embedding_dynamic_padding=True, output_stride=8),
        convolutional,
        stages("bit"),
        ODD[1:],
    ),
    "convnextv2-base": (
        lambda: hf.ConvNextV2ForImageClassification(
            hf.ConvNextV2Config(
                hidden_sizes=[8, 16, 16, 32], depths=[1, 2, 1, 1], num_labels=5
            )
        ),
        convolutional,
        stages("convnextv2", "embeddings"),
        ODD,
    ),
    "vit-b16": (
        lambda: vit(intermediate_size=48, **VIT),
        transformer,
        VIT_LAYERS,
        TWO_SIZES,
    ),
    "vit-l32": (
        lambda: vit(
            intermediate_size=48, **VIT | {"patch_size": 16, "num_attention_heads": 4}
        ),
        transformer,
        VIT_LAYERS,
        TWO_SIZES,
    ),
    "vit-headless": (
        lambda: hf.ViTModel(
            hf.ViTConfig(intermediate_size=48, qkv_bias=False, hidden_act="relu", **VIT)
        ),
        transformer,
        VIT_LAYERS,
        TWO_SIZES[:1],
    ),
    "dinov2-giant": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(use_swiglu_ffn=True, **VIT)),
        transformer,
        DINOV2_LAYERS,
        ((32, 32), (43, 24)),
    ),
    "dinov2-giant-classifier": (
        lambda: hf.Dinov2ForImageClassification(
            hf.Dinov2Config(use_swiglu_ffn=True, num_labels=5, **VIT)
        ),
        transformer,
        DINOV2_LAYERS,
        TWO_SIZES,
    ),
    "dinov2-mlp": (
        lambda: hf.Dinov2Model(hf.Dinov2Config(use_mask_token=False, **VIT)),
        transformer,
        DINOV2_LAYERS,
        TWO_SIZES[:1],
    ),
    "clip-b32": (
        lambda: hf.CLIPModel(
            hf.CLIPConfig(vision_config=TOWER, text_config=TEXT, projection_dim=16)
        ),
        clip,
        CLIP_LAYERS,
        TWO_SIZES,
    ),
    "clip-tower": (
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOWER)),
        clip,
        CLIP_LAYERS,
        TWO_SIZES[:1],
    ),
    "clipseg-rd64": (clipseg, segmentation, CLIPSEG_LAYERS, ((64, 64), (96, 96))),
    "clipseg-refined": (
        lambda: clipseg(use_complex_transposed_convolution=True, conditional_layer=1),
        segmentation,
        CLIPSEG_LAYERS,
        ((64, 64),),
    ),
    "sam-b": (
        lambda: hf.SamModel(hf.SamConfig(vision_config=SAM)),
        sam,
        SAM_LAYERS,
        ((64, 64),),
    ),
    "sam-plain": (
        lambda: hf.SamVisionModel(
            hf.SamVisionConfig(use_abs_pos=False, use_rel_pos=False, **SAM)
        ),
        sam,
        SAM_LAYERS,
        ((64, 64),),
    ),
}
REAL = {
    "resnet18-real": (
        lambda: resnet(
            layer_type="basic",
            hidden_sizes=[64, 128, 256, 512],
            depths=[2, 2, 2, 2],
            num_labels=1000,
        ),
        convolutional,
        stages("resnet"),
        ((224, 224), (160, 192)),
    ),
    "vit-b16-real": (
        lambda: vit(),
        transformer,
        layers("vit.encoder.layer", 12, "vit.embeddings"),
        ((224, 224), (160, 192)),
    ),
    "clip-b32-real": (
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig()),
        clip,
        layers("vision_model.encoder.layers", 12, "vision_model.pre_layrnorm"),
        ((224, 224), (160, 192)),
    ),
}


def randomised(model, seed=0):
    """Gives every parameter and statistic values that a fault would show in."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            fan_in = max(1, value.numel() // max(1, len(value))) if value.ndim else 1
            scale = 0.3 if value.ndim < 2 or fan_in == 1 else fan_in**-0.5
            value.copy_(scale * noise)
            if value.ndim == 1 and name.endswith((".weight", ".lambda1")):
                value.add_(1.0)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
    return model.eval()


def pixels(size, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(2, *size, 3)).astype(np.float32)


def expected(model, run, x):
    with torch.no_grad():
        states, last = run(model, torch.tensor(x.transpose(0, 3, 1, 2)))
    return [state.numpy() for state in states], last.numpy()


def assert_close(ours, theirs):
    ours = np.asarray(ours, np.float32).reshape(theirs.shape)
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


@nnx.jit
def forward(model, x):
    return model(x)


def check(case, folder):
    make, run, names, sizes = case
    model = randomised(make())
    model.save_pretrained(folder)
    network = load(folder)
    for size in sizes:
        x = pixels(size)
        states, last = expected(model, run, x)
        assert len(states) == len(names)
        with jax.default_matmul_precision("highest"):
            features = extract(network, x, names)
            output = forward(network, jnp.asarray(x))
        for name, state in zip(names, states, strict=True):
            assert 1e-2 < state.std() < 1e3  # neither dead nor exploding
            assert_close(features[name], state)
        assert_close(output, last)


# Options beyond those of the twelve, and siblings of those that are tried by default.
LATER = {"resnet-v1", "bit-same", "bit-dilated", "clipseg-refined", "sam-plain"}
LATER |= {"resnet101", "dinov2-giant", "bit-50", "convnextv2-base"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(LATER)]


@pytest.mark.parametrize("name", [*(n for n in CASES if n not in LATER), *SLOW])
def test_every_hidden_state_and_the_output_are_those_of_transformers(name, tmp_path):
    check(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_configs_too(name, tmp_path):
    check(REAL[name], tmp_path)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    x = np.linspace(-8, 8, 101, dtype=np.float32)
    theirs = hf.activations.ACT2FN[name](torch.tensor(x)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x)), theirs, atol=1e-5)


def giant(kind, **settings):
    config = hf.Dinov2Config(
        hidden_size=1536,
        num_hidden_layers=40,
        num_attention_heads=24,
        image_size=518,
        use_swiglu_ffn=True,
        **settings,
    )
    return kind(config)


# The full-size configs as transformers has them, and the model_type of our tables.
FULL = {
    "clip-b32": (
        "clip_vision_model",
        lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig()),
    ),
    "clipseg-rd64": (
        "clipseg",
        lambda: hf.CLIPSegForImageSegmentation(
            hf.CLIPSegConfig(vision_config={"patch_size": 16})
        ),
    ),
    "dinov2-giant": ("dinov2", lambda: giant(hf.Dinov2Model)),
    "sam-b": ("sam_vision_model", lambda: hf.SamVisionModel(hf.SamVisionConfig())),
    "bit-50": (
        "bit",
        lambda: hf.BitForImageClassification(hf.BitConfig(num_labels=1000)),
    ),
    "resnet18": ("resnet", REAL["resnet18-real"][0]),
    "resnet50": ("resnet", lambda: resnet(num_labels=1000)),
    "resnet101": ("resnet", lambda: resnet(depths=[3, 4, 23, 3], num_labels=1000)),
    "convnextv2-base": (
        "convnextv2",
        lambda: hf.ConvNextV2ForImageClassification(
            hf.ConvNextV2Config(
                depths=[3, 3, 27, 3],
                hidden_sizes=[128, 256, 512, 1024],
                num_labels=1000,
            )
        ),
    ),
    "vit-b16": (
        "vit",
        lambda: hf.ViTForImageClassification(hf.ViTConfig(num_labels=1000)),
    ),
    "vit-l32": (
        "vit",
        lambda: hf.ViTForImageClassification(
            hf.ViTConfig(
                num_labels=1000,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                image_size=384,
                patch_size=32,
            )
        ),
    ),
    "dinov2-giant-classifier": (
        "dinov2",
        lambda: giant(hf.Dinov2ForImageClassification, num_labels=1000),
    ),
}
TEXT_ONLY = ("clip.text_model.", "clip.text_projection.", "clip.logit_scale")


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_size_networks_have_the_parameters_of_transformers(name):
    from transformers.core_model_loading import revert_weight_conversion

    kind, make = FULL[name]
    with torch.device("meta"):
        model = make()
    # The names that save_pretrained writes, which are those of the hub.
    saved = revert_weight_conversion(model, model.state_dict())
    theirs = {
        key.removeprefix("vision_model."): tuple(value.shape)
        for key, value in saved.items()
        if not key.startswith(TEXT_ONLY) and not key.endswith("num_batches_tracked")
    }
    variant = VARIANTS[name]
    network = network_of_shapes(lambda: variant.build(variant.config, rngs=nnx.Rngs(0)))
    # A bare backbone has no prefix in transformers.
    bare = {"clip-b32": "vision_model.", "dinov2-giant": "dinov2."}
    prefix = bare.get(name, "")
    ours = {
        key.removeprefix(prefix): shape
        for key, shape in checkpoint_shapes(ARCHITECTURES[kind], network).items()
    }
    assert ours == theirs
    assert variant.tap in list_layers(network)


@pytest.mark.parametrize("name", ["vit-b16", "dinov2-giant", "dinov2-mlp", "clip-b32"])
def test_the_names_of_transformers_5_are_read_as_those_of_the_hub(name, tmp_path):
    model = randomised(CASES[name][0]())
    model.save_pretrained(tmp_path / "old")
    old = load(tmp_path / "old")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old" / "config.json", tmp_path / "new")
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    save_file(arrays, tmp_path / "new" / "model.safetensors")
    if "clip" not in name:
        assert set(arrays) != set(load_file(tmp_path / "old" / "model.safetensors"))
    same_values(old, load(tmp_path / "new"))


def same_values(first, second):
    jax.tree.map(np.testing.assert_array_equal, nnx.state(first), nnx.state(second))


@pytest.mark.parametrize("kind", ["bin", "pth", "shards", "shards-bin", "converted"])
def test_every_kind_of_file_gives_the_same_network(kind, tmp_path):
    model = randomised(CASES["vit-b16"][0]())
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
    same_values(load(whole), load(source))


def test_files_of_torch_are_never_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    path = tmp_path / "weights.pth"
    torch.save({"weight": Hostile()}, path)
    with pytest.raises(ValueError, match="never loaded"):
        load(path)
    assert not (tmp_path / "ran").exists()
    torch.save([torch.ones(3)], path)
    with pytest.raises(ValueError, match="must hold a state dict.*got list"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="weights.pth"):
        load(path)


def test_bfloat16_files_of_torch(tmp_path):
    model = randomised(CASES["vit-b16"][0]()).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    tensors = {k: torch.tensor(v.astype(np.float32)) for k, v in arrays.items()}
    tensors = {key: value.to(torch.bfloat16) for key, value in tensors.items()}
    torch.save(tensors, tmp_path / "weights.bin")
    same_values(load(tmp_path), load(tmp_path / "weights.bin"))


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
    model = randomised(resnet(layer_type=kind, **SMALL_RESNET))
    model.save_pretrained(tmp_path / "hf")
    state = {torchvision_resnet_name(k): v for k, v in model.state_dict().items()}
    assert "layer2.0.downsample.1.running_var" in state
    torch.save(state, tmp_path / "resnet.pth")
    same_values(load(tmp_path / "hf"), load(tmp_path / "resnet.pth"))


def test_torchvision_vits_need_no_config(tmp_path):
    size = {"hidden_size": 768, "num_hidden_layers": 1, "num_attention_heads": 12}
    model = randomised(
        vit(intermediate_size=64, image_size=32, layer_norm_eps=1e-6, **size)
    )
    model.save_pretrained(tmp_path / "hf")
    hub = load_file(tmp_path / "hf" / "model.safetensors")
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
        for key, value in hub.items()
        for old, new in names.items()
        if key.startswith(old)
    }
    for leaf in ("weight", "bias"):
        parts = [
            hub[f"{layer}attention.attention.{name}.{leaf}"]
            for name in ("query", "key", "value")
        ]
        state[f"{theirs}self_attention.in_proj_{leaf}"] = np.concatenate(parts)
    save_file(state, tmp_path / "vit.safetensors")
    first, second = load(tmp_path / "hf"), load(tmp_path / "vit.safetensors")
    assert first.config == second.config
    same_values(first, second)


BFLOAT16 = ["resnet50", "bit-50", "convnextv2-base", "vit-b16", "dinov2-giant"]
BFLOAT16 += ["clip-b32", "clipseg-rd64", "sam-b"]


@pytest.mark.slow
@pytest.mark.parametrize("name", BFLOAT16)
def test_bfloat16_tokens_point_where_those_of_float32_do(name, tmp_path):
    make, _, names, sizes = CASES[name]
    randomised(make()).save_pretrained(tmp_path)
    x = pixels(sizes[0])
    exact = extract(load(tmp_path), x, names)
    rounded = extract(load(tmp_path, dtype="bfloat16"), x, names)
    for name in names:
        assert rounded[name].dtype == jnp.bfloat16
        a, b = np.asarray(exact[name]), np.asarray(rounded[name], np.float32)
        norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        cosine = (a * b).sum(-1) / np.maximum(norms, 1e-12)
        assert (norms > 0).mean() > 0.9
        assert (1 - cosine[norms > 0]).max() <= 2e-2
