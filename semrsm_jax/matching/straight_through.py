"""One matcher's values with another's derivatives (straight-through estimator)."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jaxtyping import Array

from semrsm_jax.matching.base import (
    Mask,
    Matcher,
    Shape,
    Statistics,
    Tokens,
    check_matcher,
)
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.sinkhorn import Sinkhorn


@dataclass(frozen=True)
class StraightThrough(Matcher[Any]):
    """Matches by one rule, and differentiates as if it had matched by another.

    By default an RSM then holds the exact similarities, Eq. 4, while its gradient also
    sees how the matching itself would change, which that of a hard one does not. The
    gradient is not that of the values shown: it is biased, the more so the softer the
    backward matcher is, and finite differences do not confirm it. A derivative costs a
    matching by the second rule; a value alone does not.

    Attributes:
      forward: gives values, distances, permutations and bounds.
      backward: gives the derivatives of values and distances, of any order that it has
        itself.

    References:
      Bengio et al., "Estimating or propagating gradients through stochastic neurons for
      conditional computation", 2013.
    """

    forward: Matcher = Exact()
    backward: Matcher = Sinkhorn()

    def __post_init__(self) -> None:
        """Raises TypeError for a part that is not a matcher."""
        check_matcher(self.forward)
        check_matcher(self.backward)

    @property
    def symmetric(self) -> bool:
        """Both are, so that one triangle of an RSM and of its gradient is enough."""
        return self.forward.symmetric and self.backward.symmetric

    @property
    def self_is_identity(self) -> bool:
        """Both match a sample with itself token by token."""
        return self.forward.self_is_identity and self.backward.self_is_identity

    @property
    def scale_free(self) -> bool:
        """Both are, so that neither values nor derivatives depend on the scale."""
        return self.forward.scale_free and self.backward.scale_free

    @property
    def soft(self) -> bool:
        """The forward one is, which gives the statistics."""
        return self.forward.soft

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> Any:
        """The forward matching; its value has the derivative of the backward one."""
        matching = self.forward.pair(*jax.lax.stop_gradient((x, y)), x_mask, y_mask)
        pair = x, y, x_mask, y_mask
        (value,) = _with_gradient_of(self.backward, (matching.value,), *pair)
        return matching._replace(value=value)

    def statistics(
        self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask
    ) -> Statistics:
        """The forward statistics; value and distance have the backward derivatives."""
        fixed = jax.lax.stop_gradient((x, y))
        hard = self.forward.statistics(*fixed, x_mask, y_mask)
        value, sq_dist = _with_gradient_of(
            self.backward, hard[:2], x, y, x_mask, y_mask
        )
        return hard._replace(value=value, sq_dist=sq_dist)

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where either cannot match tokens of these shapes."""
        self.forward.validate(x_shape, y_shape)
        self.backward.validate(x_shape, y_shape)

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """What the more demanding of the two holds."""
        return max(
            matcher.workspace(x_tokens, y_tokens, channels)
            for matcher in (self.forward, self.backward)
        )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_gradient_of(
    matcher: Matcher,
    values: tuple[Array, ...],
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
) -> tuple[Array, ...]:
    """Values, bit for bit, with the derivatives of the matcher's first statistics."""
    del matcher, x, y, x_mask, y_mask
    return values


@_with_gradient_of.defjvp
def _with_gradient_of_jvp(
    matcher: Matcher, primals: tuple, tangents: tuple
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    values, x, y, x_mask, y_mask = primals

    def statistics(x, y):
        return matcher.statistics(x, y, x_mask, y_mask)[: len(values)]

    _, derivatives = jax.jvp(statistics, (x, y), tangents[1:3])
    return _with_gradient_of(matcher, *primals), derivatives
