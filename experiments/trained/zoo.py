"""The trained networks as they were shipped, and the same ones untrained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from experiments.scenes.compose import SceneConfig, compose
from experiments.trained.networks import (
    NETWORKS,
    Outputs,
    TrainedNetwork,
    split_outputs,
)
from semrsm_jax.demo.networks import normalize
from semrsm_jax.features import extract
from semrsm_jax.models import calibrate_batch_norm, load_weights

CHECKPOINTS = Path(__file__).parent / "checkpoints"

_CALIBRATION_SCENES = 48
_BATCH = 64  # images a pass


def load(name: str) -> nnx.Module:
    """A trained network, in evaluation mode.

    Raises:
      ValueError: there is no network of that name.
      FileNotFoundError: it has no checkpoint.
    """
    path = checkpoint(name)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; python -m experiments.train --network {name} trains "
            "and writes it"
        )
    model = network(name).build(0)
    load_weights(model, path)
    model.eval()
    return model


def random(name: str, seed: int) -> nnx.Module:
    """The same architecture with random weights, in evaluation mode.

    Batch norms, where it has any, are calibrated on training scenes.

    Raises:
      ValueError: there is no network of that name.
    """
    model = network(name).build(seed)
    if any(isinstance(module, nnx.BatchNorm) for _, module in nnx.iter_modules(model)):
        scenes = compose(SceneConfig(), _CALIBRATION_SCENES, 1, seed, "train")
        calibrate_batch_norm(model, normalize(scenes.images))
    model.eval()
    return model


def tokens(
    model: nnx.Module, images: Float[np.ndarray, "N H W 3"], layers: Sequence[str]
) -> dict[str, Float[Array, "N S C"]]:
    """The representations of images in [0, 1], without the CLS token."""
    return extract(
        model, normalize(images), layers, batch_size=_BATCH, tokens="patches"
    )


def outputs(model: nnx.Module, images: Float[np.ndarray, "N H W 3"]) -> Outputs:
    """What a network says of images in [0, 1]."""
    return split_outputs(logits(model, images))


def logits(
    model: nnx.Module, images: Float[np.ndarray, "N H W 3"]
) -> Float[Array, "N O"]:
    """The outputs of the last linear layer for images in [0, 1]."""
    results = extract(model, normalize(images), ["classifier"], batch_size=_BATCH)
    return results["classifier"][:, 0]


def checkpoint(name: str) -> Path:
    """The file of a network's weights; its accuracies lie beside it, in JSON.

    Raises:
      ValueError: there is no network of that name.
    """
    network(name)
    return CHECKPOINTS / f"{name}.safetensors"


def network(name: str) -> TrainedNetwork:
    """The network of that name.

    Raises:
      ValueError: there is none.
    """
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {name!r}")
    return NETWORKS[name]
