"""Soft matching: entropy-regularized optimal transport."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching._centered import SoftSettings, Strength
from semrsm_jax.matching._soft import match_softly, soft_statistics
from semrsm_jax.matching.assignment import linear_assignment, solve
from semrsm_jax.matching.base import Mask, Matcher, SoftMatching, Statistics, Tokens
from semrsm_jax.matching.batch_optimal import BatchOptimal

# OTT's rule: epsilon as a share of the affinity's standard deviation.
_EPSILON_SHARE = 0.05

_ROUNDING_TOLERANCE = 1e-6

# Larger plans are not held: a few arrays of this size take 400 MB in float32.
_LARGEST_PLAN = 4096**2

# Entries of a block of such a plan.
_BLOCK_ENTRIES = 2**21

# Rounds a plan that is not held, see `Sinkhorn`.
_ROUNDING = BatchOptimal(window=512, sweeps=4)


@dataclass(frozen=True)
class Sinkhorn(Matcher[SoftMatching]):
    """The soft permutation of largest inner product and entropy (Cuturi 2013).

    It maximizes ``<P, A> + epsilon * H(P)`` over plans P whose rows and columns share
    the mass equally. As epsilon falls, P turns into the exact matching.

    Plans of more than 4096 x 4096 entries are never held, nor anything else of that
    size, forward and backward: memory is linear in the number of tokens. Each iteration
    then goes over the tokens block by block and forms all rows anew, as does each step
    of the linear solve behind a derivative. The result has no `plan`, and its
    permutation, else the one on which the plan has the largest sum, is that of the
    tokens of y nearest to the `partner` of each token of x, by `BatchOptimal` with 4
    sweeps: the same where the plan is nearly a permutation, near it elsewhere.

    Attributes:
      epsilon: strength of the entropy, in units of the affinity; at least the rounding
        errors of the largest affinity are taken, about 1e-6 of it in float32. None:
        0.05 times the standard deviation of each pair's affinity, OTT's rule.
      relative: `epsilon` is in standard deviations of each pair's affinity instead.
      tolerance: total error of the plan's column sums, as a share of its mass, at which
        to stop; float32 attains about 1e-6.
      max_iterations: the most iterations, rounded up to tens where the plan is held or
        `implicit_diff` is False; `match` warns of pairs that need more.
      implicit_diff: derivatives follow from the optimality of the plan. False goes back
        through the iterations one by one.
      anneal: epsilon starts at this many standard deviations of the affinity and halves
        every 10 iterations. 0: it stays the same.
      block: rows of the plan held at once, in place of all. None: all of a plan of up
        to 4096 x 4096 entries, else as many rows as make two million.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Sinkhorn, match
      >>> x = np.array([[3.0, 0], [0, 2]])
      >>> m = match(x, x[::-1], matcher=Sinkhorn(epsilon=1.0))
      >>> print(m.plan.round(3))
      [[0.002 0.998]
       [0.998 0.002]]
      >>> print(m.permutation, m.plan.sum(axis=1).round(3))
      [1 0] [1. 1.]
    """

    symmetric: ClassVar[bool] = True
    soft: ClassVar[bool] = True

    epsilon: float | None = None
    relative: bool = False
    tolerance: float = 1e-4
    max_iterations: int = 2000
    implicit_diff: bool = True
    anneal: float = 1.0
    block: int | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of range."""
        _checks.at_least("max_iterations", self.max_iterations, 1)
        for name in ("relative", "implicit_diff"):
            object.__setattr__(self, name, _checks.boolean(name, getattr(self, name)))
        numbers = [("tolerance", True), ("anneal", False)]
        if self.epsilon is not None:
            numbers.append(("epsilon", True))
        for name, above in numbers:
            value = _checks.finite_number(name, getattr(self, name), above=above)
            # A NumPy or JAX scalar, as 0.1 * affinity.std() is, would not hash.
            object.__setattr__(self, name, value)
        if self.block is not None:
            _checks.at_least("block", self.block, 1)

    @property
    def scale_free(self) -> bool:
        """Epsilon follows the affinity."""
        return self.relative or self.epsilon is None

    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> SoftMatching:
        """Iterates on the affinity, held or block by block, then rounds the plan."""
        strength, settings = self._split(x, y)
        soft = match_softly(x, y, x_mask, y_mask, strength, settings)
        if soft.plan is None:
            partner, y = jax.lax.stop_gradient((soft.partner, y))
            rounded = _ROUNDING.pair(partner, y.astype(partner.dtype), x_mask, y_mask)
            return soft._replace(permutation=rounded.permutation)
        permutation, _, _ = solve(
            jax.lax.stop_gradient(soft.plan),
            x_mask,
            y_mask,
            tolerance=_ROUNDING_TOLERANCE,
            solver="auction",
        )
        return soft._replace(permutation=permutation)

    def statistics(
        self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask
    ) -> Statistics:
        """Value, mean squared distance and bound; nothing is rounded."""
        return soft_statistics(x, y, x_mask, y_mask, *self._split(x, y))

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """Scores, kernel matrix and plan, all or a block of rows, and as much back."""
        block = self._rows_at_once(x_tokens, y_tokens)
        if block is None:
            return 6 * x_tokens * y_tokens
        # Centered tokens, those in units of epsilon, and the gradients of both.
        tokens = 4 * (x_tokens + y_tokens) * channels
        iteration = 6 * min(block, x_tokens) * y_tokens + tokens
        return max(iteration, _ROUNDING.workspace(x_tokens, y_tokens, channels))

    def _rows_at_once(self, x_tokens: int, y_tokens: int) -> int | None:
        """How many rows a block has; None: the plan is held."""
        if self.block is not None:
            return self.block
        if x_tokens * y_tokens <= _LARGEST_PLAN:
            return None
        return max(1, _BLOCK_ENTRIES // y_tokens)

    def _split(self, x: Tokens, y: Tokens) -> tuple[Strength, SoftSettings]:
        """What the compiled function takes as numbers, and what it is compiled for."""
        relative = self.relative or self.epsilon is None
        epsilon = _EPSILON_SHARE if self.epsilon is None else self.epsilon
        dtype = accumulation_dtype(jnp.promote_types(x.dtype, y.dtype))
        if not relative and epsilon < jnp.finfo(dtype).tiny:
            raise ValueError(
                f"epsilon must be at least {jnp.finfo(dtype).tiny:.3g}, the smallest "
                f"normal number of {dtype}, got {epsilon!r}; relative=True gives it in "
                "standard deviations of the affinity, and Exact() is its limit"
            )
        block = self._rows_at_once(x.shape[-2], y.shape[-2])
        return Strength(epsilon, self.anneal), SoftSettings(
            relative, self.tolerance, self.max_iterations, self.implicit_diff, block
        )


def round_plan(
    plan: ArrayLike, *, x_mask: ArrayLike | None = None, y_mask: ArrayLike | None = None
) -> Int[Array, "*batch S"]:
    """Rounds soft permutations to the permutations that they agree with most.

    Of all matchings the one on which the plan has the largest sum is taken, an exact
    linear assignment, as Eq. 4 is.

    Args:
      plan: (..., S, T), finite, as `SoftMatching` holds it.
      x_mask: (..., S), True where a token takes part. None: all do.
      y_mask: (..., T), True where a token takes part. None: all do.

    Returns:
      The permutations (..., S), int32; -1 where a token stays unmatched.

    Raises:
      TypeError: the plan is not real or a mask not boolean.
      ValueError: fewer than two axes, or NaN or infinity.
    """
    rounded = linear_assignment(
        plan, tolerance=_ROUNDING_TOLERANCE, row_mask=x_mask, column_mask=y_mask
    )
    return jnp.asarray(rounded.permutation)
