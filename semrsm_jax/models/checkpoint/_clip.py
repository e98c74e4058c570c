"""Checkpoints of CLIP's vision tower and of CLIPSeg."""

from typing import Any

from semrsm_jax.models.checkpoint._architecture import Architecture
from semrsm_jax.models.checkpoint._rules import (
    Rule,
    conv,
    dense,
    norm,
    tensor,
    upsampling,
)
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.clip import CLIPVision, clip_vision_config
from semrsm_jax.models.clipseg import CLIPSeg, CLIPSegConfig
from semrsm_jax.models.vit import ViTConfig


def _tower_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    return clip_vision_config(
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 32),
        width=settings.count("hidden_size", 768),
        depth=settings.count("num_hidden_layers", 12),
        heads=settings.count("num_attention_heads", 12),
        hidden=settings.count("intermediate_size", 3072),
        in_channels=settings.count("num_channels", 3),
        activation=settings.activation("hidden_act", "quick_gelu"),
        epsilon=settings.number("layer_norm_eps", 1e-5),
        projection=(
            settings.count("projection_dim", 512)
            if settings.is_of("CLIPVisionModelWithProjection")
            else None
        ),
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


def _attention(path: str, name: str) -> tuple[Rule, ...]:
    return (
        *dense(f"{path}.qkv", tuple(f"{name}.{part}_proj" for part in ("q", "k", "v"))),
        *dense(f"{path}.output", f"{name}.out_proj"),
    )


def _tower(path: str) -> tuple[Rule, ...]:
    """The rules of a tower at `path`, which stands at `@` in the checkpoint."""
    ours, theirs = f"{path}.encoder.layers.#", "@encoder.layers.#"
    positions = "@embeddings.position_embedding.weight"
    return (
        *tensor(f"{path}.embeddings.cls_token", "@embeddings.class_embedding", lead=2),
        *tensor(f"{path}.embeddings.position_embeddings", positions, lead=1),
        *conv(f"{path}.embeddings.projection", "@embeddings.patch_embedding"),
        *norm(f"{path}.pre_layrnorm", "@pre_layrnorm"),
        *norm(f"{ours}.norm1", f"{theirs}.layer_norm1"),
        *_attention(f"{ours}.attention", f"{theirs}.self_attn"),
        *norm(f"{ours}.norm2", f"{theirs}.layer_norm2"),
        *dense(f"{ours}.mlp.fc1", f"{theirs}.mlp.fc1"),
        *dense(f"{ours}.mlp.fc2", f"{theirs}.mlp.fc2"),
        *norm(f"{path}.post_layernorm", "@post_layernorm"),
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

_CLIPSEG = (
    *_tower("clip.vision_model"),
    *dense("clip.visual_projection", "clip.visual_projection"),
    *dense("decoder.film_mul", "decoder.film_mul"),
    *dense("decoder.film_add", "decoder.film_add"),
    *dense("decoder.reduces.#", "decoder.reduces.#"),
    *_attention("decoder.layers.#.self_attn", "decoder.layers.#.self_attn"),
    *norm("decoder.layers.#.layer_norm1", "decoder.layers.#.layer_norm1"),
    *dense("decoder.layers.#.mlp.fc1", "decoder.layers.#.mlp.fc1"),
    *dense("decoder.layers.#.mlp.fc2", "decoder.layers.#.mlp.fc2"),
    *norm("decoder.layers.#.layer_norm2", "decoder.layers.#.layer_norm2"),
    *upsampling("decoder.transposed_convolution", "decoder.transposed_convolution"),
    *conv("decoder.transposed_convolution.conv", "decoder.transposed_convolution.0"),
    *upsampling(
        "decoder.transposed_convolution.up1", "decoder.transposed_convolution.2"
    ),
    *upsampling(
        "decoder.transposed_convolution.up2", "decoder.transposed_convolution.4"
    ),
)

CLIPSEG = Architecture(
    classes={"CLIPSegForImageSegmentation": False},
    config=_clipseg_config,
    build=CLIPSeg,
    rules=_CLIPSEG,
    prefixes=("clip.vision_model.",),
    ignored=_IGNORED,
)
