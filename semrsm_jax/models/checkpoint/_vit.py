"""Checkpoints of ViT (torchvision's too), DINOv2 and SAM's image encoder.

Transformers 5 renamed the modules inside layers (`attention.q_proj`, `mlp.fc1`) but
saves the old names; both are read.
"""

from typing import Any

from semrsm_jax.models.checkpoint._rules import (
    Architecture,
    at,
    conv,
    dense,
    norm,
    tensor,
)
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.sam import SAMConfig, SAMVision
from semrsm_jax.models.vit import DINOv2, ViT, ViTConfig


def transformer_fields(
    settings: Settings, activation: str, epsilon: float
) -> dict[str, Any]:
    """The fields that all transformers have, given two of their defaults."""
    return {
        "width": settings.count("hidden_size", 768),
        "depth": settings.count("num_hidden_layers", 12),
        "heads": settings.count("num_attention_heads", 12),
        "in_channels": settings.count("num_channels", 3),
        "activation": settings.activation("hidden_act", activation),
        "epsilon": settings.number("layer_norm_eps", epsilon),
    }


def _vit_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    return ViTConfig(
        **transformer_fields(settings, "gelu", 1e-12),
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 16),
        hidden=settings.count("intermediate_size", 3072),
        num_classes=num_classes,
        qkv_bias=settings.flag("qkv_bias", True),
        dtype=dtype,
    )


def _dinov2_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> ViTConfig:
    fields = transformer_fields(settings, "gelu", 1e-6)
    hidden = int(fields["width"] * settings.number("mlp_ratio", 4))
    swiglu = settings.flag("use_swiglu_ffn", False)
    if swiglu:
        # Two thirds, so that three matrices cost as much as two; a multiple of 8.
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return ViTConfig(
        **fields,
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 14),
        hidden=hidden,
        num_classes=num_classes,
        qkv_bias=settings.flag("qkv_bias", True),
        layer_scale=True,
        swiglu=swiglu,
        mask_token=settings.flag("use_mask_token", True),
        dtype=dtype,
    )


def _encoder_config(
    settings: Settings, num_classes: int | None, dtype: Any
) -> SAMConfig:
    fields = transformer_fields(settings, "gelu", 1e-6)
    hidden = int(fields["width"] * settings.number("mlp_ratio", 4))
    return SAMConfig(
        **fields,
        image_size=settings.side("image_size", 1024),
        patch_size=settings.side("patch_size", 16),
        hidden=settings.count("mlp_dim", hidden),
        out_channels=settings.count("output_channels", 256),
        window=settings.count("window_size", 14, least=0),
        global_layers=settings.counts("global_attn_indexes", (2, 5, 8, 11)),
        qkv_bias=settings.flag("qkv_bias", True),
        absolute_positions=settings.flag("use_abs_pos", True),
        relative_positions=settings.flag("use_rel_pos", True),
        dtype=dtype,
    )


def _sam_config(settings: Settings, num_classes: int | None, dtype: Any) -> SAMConfig:
    return _encoder_config(settings.inner("vision_config"), num_classes, dtype)


def _parts(module: str, *names: str) -> tuple[str, ...]:
    """The modules whose weights are joined here."""
    return tuple(f"{module}.{name}" for name in names)


_OLD_QKV = _parts("attention.attention", "query", "key", "value")
_NEW_QKV = _parts("attention", "q_proj", "k_proj", "v_proj")
_GATE_UP = _parts("mlp", "gate_proj", "up_proj")
_OUTPUT = ("attention.output", "attention.output.dense", "attention.o_proj")

# Ours, Hugging Face's old and new ones, torchvision's.
_OLD, _TORCHVISION = "@encoder.layer.#.", "encoder.layers.encoder_layer_#."
_VIT = ("vit.encoder.layer.#.", _OLD, "@layers.#.", _TORCHVISION, _TORCHVISION)
_TOKENS = ("vit.embeddings.", "@embeddings.", "")
_DINOV2 = ("dinov2.encoder.layer.#.", _OLD, _OLD)

