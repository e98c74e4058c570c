"""Permutation tests of whether two similarity structures are related at all."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks
from semrsm_jax._ids import same_samples
from semrsm_jax.comparison._cka import CKA
from semrsm_jax.comparison._hsic import check_rsms
from semrsm_jax.comparison.grouping import (
    KEEP,
    SampleGroups,
    carried_groups,
    check_groups,
    check_testable,
    least_of_permutations,
    sample_groups,
)
from semrsm_jax.comparison.inference._batches import over_keys
from semrsm_jax.comparison.inference._resampling import (
    ALTERNATIVES,
    Key,
    as_key,
    check_defined,
    check_resamples,
    null_p_value,
)
from semrsm_jax.comparison.inference.statistic import (
    Statistic,
    by_groups,
    check_arguments,
    compare_prepared,
    freedoms,
    is_distance,
    is_of_features,
    permuted,
    prepared,
)
from semrsm_jax.comparison.narrowing import to_device


class PermutationTest(NamedTuple):
    """The result of `permutation_test`.

    Attributes:
      statistic: observed; (R,) for R RSMs.
      p_value: of each, not corrected for the number of tests.
      null: (B,) or (B, R), the statistic of each permutation. All R share it, so that
        `max_statistic` corrects for their number.
      null_share: of each, the null-calibrated score: the share of the null that the
        statistic exceeds, or of a distance stays below; half of the ties count. About
        1/2 where nothing is related, whatever the measure, the number of samples and
        of features; 1 where it lies beyond the whole null.
    """

    statistic: Float[Array, "*R"]
    p_value: Float[Array, "*R"]
    null: Float[Array, "B *R"]
    null_share: Float[Array, "*R"]


def permutation_test(
    K: ArrayLike,
    L: ArrayLike,
    statistic: Statistic = CKA(),
    *,
    key: Key,
    resamples: int = 999,
    alternative: str | None = None,
    groups: ArrayLike | None = None,
    within_groups: str = KEEP,
) -> PermutationTest:
    """Tests whether K and L are related: a Mantel test, for any statistic.

    Under the null hypothesis it does not matter which sample of L belongs to which of
    K. So the samples of L are permuted, rows and columns alike; the test is exact. It
    assumes that the samples, or the groups, are exchangeable: independent of each other
    and drawn alike. Crops of one photograph are not, and without their groups a true
    null hypothesis is rejected in most cases.

    Args:
      K: RSM (N, N), or (R, N, N) for R of them, layers for example.
      L: RSM (N, N) of the same samples, or (R, N, N), one for each K.
      statistic: `CKA`, `RSA` or any other hashable function of two RSMs.
      key: a seed or a JAX key.
      resamples: permutations, B. The smallest p-value is 1 / (B + 1).
      alternative: ``"greater"``, ``"less"`` or ``"two-sided"``. None: ``"less"`` for a
        distance such as `Procrustes`, else ``"greater"``.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        frames of one video do: whole groups are exchanged, the samples of each in their
        order. So all must have the same number of samples. None: those that K or L
        carries, as an opened RSM does; otherwise samples are independent.
      within_groups: ``"keep"`` counts pairs within a group as all others; ``"drop"``
        leaves them out of the statistic and of its null.

    Returns:
      The `PermutationTest`, with the statistics (B,), or (B, R), of all permutations.

    Raises:
      TypeError: an array is not real, groups are neither integers nor text, or `key` is
        neither a seed nor a key.
      ValueError: arrays that do not fit, NaN, fewer than 1 permutation, or more than
        memory holds; groups of different sizes, or so few groups or samples that no
        p-value could be below 0.05; an unknown alternative, or a statistic that is NaN.

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
    if alternative is None:
        alternative = "less" if is_distance(statistic) else "greater"
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    K, L = same_samples({"K": K, "L": L}).values()
    groups = carried_groups(groups, K, L)
    if is_of_features(statistic):
        K, L = check_arguments(statistic, K, L)
        rsms, samples = 1, len(K)
    else:
        K, L = check_stacks(statistic, K, L)
        rsms = max([len(m) for m in (K, L) if m.ndim == 3], default=1)
        samples = K.shape[-1]
        check_arguments(statistic, *(m.reshape(-1, *m.shape[-2:])[0] for m in (K, L)))
    resamples = check_resamples(resamples, 1, rsms)
    places = _places(groups, samples)
    counted = sample_groups(groups, samples, within_groups)
    by_groups(statistic, counted)
    if within_groups == KEEP:
        # Permutations take pairs within groups to pairs within groups.
        counted = None
    least = least_of_permutations(len(places), alternative == "two-sided")
    check_testable(len(places), least, "exchanging them")
    axes = tuple(0 if m.ndim == 3 else None for m in (K, L))
    P, Q, observed = _prepared(K, L, counted, statistic, axes)
    check_defined("statistic", observed)
    null = over_keys(
        _of_permutation,
        (statistic, axes),
        (P, Q, jnp.asarray(places), counted),
        jax.random.split(as_key(key), resamples),
        samples**2 * observed.size,
    )
    shares = _shares(observed, null, alternative, is_distance(statistic))
    return PermutationTest(observed, shares[0], null, shares[1])


