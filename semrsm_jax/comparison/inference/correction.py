"""Corrections for testing many layers, models or k together."""

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax.comparison.inference._resampling import ALTERNATIVES, rounding_slack


def holm(p_values: ArrayLike) -> Float[np.ndarray, "..."]:
    """Adjusted p-values that bound the chance of *any* false discovery.

    Below alpha where Holm's step-down procedure rejects at alpha, for tests that depend
    on each other in any way.

    Args:
      p_values: of all tests, (...) of any shape.

    Returns:
      The adjusted p-values, of the shape of `p_values`, in float64.

    Raises:
      TypeError: they are not real.
      ValueError: one lies outside [0, 1].

    References:
      Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Examples:
      >>> from semrsm_jax import holm
      >>> print(holm([0.01, 0.04, 0.03]))
      [0.03 0.06 0.06]
    """
    p = _check_p_values(p_values)
    flat = p.ravel()
    order = np.argsort(flat, kind="stable")
    steps = np.maximum.accumulate(flat[order] * np.arange(flat.size, 0, -1))
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.reshape(p.shape)


def benjamini_hochberg(p_values: ArrayLike) -> Float[np.ndarray, "..."]:
    """Adjusted p-values that bound the expected *share* of false discoveries.

    Args:
      p_values: of all tests, (...) of any shape; independent or positively dependent.

    Returns:
      The adjusted p-values, of the shape of `p_values`, in float64.

    Raises:
      TypeError: they are not real.
      ValueError: one lies outside [0, 1].

    References:
      Benjamini and Hochberg, "Controlling the false discovery rate", 1995.

    Examples:
      >>> from semrsm_jax import benjamini_hochberg
      >>> print(benjamini_hochberg([0.01, 0.04, 0.03]))
      [0.03 0.04 0.04]
    """
    # Loaded here: it takes longer than the rest of the package.
    from scipy.stats import false_discovery_control

    p = _check_p_values(p_values)
    if p.size == 0:
        return p
    return false_discovery_control(p.ravel()).reshape(p.shape)


def max_statistic(
    statistic: ArrayLike, null: ArrayLike, alternative: str = "greater"
) -> Float[np.ndarray, " R"]:
    """Adjusted p-values from the most extreme of all tests in each permutation.

    They bound the chance of any false discovery, as `holm` does, and are smaller where
    the tests depend on each other, as layers of one network do.

    Args:
      statistic: (R,) of each test, on one scale.
      null: (B, R) of each permutation, the same one for all tests, as
        `permutation_test` and `paired_test` return them.
      alternative: ``"greater"``, ``"less"`` or ``"two-sided"`` (by absolute value).

    Returns:
      The adjusted p-values (R,), in float64.

    Raises:
      TypeError: an array is not real.
      ValueError: shapes that do not fit, NaN or infinity, or an unknown alternative.

    References:
      Westfall and Young, "Resampling-based multiple testing", 1993.
    """
    _checks.one_of("alternative", alternative, ALTERNATIVES)
    observed, values = (
        np.asarray(_checks.real_array_on_host(name, array, rank))
        for name, array, rank in (("statistic", statistic, 1), ("null", null, 2))
    )
    if values.shape[1:] != observed.shape or values.size == 0:
        raise ValueError(
            f"null must be (B, {len(observed)}), a column for each statistic, got "
            f"shape {values.shape}"
        )
    for name, array in (("statistic", observed), ("null", values)):
        _checks.finite(name, array)
    if alternative == "less":
        observed, values = -observed, -values
    elif alternative == "two-sided":
        observed, values = np.abs(observed), np.abs(values)
    # As in `null_p_value`, but in float64.
    slack = rounding_slack(observed, values.dtype)
    extreme = np.sum(values.max(axis=1, keepdims=True) >= observed - slack, axis=0)
    return (extreme + 1) / (len(values) + 1)


def _check_p_values(p_values: ArrayLike) -> np.ndarray:
    p = np.asarray(_checks.real_array_on_host("p_values", p_values), float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p_values must lie in [0, 1], got {p}")
    return p
