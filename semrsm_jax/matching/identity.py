"""No matching: the token at each position with the token at the same position."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp

from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Shape,
    Tokens,
    hard_matching,
    norm_bound,
)


@dataclass(frozen=True)
class Identity(Matcher[Matching]):
    """Compares position by position, Eq. 3: the spatio-semantic RSM, every baseline.

    Both samples need the same number of tokens. A token whose counterpart is masked
    stays unmatched. The upper bound is that of the token norms.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Identity, match
      >>> x = np.array([[3.0, 0], [0, 2]])
      >>> print(match(x, x[::-1], matcher=Identity()).value)
      0.0
    """

    symmetric: ClassVar[bool] = True
    self_is_identity: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    @partial(jax.jit, static_argnums=0)
    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Matches token s with token s."""
        permutation = jnp.broadcast_to(
            jnp.arange(x.shape[-2], dtype=jnp.int32), x.shape[:-1]
        )
        for mask in (x_mask, y_mask):
            if mask is not None:
                permutation = jnp.where(mask, permutation, -1)
        return hard_matching(x, y, permutation, norm_bound(x, y, x_mask, y_mask))

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where the numbers of tokens differ."""
        if x_shape[-2] != y_shape[-2]:
            raise ValueError(
                "matcher Identity() compares position by position and needs the same "
                f"number of tokens, got S={x_shape[-2]} and T={y_shape[-2]}"
            )

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """No affinity is built."""
        del channels
        return x_tokens + y_tokens
