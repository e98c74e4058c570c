"""Calibration of batch normalization, for networks that were never trained."""

import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from semrsm_jax import _checks


@functools.partial(jax.jit, static_argnames="graphdef")
def _batch_statistics(
    graphdef: Any, state: Any, images: Float[Array, "N H W C"]
) -> Any:
    """Runs a copy of the model on batch statistics and returns them."""
    model = nnx.merge(graphdef, state)
    model.eval()
    # momentum 0 replaces the running statistics instead of mixing them.
    model.set_attributes(nnx.BatchNorm, use_running_average=False, momentum=0.0)
    model(images)
    return nnx.state(model, nnx.BatchStat)


def calibrate_batch_norm(model: nnx.Module, images: Float[Array, "N H W C"]) -> None:
    """Sets the running statistics of every `nnx.BatchNorm` to those of some images.

    A randomly initialized network carries mean 0 and variance 1, so its activations
    grow with depth. After this call the network in evaluation mode normalizes these
    images as training mode does (biased variance, per channel over samples and
    positions). The model is updated in place; its parameters and its mode stay.

    Args:
      model: any nnx module that takes images.
      images: (N, H, W, C), floating; one batch, computed at once.

    Raises:
      TypeError: `images` is not a real array.
      ValueError: `images` is not of rank 4, is empty or not finite, or the model holds
        no `nnx.BatchNorm`.
    """
    images = _checks.real_array("images", images, rank=4)
    _checks.non_empty("images", images, "N H W C")
    _checks.finite("images", images)
    if not any(isinstance(m, nnx.BatchNorm) for _, m in nnx.iter_modules(model)):
        raise ValueError("model must hold an nnx.BatchNorm to calibrate, got none")
    graphdef, state = nnx.split(model)
    nnx.update(model, _batch_statistics(graphdef, state, images))
