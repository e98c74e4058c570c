"""Smooth gradients of the hard matching itself, by perturbing it."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from semrsm_jax import _checks
from semrsm_jax.matching.assignment import check_solver, solve
from semrsm_jax.representations import accumulation_dtype


def perturbed_plan(
    key: Key[Array, ""],
    affinity: ArrayLike,
    *,
    num_samples: int = 100,
    sigma: float = 0.1,
    solver: str = "auction",
    row_mask: ArrayLike | None = None,
    column_mask: ArrayLike | None = None,
) -> Float[Array, "*batch S T"]:
    """The mean permutation matrix of perturbed affinities (Berthet et al. 2020).

    Gumbel noise is added to the affinity and the matching solved exactly, many times.
    The mean is a soft permutation, and its gradient, estimated from the same samples
    (score function, `optax.perturbations.make_perturbed_fun`), is that of a smooth
    function, where the permutation itself has none. It is a Monte Carlo estimate: its
    noise falls as one over the root of `num_samples` and grows with the number of
    tokens and as one over `sigma`.

    Args:
      key: a PRNG key; each pair of the batch gets a key of its own from it.
      affinity: (..., S, T), finite.
      num_samples: matchings solved a pair; so many (S, T) matrices are held.
      sigma: scale of the noise, in standard deviations of each affinity, which are held
        fixed in gradients.
      solver: as in `linear_assignment`.
      row_mask: (..., S), True where a row takes part. None: all do.
      column_mask: (..., T), likewise.

    Returns:
      The soft permutations (..., S, T); their sum is the number of matched pairs.

    Raises:
      TypeError: `affinity` is not real, a mask not boolean, or `num_samples` not an
        integer.
      ValueError: fewer than two axes, an empty one, NaN or infinity, an unknown solver,
        or `num_samples` or `sigma` out of range.
    """
    from optax.perturbations import make_perturbed_fun

    affinity = _checks.real_array("affinity", affinity)
    if affinity.ndim < 2:
        raise ValueError(
            f"affinity must have at least 2 axes (S, T), got shape {affinity.shape}"
        )
    _checks.non_empty("affinity", affinity, "S T")
    _checks.finite("affinity", affinity)
    num_samples = _checks.at_least("num_samples", num_samples, 1)
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma must be a finite number above 0, got {sigma!r}")
    check_solver(solver, 0.0)
    *batch, rows, columns = affinity.shape
    masks = (
        _checks.token_mask("row_mask", row_mask, (*batch, rows)),
        _checks.token_mask("column_mask", column_mask, (*batch, columns)),
    )
    row_mask, column_mask = (
        jnp.ones((*batch, size), bool) if mask is None else mask
        for mask, size in zip(masks, (rows, columns), strict=True)
    )
    affinity = affinity.astype(accumulation_dtype(affinity.dtype))

    def one(operands):
        key, affinity, row_mask, column_mask = operands
        present = row_mask[:, None] & column_mask
        scale = jax.lax.stop_gradient(jnp.std(affinity, where=present))

        def permutation_matrix(scores):
            permutation, _, _ = solve(
                scores, row_mask, column_mask, tolerance=1e-6, solver=solver
            )
            return jax.nn.one_hot(permutation, columns, dtype=scores.dtype)

        smooth = make_perturbed_fun(permutation_matrix, num_samples, sigma)
        return smooth(key, affinity / jnp.where(scale > 0, scale, 1))

    keys = jax.random.split(key, math.prod(batch))
    operands = (affinity, row_mask, column_mask)
    flat = [a.reshape(-1, *a.shape[len(batch) :]) for a in operands]
    # Pair by pair: the samples of one are a batch already.
    return jax.lax.map(one, (keys, *flat)).reshape(affinity.shape)
