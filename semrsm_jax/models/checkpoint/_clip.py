"""Checkpoints of CLIP's vision tower and of CLIPSeg."""

from typing import Any

from semrsm_jax.models.checkpoint._rules import (
    Architecture,
    Rule,
    at,
    conv,
    dense,
    norm,
    tensor,
    upsampling,
)
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.checkpoint._vit import transformer_fields
from semrsm_jax.models.clip import CLIPVision, clip_vision_config
from semrsm_jax.models.clipseg import CLIPSeg, CLIPSegConfig
from semrsm_jax.models.vit import ViTConfig


def _tower_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    projected = settings.is_of("CLIPVisionModelWithProjection")
    return clip_vision_config(
        **transformer_fields(settings, "quick_gelu", 1e-5),
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 32),
        hidden=settings.count("intermediate_size", 3072),
        projection=settings.count("projection_dim", 512) if projected else None,
        dtype=dtype,
    )


def _vision(settings: Settings) -> Settings:
    # Configs of 2021 and 2022 have the second key, which then applies.
    return settings.inner("vision_config_dict", "vision_config")


def _clip_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    return _tower_config(_vision(settings), num_classes, dtype)


def _clipseg_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> CLIPSegConfig:
    return CLIPSegConfig(
        vision=_tower_config(_vision(settings), num_classes, dtype),
        projection=settings.count("projection_dim", 512),
        extract_layers=settings.counts("extract_layers", (3, 6, 9)),
        width=settings.count("reduce_dim", 64),
        heads=settings.count("decoder_num_attention_heads", 4),
        hidden=settings.count("decoder_intermediate_size", 2048),
        conditional_layer=settings.count("conditional_layer", 0, least=0),
        refined=settings.flag("use_complex_transposed_convolution", False),
    )


def _layer(*places: str, names: tuple[str, str, str]) -> tuple[Rule, ...]:
    """The rules of a layer, given our names of its norms and its attention."""
    norm1, attention, norm2 = names
    return (
        *at(places, norm, norm1, "layer_norm1"),
        *at(places, dense, f"{attention}.qkv", _QKV),
        *at(places, dense, f"{attention}.output", "self_attn.out_proj"),
        *at(places, norm, norm2, "layer_norm2"),
        *at(places, dense, "mlp.fc1"),
        *at(places, dense, "mlp.fc2"),
    )


_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def _tower(path: str) -> tuple[Rule, ...]:
    """The rules of a tower at `path`, which stands at `@` in the checkpoint."""
    places = (f"{path}.", "@")
    ours, theirs = f"{path}.encoder.layers.#.", "@encoder.layers.#."
    positions = "@embeddings.position_embedding.weight"
    return (
        *tensor(f"{path}.embeddings.cls_token", "@embeddings.class_embedding", lead=2),
        *tensor(f"{path}.embeddings.position_embeddings", positions, lead=1),
        *at(places, conv, "embeddings.projection", "embeddings.patch_embedding"),
        *at(places, norm, "pre_layrnorm"),
        *_layer(ours, theirs, names=("norm1", "attention", "norm2")),
        *at(places, norm, "post_layernorm"),
    )


# The text tower, and a buffer of older checkpoints.
_IGNORED = (
    r"(clip\.)?text_model\..*",
    r"(clip\.)?(text_projection\.weight|logit_scale)",
    r"(clip\.)?(vision_model\.)?embeddings\.position_ids",
)

CLIP_VISION = Architecture(
    classes={"CLIPVisionModelWithProjection": False, "CLIPVisionModel": False},
    config=_tower_config,
    build=CLIPVision,
    rules=(
        *_tower("vision_model"),
        *dense("visual_projection", "visual_projection"),
    ),
    # Transformers 5 omits the prefix for the tower alone.
    prefixes=("vision_model.", ""),
    ignored=(*_IGNORED, r"visual_projection\.weight"),
)

CLIP = CLIP_VISION._replace(classes={"CLIPModel": False}, config=_clip_config)

_DECODER = ("decoder.", "decoder.")
_LAYER = "decoder.layers.#."
_UPSAMPLING = ("decoder.transposed_convolution.",) * 2

CLIPSEG = Architecture(
    classes={"CLIPSegForImageSegmentation": False},
    config=_clipseg_config,
    build=CLIPSeg,
    rules=(
        *_tower("clip.vision_model"),
        *dense("clip.visual_projection", "clip.visual_projection"),
        *at(_DECODER, dense, "film_mul"),
        *at(_DECODER, dense, "film_add"),
        *at(_DECODER, dense, "reduces.#"),
        *_layer(_LAYER, _LAYER, names=("layer_norm1", "self_attn", "layer_norm2")),
        *at(_DECODER, upsampling, "transposed_convolution"),
        *at(_UPSAMPLING, conv, "conv", "0"),
        *at(_UPSAMPLING, upsampling, "up1", "2"),
        *at(_UPSAMPLING, upsampling, "up2", "4"),
    ),
    prefixes=("clip.vision_model.",),
    ignored=_IGNORED,
)
