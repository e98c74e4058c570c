"""Checkpoints of SAM's image encoder."""

from typing import Any

from semrsm_jax.models.checkpoint._architecture import Architecture
from semrsm_jax.models.checkpoint._rules import conv, dense, norm, tensor
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.sam import SAMConfig, SAMVision


def _encoder_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> SAMConfig:
    width = settings.count("hidden_size", 768)
    return SAMConfig(
        image_size=settings.side("image_size", 1024),
        patch_size=settings.side("patch_size", 16),
        width=width,
        depth=settings.count("num_hidden_layers", 12),
        heads=settings.count("num_attention_heads", 12),
        hidden=settings.count("mlp_dim", int(width * settings.number("mlp_ratio", 4))),
        in_channels=settings.count("num_channels", 3),
        out_channels=settings.count("output_channels", 256),
        window=settings.count("window_size", 14, least=0),
        global_layers=settings.counts("global_attn_indexes", (2, 5, 8, 11)),
        activation=settings.activation("hidden_act", "gelu"),
        epsilon=settings.number("layer_norm_eps", 1e-6),
        qkv_bias=settings.flag("qkv_bias", True),
        absolute_positions=settings.flag("use_abs_pos", True),
        relative_positions=settings.flag("use_rel_pos", True),
        dtype=dtype,
    )


def _sam_config(settings: Settings, num_classes: int | None, dtype: Any) -> SAMConfig:
    return _encoder_config(settings.inner("vision_config"), num_classes, dtype)


_SAM = (
    *conv("vision_encoder.embeddings.patch_embed", "@patch_embed.projection"),
    *tensor("vision_encoder.embeddings.pos_embed", "@pos_embed"),
    *norm("vision_encoder.layers.#.layer_norm1", "@layers.#.layer_norm1"),
    *dense("vision_encoder.layers.#.attn.qkv", "@layers.#.attn.qkv"),
    *dense("vision_encoder.layers.#.attn.proj", "@layers.#.attn.proj"),
    *tensor("vision_encoder.layers.#.attn.rel_pos_h", "@layers.#.attn.rel_pos_h"),
    *tensor("vision_encoder.layers.#.attn.rel_pos_w", "@layers.#.attn.rel_pos_w"),
    *norm("vision_encoder.layers.#.layer_norm2", "@layers.#.layer_norm2"),
    *dense("vision_encoder.layers.#.mlp.fc1", "@layers.#.mlp.lin1"),
    *dense("vision_encoder.layers.#.mlp.fc2", "@layers.#.mlp.lin2"),
    *conv("vision_encoder.neck.conv1", "@neck.conv1"),
    *norm("vision_encoder.neck.layer_norm1", "@neck.layer_norm1"),
    *conv("vision_encoder.neck.conv2", "@neck.conv2"),
    *norm("vision_encoder.neck.layer_norm2", "@neck.layer_norm2"),
)

SAM_VISION = Architecture(
    classes={"SamVisionModel": False},
    config=_encoder_config,
    build=SAMVision,
    rules=_SAM,
    prefixes=("vision_encoder.",),
    ignored=(r"(prompt_encoder|mask_decoder|shared_image_embedding)\..*",),
)

SAM = SAM_VISION._replace(classes={"SamModel": False}, config=_sam_config)
