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
CLASSIFIER = CONFIG | {"architectures": ["ViTForImageClassification"]}
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


def write_vit(folder: Path, seed: int = 0, classes: int = 0) -> Path:
    """Writes config, preprocessor and weights of a ViT: 16 patches and a CLS token.

    Args:
      folder: where to write; it is made.
      seed: of the weights.
      classes: of a linear classifier; 0: the backbone alone, whose keys have no prefix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shapes, config = _shapes(), CONFIG
    if classes:
        shapes = {f"vit.{name}": shape for name, shape in shapes.items()}
        shapes |= {"classifier.weight": (classes, WIDTH), "classifier.bias": (classes,)}
        labels = {str(label): f"class {label}" for label in range(classes)}
        config = CLASSIFIER | {"id2label": labels}
    weights = {
        name: rng.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def write_torchvision_resnet(path: Path, seed: int = 0, kernel: int = 3) -> Path:
    """Writes the state dict of a small ResNet of basic blocks, as torchvision has it.

    Args:
      path: the file, .safetensors.
      seed: of the weights.
      kernel: rows and columns of the first convolution; 3 stands for small images.
    """
    rng = np.random.default_rng(seed)
    widths, classes = (4, 4, 8, 8, 8), 100
    weights: dict[str, np.ndarray] = {}

    def convolution(name: str, norm: str, inputs: int, outputs: int, side: int) -> None:
        scale = (2 / (inputs * side**2)) ** 0.5
        values = rng.normal(scale=scale, size=(outputs, inputs, side, side))
        weights[f"{name}.weight"] = values
        weights[f"{norm}.weight"] = rng.uniform(0.5, 1.5, outputs)
        weights[f"{norm}.bias"] = rng.normal(scale=0.3, size=outputs)
        weights[f"{norm}.running_mean"] = rng.normal(scale=0.3, size=outputs)
        weights[f"{norm}.running_var"] = rng.uniform(0.5, 1.5, outputs)

    convolution("conv1", "bn1", 3, widths[0], kernel)
    for stage in range(1, 5):
        inputs, outputs, block = widths[stage - 1], widths[stage], f"layer{stage}.0"
        convolution(f"{block}.conv1", f"{block}.bn1", inputs, outputs, 3)
        convolution(f"{block}.conv2", f"{block}.bn2", outputs, outputs, 3)
        if stage > 1:
            shortcut = f"{block}.downsample"
            convolution(f"{shortcut}.0", f"{shortcut}.1", inputs, outputs, 1)
    weights["fc.weight"] = rng.normal(size=(classes, widths[-1]))
    weights["fc.bias"] = rng.normal(size=classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: v.astype(np.float32) for name, v in weights.items()}, path)
    return path
