"""Bicubic interpolation of position embeddings, with torch's weights.

The oldest supported versions of JAX lack them in `jax.image.resize`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# The parameter of Keys' kernel (1981); torch has -0.75, where others have -0.5.
_A = -0.75


def resize_grid(
    x: Float[Array, "N h w C"], rows: int, columns: int
) -> Float[Array, "N H W C"]:
    """Interpolates maps to `rows` x `columns`.

    As `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` does,
    without antialiasing where the maps shrink.
    """
    return jnp.einsum(
        "Hh,Ww,nhwc->nHWc",
        _bicubic(x.shape[1], rows).astype(x.dtype),
        _bicubic(x.shape[2], columns).astype(x.dtype),
        x,
        precision=jax.lax.Precision.HIGHEST,
    )


def _bicubic(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Weights of old samples for each new one; the outermost repeat beyond the edge."""
    centers = (np.arange(target) + 0.5) * source / target - 0.5
    neighbors = np.floor(centers).astype(int)[:, None] + np.arange(-1, 3)
    weights = np.zeros((target, source))
    rows = np.arange(target)[:, None]
    x = np.abs(centers[:, None] - neighbors)
    # Keys' cubic kernel at distances of 0 to 2.
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    values = np.where(x <= 1, near, far)
    np.add.at(weights, (rows, neighbors.clip(0, source - 1)), values)
    return weights
