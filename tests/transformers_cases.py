"""Small networks of transformers, and how each is run to compare it with ours."""

import torch
import transformers as hf

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


def hub(name, **settings):
    """Builds a class of transformers, with random weights, from these settings."""

    def make():
        network = getattr(hf, name)
        return network(network.config_class(**settings))

    return make


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


def projected(model, x):
    output = model(x, output_hidden_states=True, interpolate_pos_encoding=True)
    return output.hidden_states, output.image_embeds


def segmentation(model, x):
    """The tower's states and the decoder's, the image being its own prompt."""
    decoded = []
    hooks = [
        layer.register_forward_hook(lambda module, x, y: decoded.append(y))
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
# As many patches as the position embeddings have, in another shape.
SAME_COUNT = ((16, 64),)

CONVNET, VIT_RUN = (convolutional, stages("resnet"), ODD), (transformer, VIT_LAYERS)
BIT_RUN = (convolutional, stages("bit"))
DINOV2_RUN = (transformer, DINOV2_LAYERS)
SEG_RUN = (segmentation, CLIPSEG_LAYERS)
SAM_RUN = (sam, SAM_LAYERS, ODD[:1])
RESNET, BIT = "ResNetForImageClassification", "BitModel"
VIT_NET, SEGMENTS = "ViTForImageClassification", "CLIPSegForImageSegmentation"
CONVNEXT = "ConvNextV2ForImageClassification"
DINOV2_NET, FIVE = "Dinov2ForImageClassification", {"num_labels": 5}
V1 = {"downsample_in_bottleneck": True, "downsample_in_first_stage": True}
V1 |= {"hidden_act": "gelu"}
DYNAMIC = CONV | {"num_groups": 4, "embedding_dynamic_padding": True}
VIT_5 = TOWER | FIVE
L32 = VIT_5 | {"patch_size": 16, "num_attention_heads": 4}
HEADLESS = TOWER | {"qkv_bias": False, "hidden_act": "relu"}
CLIP = {"vision_config": TOWER, "text_config": TEXT, "projection_dim": 16}
REFINED = CLIPSEG | {"use_complex_transposed_convolution": True, "conditional_layer": 1}
NEXT = FIVE | {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 2, 1, 1]}
SWIGLU = VIT | {"use_swiglu_ffn": True}
PLAIN = SAM | {"use_abs_pos": False, "use_rel_pos": False}

# Small ones of each family: a class of transformers, how it is run, our layers, sizes.
CASES = {
    "resnet18": (hub(RESNET, layer_type="basic", **SMALL_RESNET), *CONVNET),
    "resnet50": (hub(RESNET, **SMALL_RESNET), *CONVNET),
    "resnet-v1": (hub(RESNET, **SMALL_RESNET | V1), *CONVNET[:2], ODD[1:]),
    "bit-50": (hub(BIT, num_groups=4, **CONV), *BIT_RUN, ODD),
    "bit-same": (hub(BIT, global_padding="same", **DYNAMIC), *BIT_RUN, ODD[1:]),
    "bit-dilated": (hub(BIT, output_stride=8, **DYNAMIC), *BIT_RUN, ODD[1:]),
    "convnextv2-base": (
        hub(CONVNEXT, **NEXT),
        convolutional,
        stages("convnextv2", "embeddings"),
        ODD,
    ),
    "vit-b16": (hub(VIT_NET, **VIT_5), *VIT_RUN, TWO_SIZES + SAME_COUNT),
    "vit-l32": (hub(VIT_NET, **L32), *VIT_RUN, TWO_SIZES),
    "vit-headless": (hub("ViTModel", **HEADLESS), *VIT_RUN, TWO_SIZES[:1]),
    "dinov2-giant": (hub("Dinov2Model", **SWIGLU), *DINOV2_RUN, ((32, 32), (43, 24))),
    "dinov2-giant-classifier": (
        hub(DINOV2_NET, **SWIGLU | FIVE),
        *DINOV2_RUN,
        TWO_SIZES,
    ),
    "dinov2-mlp": (
        hub("Dinov2Model", use_mask_token=False, **VIT),
        *DINOV2_RUN,
        TWO_SIZES[:1],
    ),
    "clip-b32": (hub("CLIPModel", **CLIP), clip, CLIP_LAYERS, TWO_SIZES),
    "clip-tower": (hub("CLIPVisionModel", **TOWER), clip, CLIP_LAYERS, TWO_SIZES[:1]),
    "clip-projection": (
        hub("CLIPVisionModelWithProjection", **TOWER | {"projection_dim": 24}),
        projected,
        CLIP_LAYERS,
        TWO_SIZES,
    ),
    "clipseg-rd64": (hub(SEGMENTS, **CLIPSEG), *SEG_RUN, ((64, 64), (96, 96))),
    "clipseg-refined": (hub(SEGMENTS, **REFINED), *SEG_RUN, ODD[:1]),
    "sam-b": (hub("SamModel", vision_config=SAM), *SAM_RUN),
    "sam-plain": (hub("SamVisionModel", **PLAIN), *SAM_RUN),
}
REAL_SIZES, CLASSES = ((160, 192),), {"num_labels": 1000}
BASIC = CLASSES | {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
BASIC |= {"layer_type": "basic"}
DEEP_VIT = layers("vit.encoder.layer", 12, "vit.embeddings")
DEEP_CLIP = layers("vision_model.encoder.layers", 12, "vision_model.pre_layrnorm")
REAL = {
    "resnet18-real": (hub(RESNET, **BASIC), *CONVNET[:2], REAL_SIZES),
    "vit-b16-real": (hub(VIT_NET, **FIVE), transformer, DEEP_VIT, REAL_SIZES),
    "clip-b32-real": (hub("CLIPVisionModel"), clip, DEEP_CLIP, REAL_SIZES),
}


GIANT = {"hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24}
GIANT |= {"image_size": 518, "use_swiglu_ffn": True}
FULL_L32 = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
FULL_L32 |= {"intermediate_size": 4096, "image_size": 384, "patch_size": 32} | CLASSES
BASE = {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]} | CLASSES

# The full-size configs as transformers has them, and the model_type of our tables.
FULL = {
    "clip-b32": ("clip_vision_model", hub("CLIPVisionModel")),
    "clipseg-rd64": ("clipseg", hub(SEGMENTS, vision_config={"patch_size": 16})),
    "dinov2-giant": ("dinov2", hub("Dinov2Model", **GIANT)),
    "sam-b": ("sam_vision_model", hub("SamVisionModel")),
    "bit-50": ("bit", hub("BitForImageClassification", **CLASSES)),
    "resnet18": ("resnet", hub(RESNET, **BASIC)),
    "resnet50": ("resnet", hub(RESNET, **CLASSES)),
    "resnet101": ("resnet", hub(RESNET, depths=[3, 4, 23, 3], **CLASSES)),
    "convnextv2-base": ("convnextv2", hub(CONVNEXT, **BASE)),
    "vit-b16": ("vit", hub(VIT_NET, **CLASSES)),
    "vit-l32": ("vit", hub(VIT_NET, **FULL_L32)),
    "dinov2-giant-classifier": ("dinov2", hub(DINOV2_NET, **GIANT | CLASSES)),
}


def randomized(model, seed=0):
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
