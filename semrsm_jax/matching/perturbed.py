"""The exact matching, smoothed by noise: a perturbed optimizer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching._batch import over_batch
from semrsm_jax.matching.assignment import check_solver, solve


def perturbed_permutation(
    affinity: ArrayLike,
    key: PRNGKeyArray | UInt32[Array, "2"],
    *,
    num_samples: int = 64,
    sigma: float = 0.1,
    tolerance: float = 1e-6,
    solver: str = "auction",
    row_mask: ArrayLike | None = None,
    column_mask: ArrayLike | None = None,
) -> Float[Array, "*batch S T"]:
    """The mean of the permutations that are best for noisy copies of an affinity.

    The exact matching changes by jumps, so that its derivative is zero or undefined.
    Its mean under Gaussian noise is smooth. Both mean and derivatives are Monte-Carlo
    estimates, unbiased, from the same samples; the variance of a derivative grows with
    the size of the matrix and as 1 / (num_samples sigma^2). One assignment is solved a
    sample, and one more for the baseline that lowers the variance. The same key gives
    the same noise: take a new one at every step of an optimization.

    Args:
      affinity: (..., S, T), finite; differentiable. The spread of an affinity, which
        the noise is relative to, carries no gradient.
      key: of the noise, a JAX key or its two words (2,); each matrix of a batch draws
        its own.
      num_samples: noisy copies of each matrix, all in memory at once.
      sigma: standard deviation of the noise of each entry, in standard deviations of
        the affinity's unmasked entries.
      tolerance: of each assignment, as in `linear_assignment`.
      solver: of each assignment, as in `linear_assignment`.
      row_mask: (..., S), True where a row takes part. None: all do.
      column_mask: (..., T), True where a column takes part. None: all do.

    Returns:
      The mean permutation matrices (..., S, T). Where S = T, unmasked, rows and columns
      sum to one; else those of the shorter side do, and of the longer one each sums to
      how often it was matched. NaN under jit where the affinity is not finite.

    Raises:
      TypeError: the affinity is not real, a mask not boolean, or sigma or the tolerance
        not a number.
      ValueError: fewer than two axes, an axis of length 0, NaN or infinity, a sigma
        that is not above 0, no sample, an unknown solver or a negative tolerance.

    References:
      Berthet et al., "Learning with differentiable perturbed optimizers", 2020; the
      estimator is that of `optax.perturbations.make_perturbed_fun`.
    """
    affinity = _checks.real_array("affinity", affinity)
    if affinity.ndim < 2 or 0 in affinity.shape:
        raise ValueError(
            "affinity must have at least 2 axes (S, T), none of them empty, got shape "
            f"{affinity.shape}"
        )
    _checks.finite("affinity", affinity)
    _checks.at_least("num_samples", num_samples, 1)
    _checks.finite_number("sigma", sigma, above=True)
    tolerance = check_solver(solver, tolerance)
    affinity = affinity.astype(accumulation_dtype(affinity.dtype))
    *batch, rows, columns = affinity.shape
    masks = []
    sides = ("row_mask", row_mask, rows), ("column_mask", column_mask, columns)
    for name, mask, length in sides:
        mask = _checks.token_mask(name, mask, (*batch, length))
        masks.append(jnp.ones((*batch, length), bool) if mask is None else mask)

    def one(key, affinity, row_mask, column_mask):
        def best(affinity):
            return _best(affinity, row_mask, column_mask, tolerance, solver)

        entries = row_mask[:, None] & column_mask
        return _smoothed(best, key, affinity, entries, num_samples, sigma)

    keys = jax.random.split(key, tuple(batch))
    return over_batch(one, tuple(batch), keys, affinity, *masks)


def _smoothed(
    best: Callable[[Array], Array],
    key: Array,
    affinity: Float[Array, "S T"],
    entries: Bool[Array, "S T"],
    num_samples: int,
    sigma: float,
) -> Float[Array, "S T"]:
    # Optax takes long to import.
    from optax.perturbations import Normal, make_perturbed_fun

    fixed = jax.lax.stop_gradient(affinity)
    # Divided by the largest, as squares may leave float32's range.
    largest = jnp.max(jnp.abs(fixed), initial=0, where=entries)
    largest = jnp.where(largest > 0, largest, 1)
    spread = largest * jnp.std(fixed / largest, where=entries)
    # With equal entries the noise alone decides.
    spread = jnp.where(spread > 0, spread, 1)
    # Typed for trees, and for its default noise alone.
    smoothing: Any = make_perturbed_fun
    smooth = smoothing(best, num_samples, sigma, noise=Normal())
    return smooth(key, jnp.where(entries, affinity, 0) / spread)


def _best(
    affinity: Float[Array, "S T"],
    row_mask: Bool[Array, " S"],
    column_mask: Bool[Array, " T"],
    tolerance: float,
    solver: str,
) -> Float[Array, "S T"]:
    """The permutation matrix of largest sum; NaN where the affinity is not finite."""
    permutation, bound, _ = solve(
        affinity, row_mask, column_mask, tolerance=tolerance, solver=solver
    )
    # -1, unmatched, is not a column and gives a row of zeros.
    matrix = jax.nn.one_hot(permutation, affinity.shape[1], dtype=affinity.dtype)
    return jnp.where(jnp.isnan(bound), jnp.nan, matrix)
