"""Permutation tests of whether two similarity structures are related at all."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison._rsa import pair_ranks
from semrsm_jax.comparison.grouping import check_groups
from semrsm_jax.comparison.inference._resampling import (
    ALTERNATIVES,
    Key,
    as_key,
    batch_size,
    check_defined,
    check_resamples,
    null_p_value,
)
from semrsm_jax.comparison.inference.statistic import CKA, RSA, Statistic


class PermutationTest(NamedTuple):
    """The result of `permutation_test`.

    Attributes:
      statistic: observed; (R,) for R RSMs.
      p_value: of each, not corrected for the number of tests.
      null: (B,) or (B, R), the statistic of each permutation. All R share it, so that
        `max_statistic` corrects for their number.
    """

    statistic: Float[Array, "*R"]
    p_value: Float[Array, "*R"]
    null: Float[Array, "B *R"]


def permutation_test(
    K: ArrayLike,
    L: ArrayLike,
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 999,
    alternative: str = "greater",
    groups: ArrayLike | None = None,
) -> PermutationTest:
    """Tests whether K and L are related: a Mantel test, for any statistic.

    Under the null hypothesis it does not matter which sample of L belongs to which of
    K. So the samples of L are permuted, rows and columns alike; the test is exact.

    Args:
      K: RSM (N, N), or (R, N, N) for R of them, layers for example.
      L: RSM (N, N) of the same samples, or (R, N, N), one for each K.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs.
      key: a seed or a JAX key.
      resamples: permutations, B. The smallest p-value is 1 / (B + 1).
      alternative: ``"greater"``, ``"less"`` or ``"two-sided"``.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are exchanged, the samples of each in their
        order. So all must have the same number of samples. None: samples are
        independent.

    Returns:
      The `PermutationTest`, with the statistics (B,), or (B, R), of all permutations.

    Raises:
      TypeError: an array is not real, groups are neither integers nor text, or `key` is
        neither a seed nor a key.
      ValueError: arrays that do not fit, NaN, fewer than 1 permutation, or more than
        memory holds; fewer than 2 groups, or of different sizes; an unknown
        alternative, or a statistic that is NaN.

    References:
      Mantel, "The detection of disease clustering and a generalized regression
      approach", 1967.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import permutation_test
      >>> X = np.random.default_rng(0).normal(size=(40, 5))
      >>> Y = X + 0.5 * np.random.default_rng(1).normal(size=(40, 5))
      >>> print(permutation_test(X @ X.T, Y @ Y.T, key=0).p_value)  # 1 / (999 + 1)
      0.001
    """
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    K, L = check_stacks(K, L)
    rsms = max([len(m) for m in (K, L) if m.ndim == 3], default=1)
    resamples = check_resamples(resamples, 1, rsms)
    places = _places(groups, K.shape[-1])
    result = _permutation_test(
        K, L, places, statistic, as_key(key), resamples, alternative
    )
    check_defined("statistic", result.statistic)
    return result


def check_stacks(K: ArrayLike, L: ArrayLike) -> tuple[Array, Array]:
    """Converts RSMs (N, N) or stacks (R, N, N); raises as `permutation_test`."""
    K, L = _checks.real_array("K", K), _checks.real_array("L", L)
    for name, value in (("K", K), ("L", L)):
        if value.ndim not in (2, 3) or value.size == 0:
            raise ValueError(
                f"{name} must be an RSM (N, N) or a stack (R, N, N) of them, got shape "
                f"{value.shape}"
            )
        _checks.finite(name, value)
    if K.ndim == L.ndim == 3 and len(K) != len(L):
        raise ValueError(
            f"K and L must hold equally many RSMs, got {len(K)} and {len(L)}"
        )
    first = check_rsms(K.reshape(-1, *K.shape[-2:])[0], L.reshape(-1, *L.shape[-2:])[0])
    return K.astype(first[0].dtype), L.astype(first[1].dtype)


def _places(groups: ArrayLike | None, n: int) -> Int[np.ndarray, "units size"]:
    """The samples of each group, in their order."""
    if groups is None:
        return np.arange(n)[:, None]
    members, units = check_groups(groups, n)
    assert members is not None
    sizes = np.bincount(members)
    if sizes.min() != sizes.max():
        raise ValueError(
            "groups must be of one size to be exchanged, got from "
            f"{sizes.min()} to {sizes.max()} samples"
        )
    return np.argsort(members, kind="stable").reshape(units, -1)


@partial(jax.jit, static_argnames=("statistic", "resamples", "alternative"))
def _permutation_test(
    K: Array,
    L: Array,
    places: Int[Array, "units size"],
    statistic: Statistic,
    key: jax.Array,
    resamples: int,
    alternative: str,
) -> PermutationTest:
    if statistic == RSA("spearman"):
        # A permutation of samples permutes the ranks of their pairs.
        K, L, statistic = pair_ranks(K), pair_ranks(L), RSA("pearson")
    n = K.shape[-1]
    stacked = K.ndim == 3 or L.ndim == 3

    def value(L: Array) -> Array:
        if not stacked:
            return statistic(K, L)
        axes = [0 if m.ndim == 3 else None for m in (K, L)]
        return jax.vmap(lambda K, L: statistic(K, L), axes)(K, L)

    def permuted(key: jax.Array) -> Array:
        drawn = places[jax.random.permutation(key, len(places))]
        order = jnp.zeros(n, int).at[places].set(drawn, unique_indices=True)
        return value(L[..., order[:, None], order[None, :]])

    observed = value(L)
    batch = batch_size(n**2 * observed.size, resamples)
    null = jax.lax.map(permuted, jax.random.split(key, resamples), batch_size=batch)
    return PermutationTest(
        observed, null_p_value(observed, null, alternative), jnp.asarray(null)
    )