VIT = Architecture(
    classes={"ViTForImageClassification": True, "ViTModel": False},
    config=_vit_config,
    build=ViT,
    rules=(
        *at(_TOKENS, tensor, "cls_token", "cls_token", "class_token"),
        *at(
            _TOKENS,
            tensor,
            "position_embeddings",
            "position_embeddings",
            "encoder.pos_embedding",
        ),
        *at(_TOKENS, conv, "projection", "patch_embeddings.projection", "conv_proj"),
        *at(_VIT, norm, "norm1", "layernorm_before", "layernorm_before", "ln_1"),
        *at(
            _VIT, dense, "attention.qkv", _OLD_QKV, _NEW_QKV, "self_attention.in_proj_"
        ),
        *at(_VIT, dense, *_OUTPUT, "self_attention.out_proj"),
        *at(_VIT, norm, "norm2", "layernorm_after", "layernorm_after", "ln_2"),
        *at(
            _VIT,
            dense,
            "mlp.fc1",
            "intermediate.dense",
            "mlp.fc1",
            "mlp.0",
            "mlp.linear_1",
        ),
        *at(_VIT, dense, "mlp.fc2", "output.dense", "mlp.fc2", "mlp.3", "mlp.linear_2"),
        *norm("vit.layernorm", "@layernorm", "encoder.ln"),
        *dense("classifier", "classifier", "heads.head"),
    ),
    prefixes=("vit.", ""),
    ignored=(r"(vit\.)?pooler\.dense\.(weight|bias)",),
)

_EMBEDDINGS = ("dinov2.embeddings.", "@embeddings.")

DINOV2 = Architecture(
    classes={"Dinov2ForImageClassification": True, "Dinov2Model": False},
    config=_dinov2_config,
    build=DINOv2,
    rules=(
        *at(_EMBEDDINGS, tensor, "cls_token"),
        *tensor("dinov2.embeddings.mask_token", "@embeddings.mask_token", lead=1),
        *at(_EMBEDDINGS, tensor, "position_embeddings"),
        *at(_EMBEDDINGS, conv, "projection", "patch_embeddings.projection"),
        *at(_DINOV2, norm, "norm1"),
        *at(_DINOV2, dense, "attention.qkv", _OLD_QKV, _NEW_QKV),
        *at(_DINOV2, dense, *_OUTPUT),
        *at(_DINOV2, tensor, "layer_scale1.factor", "layer_scale1.lambda1"),
        *at(_DINOV2, norm, "norm2"),
        *at(_DINOV2, dense, "mlp.fc1"),
        *at(_DINOV2, dense, "mlp.fc2"),
        *at(_DINOV2, dense, "mlp.weights_in", "mlp.weights_in", _GATE_UP),
        *at(_DINOV2, dense, "mlp.weights_out", "mlp.weights_out", "mlp.down_proj"),
        *at(_DINOV2, tensor, "layer_scale2.factor", "layer_scale2.lambda1"),
        *norm("dinov2.layernorm", "@layernorm"),
        *dense("classifier", "classifier"),
    ),
    prefixes=("dinov2.", ""),
)

_SAM = ("vision_encoder.", "@")

SAM_VISION = Architecture(
    classes={"SamVisionModel": False},
    config=_encoder_config,
    build=SAMVision,
    rules=(
        *at(_SAM, conv, "embeddings.patch_embed", "patch_embed.projection"),
        *at(_SAM, tensor, "embeddings.pos_embed", "pos_embed"),
        *at(_SAM, norm, "layers.#.layer_norm1"),
        *at(_SAM, dense, "layers.#.attn.qkv"),
        *at(_SAM, dense, "layers.#.attn.proj"),
        *at(_SAM, tensor, "layers.#.attn.rel_pos_h"),
        *at(_SAM, tensor, "layers.#.attn.rel_pos_w"),
        *at(_SAM, norm, "layers.#.layer_norm2"),
        *at(_SAM, dense, "layers.#.mlp.fc1", "layers.#.mlp.lin1"),
        *at(_SAM, dense, "layers.#.mlp.fc2", "layers.#.mlp.lin2"),
        *at(_SAM, conv, "neck.conv1"),
        *at(_SAM, norm, "neck.layer_norm1"),
        *at(_SAM, conv, "neck.conv2"),
        *at(_SAM, norm, "neck.layer_norm2"),
    ),
    prefixes=("vision_encoder.",),
    ignored=(r"(prompt_encoder|mask_decoder|shared_image_embedding)\..*",),
)

SAM = SAM_VISION._replace(classes={"SamModel": False}, config=_sam_config)
