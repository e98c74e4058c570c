"""The results of matching two samples."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks


class Matching(NamedTuple):
    """A matching of the tokens of two samples, batched over any leading axes.

    Attributes:
      permutation: (..., S) int32, the token of the second sample matched with each
        token of the first; -1 where it stays unmatched.
      value: (...), the matched inner product; differentiable in the tokens, the
        matching held fixed (envelope gradient).
      upper_bound: (...), a proven bound on the value of every matching, up to
        rounding; it carries no gradient.
    """

    permutation: Int[Array, "*batch S"]
    value: Float[Array, "*batch"]
    upper_bound: Float[Array, "*batch"]


class SoftMatching(NamedTuple):
    """A soft matching of the tokens of two samples, batched over any leading axes.

    Where the plan is held, ``plan_ij = exp((f_i + g_j + affinity_ij) / epsilon)``.

    Attributes:
      permutation: (..., S) int32, the plan rounded to a matching, see `Sinkhorn`.
      value: (...), the sum of plan_ij affinity_ij, to be compared with the matched
        inner product of a hard matching; differentiable in the tokens.
      upper_bound: (...), a proven bound on the value of every hard matching, up to
        rounding; it carries no gradient.
      plan: (..., S, T), the soft permutation, 0 at masked tokens. Where both samples
        have as many tokens its rows and columns sum to one; else those of the smaller
        sample do, and the tokens of the larger one share that mass equally. None where
        it is too large to be held.
      partner: (..., S, C), the mean token that each token of the first sample is
        matched with, under the plan (barycentric projection); 0 at masked tokens.
      f: (..., S), potentials of the first sample, in units of the affinity, as those of
        the cost ``-affinity``; 0 at masked tokens. Their common constant is chosen
        so that f and g have the same mean.
      g: (..., T), potentials of the second sample, in units of the affinity; 0 at
        masked tokens.
      epsilon: (...), the strength of the entropy, in units of the affinity.
      reg_ot_cost: (...), what the plan minimizes: ``-value + epsilon * KL(plan |
        uniform plan)``; its gradient is that at a fixed plan (Danskin).
      converged: (...), whether `column_error` is within the matcher's tolerance; the
        plan's row sums always are right.
      n_iters: (...) int32, the iterations made.
      column_error: (...), the total error of the plan's column sums, as a share of its
        mass.
    """

    permutation: Int[Array, "*batch S"]
    value: Float[Array, "*batch"]
    upper_bound: Float[Array, "*batch"]
    plan: Float[Array, "*batch S T"] | None
    partner: Float[Array, "*batch S C"]
    f: Float[Array, "*batch S"]
    g: Float[Array, "*batch T"]
    epsilon: Float[Array, "*batch"]
    reg_ot_cost: Float[Array, "*batch"]
    converged: Bool[Array, "*batch"]
    n_iters: Int[Array, "*batch"]
    column_error: Float[Array, "*batch"]


class Statistics(NamedTuple):
    """What an RSM takes from the matching of two samples, over any leading axes.

    The squared Euclidean distance is of the matched representations; of a soft matching
    its mean under the plan. The bound is a proven one on the value of every hard
    matching. The error is that of a soft matching that did not converge: the total
    error of the plan's column sums as a share of its mass; 0 where it converged.
    """

    value: Float[Array, "*batch"]
    sq_dist: Float[Array, "*batch"]
    upper_bound: Float[Array, "*batch"]
    column_error: Float[Array, "*batch"] | None = None


class Unconverged(NamedTuple):
    """Soft matchings that ended before they converged."""

    pairs: int = 0
    error: float = 0.0  # the largest total error of column sums, as a share of the mass
    of_pairs: int = 0  # of how many soft matchings

    @classmethod
    def of(cls, error: Array | np.ndarray) -> "Unconverged":
        """Those among some pairs, see `Statistics`; none where values are not known."""
        if _checks.is_traced(error):
            return cls()
        error = np.asarray(error)
        largest = float(error.max(initial=0))
        return cls(int(np.count_nonzero(error)), largest, error.size)

    def and_those(self, others: "Unconverged") -> "Unconverged":
        """These and others together."""
        return Unconverged(
            self.pairs + others.pairs,
            max(self.error, others.error),
            self.of_pairs + others.of_pairs,
        )


def warn_unconverged(unconverged: Unconverged, stacklevel: int = 3) -> None:
    """Warns of those that did not converge; stacklevel 3 names the caller's caller."""
    if not unconverged.pairs:
        return
    share = 100 * unconverged.pairs / unconverged.of_pairs
    warnings.warn(
        f"the soft matching of {unconverged.pairs} of {unconverged.of_pairs} pairs did "
        f"not converge, {share:.3g} % of them: the plan's column sums are wrong by up "
        f"to {unconverged.error:.2g} of its mass; raise max_iterations, epsilon or "
        "tolerance of Sinkhorn",
        RuntimeWarning,
        stacklevel=stacklevel,
    )
