"""Correlation coefficients of two lists of values."""

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison import correlation
from semrsm_jax.comparison.narrowing import to_device


def pearson(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Pearson's correlation: how well a line describes b as a function of a.

    Args:
      a: values (n,), n >= 2.
      b: values (n,).

    Returns:
      A scalar in [-1, 1], up to rounding; NaN where all values of a list are equal. In
      float32, or float64 for float64 input.

    Raises:
      TypeError: a list is not real.
      ValueError: not of one axis, of different lengths, fewer than 2 values, NaN or
        infinity.

    References:
      Pearson, "Note on regression and inheritance in the case of two parents", 1895.

    Examples:
      >>> from semrsm_jax import pearson
      >>> print(pearson([1.0, 2, 3], [2.0, 4, 6]))
      1.0
    """
    return _MEASURES["pearson"](*_lists(a, b))


def spearman(a: ArrayLike, b: ArrayLike) -> Float[Array, ""]:
    """Spearman's correlation: Pearson's of the ranks, equal values sharing their mean.

    Args:
      a: values (n,), n >= 2.
      b: values (n,).

    Returns:
      As `pearson`. Its gradient is zero: ranks stay as they are under small changes.

    Raises:
      TypeError: as `pearson`.
      ValueError: as `pearson`.

    References:
      Spearman, "The proof and measurement of association between two things", 1904.

    Examples:
      >>> from semrsm_jax import spearman
      >>> print(spearman([1.0, 2, 3], [1.0, 100, 90]))
      0.5
    """
    return _MEASURES["spearman"](*_lists(a, b))


def kendall(a: ArrayLike, b: ArrayLike, variant: str = "b") -> Float[Array, ""]:
    """Kendall's tau: concordant less discordant pairs of values, as a share.

    Args:
      a: values (n,), n >= 2.
      b: values (n,).
      variant: ``"b"`` is corrected for ties, as in SciPy; ``"a"`` is a share of all
        pairs, so that a list with ties stays below 1.

    Returns:
      As `pearson`; but tau-a is 0 where all values of a list are equal.

    Raises:
      TypeError: as `pearson`.
      ValueError: as `pearson`, or an unknown variant.

    References:
      Kendall, "A new measure of rank correlation", 1938 (tau-a); "The treatment of
      ties in ranking problems", 1945 (tau-b).
    """
    _checks.one_of("variant", variant, ("a", "b"))
    return _MEASURES[f"kendall_tau_{variant}"](*_lists(a, b))


def _lists(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    values = []
    for name, value in (("a", a), ("b", b)):
        values.append(to_device(name, value, 1, shift=True, scale=True))
    if values[0].shape != values[1].shape or values[0].size < 2:
        raise ValueError(
            "a and b must hold equally many values, at least 2, got shapes "
            f"{values[0].shape} and {values[1].shape}"
        )
    return values[0], values[1]


# Compiled once each; `rsa` takes the same over the pairs of two RSMs.
_MEASURES = {
    measure.__name__: jax.jit(measure)
    for measure in (
        correlation.pearson,
        correlation.spearman,
        correlation.kendall_tau_a,
        correlation.kendall_tau_b,
    )
}
