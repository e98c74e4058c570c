"""Matching by circular shift: translation invariance alone, section 3.1."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Shape,
    Tokens,
    checked_pair,
    hard_matching,
    norm_bound,
)


@dataclass(frozen=True)
class CircularShift(Matcher[Matching]):
    """The best of all circular shifts of the token grid, after Williams et al. 2021.

    All H * W shifts are scored at once by the fast Fourier transform. The upper bound
    is that of the token norms.

    Attributes:
      grid: (H, W), rows and columns of the token grid; token ``h * W + w`` stands at
        row h and column w. Remove a CLS token first.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import CircularShift, match
      >>> image = np.array([[3.0, 0], [0, 2], [0, 0], [1, 1]])
      >>> moved = np.roll(image, 1, axis=0)  # a grid of one row, moved one column on
      >>> print(match(image, moved, matcher=CircularShift(grid=(1, 4))).permutation)
      [1 2 3 0]
    """

    symmetric: ClassVar[bool] = True
    self_is_identity: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    grid: tuple[int, int]

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a grid that is not two positive sizes."""
        if not isinstance(self.grid, tuple) or len(self.grid) != 2:
            raise TypeError(f"grid must be a tuple (H, W), got {self.grid!r}")
        for size in self.grid:
            _checks.at_least("grid", size, 1)

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Matches each token with the one that the best shift moves it to."""
        dy, dx = jnp.moveaxis(_best_shift(x, y, x_mask, y_mask, self.grid), -1, 0)
        height, width = self.grid
        row = (jnp.arange(height)[:, None] + dy[..., None, None]) % height
        column = (jnp.arange(width)[None, :] + dx[..., None, None]) % width
        permutation = (row * width + column).reshape(x.shape[:-1]).astype(jnp.int32)
        if y_mask is not None:
            present = jnp.take_along_axis(y_mask, permutation, axis=-1)
            permutation = jnp.where(present, permutation, -1)
        if x_mask is not None:
            permutation = jnp.where(x_mask, permutation, -1)
        return hard_matching(x, y, permutation, norm_bound(x, y, x_mask, y_mask))

    def shift(
        self,
        x_i: ArrayLike,
        y_j: ArrayLike,
        *,
        x_mask: ArrayLike | None = None,
        y_mask: ArrayLike | None = None,
    ) -> Int[Array, "*batch 2"]:
        """How far the second sample is shifted against the first.

        Args:
          x_i: tokens (..., S, C) with S = H * W.
          y_j: tokens (..., S, C).
          x_mask: (..., S), True where a token takes part. None: all do.
          y_mask: (..., S), True where a token takes part. None: all do.

        Returns:
          (..., 2) int32: dy, dx in tokens, downward and to the right, each at most half
          the grid; ``jnp.roll(x_i, (dy, dx))`` on the grid is most like ``y_j``.

        Raises:
          TypeError: an array is not real or a mask not boolean.
          ValueError: shapes that do not fit the grid, values that are not finite, or a
            sample's squared norm leaves the range of the dtype, see `match`.
        """
        return _best_shift(*checked_pair(self, x_i, y_j, x_mask, y_mask), self.grid)

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where the numbers of tokens are not those of the grid."""
        height, width = self.grid
        if not x_shape[-2] == y_shape[-2] == height * width:
            raise ValueError(
                f"grid {self.grid} has {height * width} tokens, got samples of "
                f"S={x_shape[-2]} and T={y_shape[-2]} tokens"
            )

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The Fourier transforms of both samples and their product, complex."""
        return 2 * (x_tokens + 2 * y_tokens) * channels


@partial(jax.jit, static_argnames="grid")
def _best_shift(
    x: Array,
    y: Array,
    x_mask: Array | None,
    y_mask: Array | None,
    grid: tuple[int, int],
) -> Array:
    def transform(tokens, mask):
        tokens = jax.lax.stop_gradient(tokens)
        tokens = tokens.astype(accumulation_dtype(tokens.dtype))
        if mask is not None:
            # A zero token scores nothing, wherever it is shifted to.
            tokens = jnp.where(mask[..., None], tokens, 0)
        image = tokens.reshape(*tokens.shape[:-2], *grid, tokens.shape[-1])
        return jnp.fft.rfft2(image, axes=(-3, -2))

    spectrum = jnp.sum(jnp.conj(transform(x, x_mask)) * transform(y, y_mask), axis=-1)
    scores = jnp.fft.irfft2(spectrum, s=grid)
    best = jnp.argmax(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    shifts = jnp.stack(jnp.divmod(best, grid[1]), axis=-1)
    size = jnp.array(grid)
    # A shift past half the grid is the shorter one the other way round.
    return jnp.where(shifts > size // 2, shifts - size, shifts).astype(jnp.int32)