def check_stacks(
    statistic: Statistic, K: ArrayLike, L: ArrayLike
) -> tuple[Array, Array]:
    """Converts RSMs (N, N) or stacks (R, N, N); raises as `permutation_test`."""
    stacks: list[Array] = []
    for name, value in same_samples({"K": K, "L": L}).items():
        value = _checks.real_array_on_host(name, value)
        if value.ndim not in (2, 3) or value.size == 0:
            raise ValueError(
                f"{name} must be an RSM (N, N) or a stack (R, N, N) of them, got shape "
                f"{value.shape}"
            )
        matrices = value.reshape(-1, *value.shape[-2:])
        parts = [to_device(name, m, 2, **freedoms(statistic)) for m in matrices]
        stacks.append(jnp.stack(parts).reshape(value.shape))
    first, second = stacks
    if first.ndim == second.ndim == 3 and len(first) != len(second):
        raise ValueError(
            f"K and L must hold equally many RSMs, got {len(first)} and {len(second)}"
        )
    one, other = (m.reshape(-1, *m.shape[-2:])[0] for m in stacks)
    check_rsms(one, other, scale=True)
    return first, second


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


@partial(jax.jit, static_argnames=("statistic", "axes"))
def _prepared(
    K: Array,
    L: Array,
    groups: SampleGroups | None,
    statistic: Statistic,
    axes: tuple[int | None, ...],
) -> tuple[Array, Array, Float[Array, "*R"]]:
    """Both sides as they are compared, and their statistic."""
    P, Q = (prepared(statistic, m, groups) for m in (K, L))
    return P, Q, _compared(P, Q, groups, statistic, axes)


def _compared(
    P: Array,
    Q: Array,
    groups: SampleGroups | None,
    statistic: Statistic,
    axes: tuple[int | None, ...],
) -> Float[Array, "*R"]:
    compare = partial(compare_prepared, statistic, groups=groups)
    return (jax.vmap(compare, axes) if 0 in axes else compare)(P, Q)


def _of_permutation(
    data: tuple[Array, Array, Int[Array, "units size"], SampleGroups | None],
    key: jax.Array,
    statistic: Statistic,
    axes: tuple[int | None, ...],
) -> Float[Array, "*R"]:
    """The statistic once the units of the second side are permuted."""
    P, Q, places, groups = data
    drawn = places[jax.random.permutation(key, len(places))]
    order = jnp.zeros(places.size, int).at[places].set(drawn, unique_indices=True)
    return _compared(P, permuted(statistic, Q, order), groups, statistic, axes)


@partial(jax.jit, static_argnames=("alternative", "of_distance"))
def _shares(
    observed: Float[Array, "*R"],
    null: Float[Array, "B *R"],
    alternative: str,
    of_distance: bool,
) -> tuple[Float[Array, "*R"], Float[Array, "*R"]]:
    """The p-value, and the share of the null that is exceeded."""
    resamples = len(null)
    p_value = null_p_value(observed, null, alternative)
    # The observed value is counted in both tails; without it, half of the ties remain.
    above, below = (null_p_value(observed, null, tail) for tail in ("greater", "less"))
    share = (1 + (below - above) * (resamples + 1) / resamples) / 2
    return p_value, 1 - share if of_distance else share
