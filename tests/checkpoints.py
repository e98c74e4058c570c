"""A checkpoint as Hugging Face writes it, small, with random weights; without torch."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WIDTH, HIDDEN, DEPTH, PATCH, SIZE = 8, 16, 2, 4, 16

CONFIG = {
    "architectures": ["ViTModel"],
    "model_type": "vit",
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": HIDDEN,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "image_size": SIZE,
    "patch_size": PATCH,
    "num_channels": 3,
    "qkv_bias": True,
}
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": SIZE, "width": SIZE},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def _shapes() -> dict[str, tuple[int, ...]]:
    tokens = (SIZE // PATCH) ** 2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.position_embeddings": (1, tokens, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
    }
    for index in range(DEPTH):
        layer = f"encoder.layer.{index}"
        linears = {
            f"attention.attention.{name}": (WIDTH, WIDTH)
            for name in ("query", "key", "value")
        }
        linears["attention.output.dense"] = (WIDTH, WIDTH)
        linears["intermediate.dense"] = (HIDDEN, WIDTH)
        linears["output.dense"] = (WIDTH, HIDDEN)
        for name, (rows, columns) in linears.items():
            shapes[f"{layer}.{name}.weight"] = (rows, columns)
            shapes[f"{layer}.{name}.bias"] = (rows,)
        for name in ("layernorm_before", "layernorm_after"):
            shapes[f"{layer}.{name}.weight"] = (WIDTH,)
            shapes[f"{layer}.{name}.bias"] = (WIDTH,)
    shapes["layernorm.weight"] = shapes["layernorm.bias"] = (WIDTH,)
    return shapes


def write_vit(folder: Path, seed: int = 0) -> Path:
    """Writes config, preprocessor and weights of a ViT: 16 patches and a CLS token."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in _shapes().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder
