"""A hard matching forward, a soft one backward."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Matching,
    Shape,
    Statistics,
    Tokens,
)
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.sinkhorn import Sinkhorn


@dataclass(frozen=True)
class StraightThrough(Matcher[Matching]):
    """The values of a hard matcher with the derivatives of a soft one.

    What a model is judged by stays the hard similarity; its gradient sees through the
    matching, as the envelope gradient of a hard matcher, which holds the matching
    fixed, does not. It is biased: it is the gradient of the soft similarity. The value
    and the squared distance are treated so, the permutation and the bound have no
    gradient.

    Attributes:
      forward: what gives the values.
      backward: what gives the derivatives.
    """

    forward: Matcher = Exact()
    backward: Sinkhorn = Sinkhorn()

    @property
    def symmetric(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether both are."""
        return self.forward.symmetric and self.backward.symmetric

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Matching:
        """Matches by both."""
        hard = self.forward.pair(*jax.lax.stop_gradient((x, y)), x_mask, y_mask)
        soft = self.backward.statistics(x, y, x_mask, y_mask)
        value = _instead(hard.value, soft.value)
        return Matching(hard.permutation, value, hard.upper_bound)

    def statistics(
        self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask
    ) -> Statistics:
        """Likewise, the squared distance too."""
        hard = self.forward.statistics(*jax.lax.stop_gradient((x, y)), x_mask, y_mask)
        soft = self.backward.statistics(x, y, x_mask, y_mask)
        return Statistics(
            _instead(hard.value, soft.value),
            _instead(hard.sq_dist, soft.sq_dist),
            hard.upper_bound,
        )

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where one of them does."""
        self.forward.validate(x_shape, y_shape)
        self.backward.validate(x_shape, y_shape)

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """What both hold, one after the other."""
        sizes = (x_tokens, y_tokens, channels)
        return max(self.forward.workspace(*sizes), self.backward.workspace(*sizes))


@jax.custom_jvp
def _instead(
    hard: Float[Array, "*batch"], soft: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The hard value, which changes as the soft one does.

    Where nobody differentiates, the compiler leaves the soft one out.
    """
    del soft
    return hard


@_instead.defjvp
def _instead_jvp(primals, tangents):
    return _instead(*primals), tangents[1]
