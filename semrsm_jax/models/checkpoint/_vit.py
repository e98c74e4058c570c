"""Checkpoints of ViT and DINOv2: Hugging Face's key names and torchvision's.

Transformers 5 renamed the modules inside layers (`attention.q_proj`, `mlp.fc1`) but
saves the old names; both are read.
"""

from typing import Any

from semrsm_jax.models.checkpoint._architecture import Architecture
from semrsm_jax.models.checkpoint._rules import conv, dense, norm, tensor
from semrsm_jax.models.checkpoint._settings import Settings
from semrsm_jax.models.vit import DINOv2, ViT, ViTConfig


def vit_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    """Reads the config of a ViT."""
    return ViTConfig(
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 16),
        width=settings.count("hidden_size", 768),
        depth=settings.count("num_hidden_layers", 12),
        heads=settings.count("num_attention_heads", 12),
        hidden=settings.count("intermediate_size", 3072),
        in_channels=settings.count("num_channels", 3),
        num_classes=num_classes,
        activation=settings.activation("hidden_act", "gelu"),
        epsilon=settings.number("layer_norm_eps", 1e-12),
        qkv_bias=settings.flag("qkv_bias", True),
        dtype=dtype,
    )


def dinov2_config(settings: Settings, num_classes: int | None, dtype: Any) -> ViTConfig:
    """Reads the config of a DINOv2."""
    width = settings.count("hidden_size", 768)
    hidden = int(width * settings.number("mlp_ratio", 4))
    swiglu = settings.flag("use_swiglu_ffn", False)
    if swiglu:
        # Two thirds, so that three matrices cost as much as two; a multiple of 8.
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return ViTConfig(
        image_size=settings.pair("image_size", 224),
        patch_size=settings.pair("patch_size", 14),
        width=width,
        depth=settings.count("num_hidden_layers", 12),
        heads=settings.count("num_attention_heads", 12),
        hidden=hidden,
        in_channels=settings.count("num_channels", 3),
        num_classes=num_classes,
        activation=settings.activation("hidden_act", "gelu"),
        epsilon=settings.number("layer_norm_eps", 1e-6),
        qkv_bias=settings.flag("qkv_bias", True),
        layer_scale=True,
        swiglu=swiglu,
        mask_token=settings.flag("use_mask_token", True),
        dtype=dtype,
    )


def _qkv(module: str, *names: str) -> tuple[str, ...]:
    """The three modules whose weights are joined here."""
    return tuple(f"{module}.{name}" for name in names)


_OLD, _NEW = "@encoder.layer.#", "@layers.#"
_VISION = "encoder.layers.encoder_layer_#"  # torchvision's

_VIT = (
    *tensor("vit.embeddings.cls_token", "@embeddings.cls_token", "class_token"),
    *tensor(
        "vit.embeddings.position_embeddings",
        "@embeddings.position_embeddings",
        "encoder.pos_embedding",
    ),
    *conv(
        "vit.embeddings.projection",
        "@embeddings.patch_embeddings.projection",
        "conv_proj",
    ),
    *norm(
        "vit.encoder.layer.#.norm1",
        f"{_OLD}.layernorm_before",
        f"{_NEW}.layernorm_before",
        f"{_VISION}.ln_1",
    ),
    *dense(
        "vit.encoder.layer.#.attention.qkv",
        _qkv(f"{_OLD}.attention.attention", "query", "key", "value"),
        _qkv(f"{_NEW}.attention", "q_proj", "k_proj", "v_proj"),
        f"{_VISION}.self_attention.in_proj_",
    ),
    *dense(
        "vit.encoder.layer.#.attention.output",
        f"{_OLD}.attention.output.dense",
        f"{_NEW}.attention.o_proj",
        f"{_VISION}.self_attention.out_proj",
    ),
    *norm(
        "vit.encoder.layer.#.norm2",
        f"{_OLD}.layernorm_after",
        f"{_NEW}.layernorm_after",
        f"{_VISION}.ln_2",
    ),
    *dense(
        "vit.encoder.layer.#.mlp.fc1",
        f"{_OLD}.intermediate.dense",
        f"{_NEW}.mlp.fc1",
        f"{_VISION}.mlp.0",
        f"{_VISION}.mlp.linear_1",
    ),
    *dense(
        "vit.encoder.layer.#.mlp.fc2",
        f"{_OLD}.output.dense",
        f"{_NEW}.mlp.fc2",
        f"{_VISION}.mlp.3",
        f"{_VISION}.mlp.linear_2",
    ),
    *norm("vit.layernorm", "@layernorm", "encoder.ln"),
    *dense("classifier", "classifier", "heads.head"),
)

_DINOV2 = (
    *tensor("dinov2.embeddings.cls_token", "@embeddings.cls_token"),
    *tensor("dinov2.embeddings.mask_token", "@embeddings.mask_token", lead=1),
    *tensor("dinov2.embeddings.position_embeddings", "@embeddings.position_embeddings"),
    *conv("dinov2.embeddings.projection", "@embeddings.patch_embeddings.projection"),
    *norm("dinov2.encoder.layer.#.norm1", f"{_OLD}.norm1"),
    *dense(
        "dinov2.encoder.layer.#.attention.qkv",
        _qkv(f"{_OLD}.attention.attention", "query", "key", "value"),
        _qkv(f"{_OLD}.attention", "q_proj", "k_proj", "v_proj"),
    ),
    *dense(
        "dinov2.encoder.layer.#.attention.output",
        f"{_OLD}.attention.output.dense",
        f"{_OLD}.attention.o_proj",
    ),
    *tensor(
        "dinov2.encoder.layer.#.layer_scale1.factor", f"{_OLD}.layer_scale1.lambda1"
    ),
    *norm("dinov2.encoder.layer.#.norm2", f"{_OLD}.norm2"),
    *dense("dinov2.encoder.layer.#.mlp.fc1", f"{_OLD}.mlp.fc1"),
    *dense("dinov2.encoder.layer.#.mlp.fc2", f"{_OLD}.mlp.fc2"),
    *dense(
        "dinov2.encoder.layer.#.mlp.weights_in",
        f"{_OLD}.mlp.weights_in",
        _qkv(f"{_OLD}.mlp", "gate_proj", "up_proj"),
    ),
    *dense(
        "dinov2.encoder.layer.#.mlp.weights_out",
        f"{_OLD}.mlp.weights_out",
        f"{_OLD}.mlp.down_proj",
    ),
    *tensor(
        "dinov2.encoder.layer.#.layer_scale2.factor", f"{_OLD}.layer_scale2.lambda1"
    ),
    *norm("dinov2.layernorm", "@layernorm"),
    *dense("classifier", "classifier"),
)

VIT = Architecture(
    classes={"ViTForImageClassification": True, "ViTModel": False},
    config=vit_config,
    build=ViT,
    rules=_VIT,
    prefixes=("vit.", ""),
    ignored=(r"(vit\.)?pooler\.dense\.(weight|bias)",),
)

DINOV2 = Architecture(
    classes={"Dinov2ForImageClassification": True, "Dinov2Model": False},
    config=dinov2_config,
    build=DINOv2,
    rules=_DINOV2,
    prefixes=("dinov2.", ""),
)
