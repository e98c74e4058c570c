"""The Jensen-Shannon divergence of class probabilities, Eq. 13-15."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype


def jensen_shannon_divergence(
    p: ArrayLike, q: ArrayLike, *, base: float | None = None, from_logits: bool = False
) -> Float[Array, "*batch"]:
    """How different two distributions over the same classes are, Eq. 13.

    It is the square of the Jensen-Shannon *distance*, which SciPy's `jensenshannon`
    gives: 0 for equal distributions, log(2) for those that share no class.

    Each class adds m ((1 + d) log(1 + d) + (1 - d) log(1 - d)), where m is the mean of
    its two probabilities and d their difference over their sum. In this form a
    probability of zero is not a special case, and the digits of nearly equal
    distributions are kept. Where a probability is zero, the derivative by it, minus
    infinity, counts as 0, as it is after a softmax.

    Args:
      p: probabilities (..., C) of C classes, or logits.
      q: probabilities (..., C) of the same classes, or logits; leading axes are
        broadcast.
      base: of the logarithm; None: the natural one, so that the unit is nats. 2 gives
        bits, and 1 as the largest value.
      from_logits: `p` and `q` are logits, of which the softmax is taken. A class may
        have the logit minus infinity.

    Returns:
      The divergence, (...), in float32, or float64 for float64 input.

    Raises:
      TypeError: an array is not real.
      ValueError: other classes, or none; leading axes that do not broadcast; NaN;
        probabilities below 0 or that do not sum to 1 (within 0.001, or four roundings
        of the dtype where that is more); a logit of infinity, or a sample of which each
        logit is minus infinity; a base that is not above 0, or 1.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import jensen_shannon_divergence
      >>> p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
      >>> print(jensen_shannon_divergence(p, q, base=2))
      1.0
      >>> print(jensen_shannon_divergence(p, p))
      0.0
    """
    p = distributions("p", p, from_logits)
    q = distributions("q", q, from_logits)
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"p and q must be over the same classes, got {p.shape[-1]} and "
            f"{q.shape[-1]}"
        )
    try:
        jnp.broadcast_shapes(p.shape, q.shape)
    except ValueError as error:
        raise ValueError(
            f"the leading axes of p and q must broadcast, got {p.shape} and {q.shape}"
        ) from error
    return _divergence(p, q) / unit(base)


def jensen_shannon_matrix(
    p: ArrayLike,
    q: ArrayLike | None = None,
    *,
    base: float | None = None,
    from_logits: bool = False,
) -> Float[Array, "N M"]:
    """The Jensen-Shannon divergence of every pair of samples, Eq. 13.

    Row by row: beside the result, the memory of one row is needed.

    Args:
      p: probabilities (N, C), or logits.
      q: probabilities (M, C) of the same classes, or logits; None compares p with
        itself.
      base: of the logarithm; None: the natural one.
      from_logits: `p` and `q` are logits, of which the softmax is taken.

    Returns:
      The divergences (N, M); a dissimilarity, unlike an RSM.

    Raises:
      TypeError: as `jensen_shannon_divergence`.
      ValueError: as `jensen_shannon_divergence`, or other than two axes.
    """
    p = distributions("p", p, from_logits, rank=2)
    q = p if q is None else distributions("q", q, from_logits, rank=2)
    if p.shape[1] != q.shape[1]:
        raise ValueError(
            f"p and q must be over the same classes, got {p.shape[1]} and {q.shape[1]}"
        )
    return divergence_tile(p, q) / unit(base)


def distributions(
    name: str, value: ArrayLike, from_logits: bool, rank: int | None = None
) -> Float[Array, "*batch C"]:
    """Probabilities from what was given; raises as `jensen_shannon_divergence`."""
    values = _checks.real_array(name, value, rank)
    if values.ndim == 0:
        raise ValueError(f"{name} must have an axis of classes, got a scalar")
    _checks.non_empty(name, values, "C")
    tolerance = max(1e-3, 4 * float(jnp.finfo(values.dtype).eps))
    values = values.astype(accumulation_dtype(values.dtype))
    if from_logits:
        if not _checks.is_traced(values):
            _check_logits(name, values)
        return jax.nn.softmax(values, axis=-1)
    _checks.finite(name, values)
    if not _checks.is_traced(values) and values.size:
        lowest, sums = float(values.min()), values.sum(axis=-1)
        if lowest < 0:
            raise ValueError(
                f"{name} must be probabilities, at least 0, got {lowest:g}; logits "
                "need from_logits=True"
            )
        worst = float(sums.ravel()[jnp.argmax(jnp.abs(sums - 1))])
        if abs(worst - 1) > tolerance:
            raise ValueError(
                f"{name} must sum to 1 over the classes, the last axis, got a sum of "
                f"{worst:g}; logits need from_logits=True"
            )
    return values


def _check_logits(name: str, logits: Array) -> None:
    if bool(jnp.any(jnp.isnan(logits) | (logits == jnp.inf))):
        raise ValueError(f"{name} must be logits without NaN or infinity")
    if bool(jnp.any(jnp.all(logits == -jnp.inf, axis=-1))):
        raise ValueError(
            f"{name} must leave each sample a class with a logit above minus infinity"
        )


def unit(base: float | None) -> float:
    """What nats are divided by to give the divergence in that base."""
    if base is None:
        return 1.0
    if not (0 < base < math.inf) or base == 1:
        raise ValueError(
            f"base must be None or a finite number above 0 other than 1, got {base!r}"
        )
    return math.log(base)


@jax.jit
def divergence_tile(
    p: Float[Array, "N C"], q: Float[Array, "M C"]
) -> Float[Array, "N M"]:
    """The divergences in nats of all pairs, a row at a time."""

    # Recomputed in a gradient, which would otherwise keep (N, M, C) values.
    @jax.checkpoint
    def row(one: Float[Array, " C"]) -> Float[Array, " M"]:
        return _divergence(one, q)

    return jax.lax.map(row, p)


@jax.jit
def _divergence(p: Array, q: Array) -> Array:
    return jnp.sum(_class_terms(p, q), axis=-1) / 2


@jax.custom_jvp
def _class_terms(p: Array, q: Array) -> Array:
    """What each class adds to twice the divergence: p log(p/m) + q log(q/m)."""
    d = _contrast(p, q)
    # 0 at 1 + d = 0, its factor below.
    more, less = (jnp.log1p(jnp.where(s > -1, s, 0)) for s in (d, -d))
    # Of nearly equal probabilities, the plain sum would lose digits.
    near = d * (more - less) + jnp.log1p(-d * d)
    far = (1 + d) * more + (1 - d) * less
    return (p + q) / 2 * jnp.where(jnp.abs(d) < 0.5, near, far)


@_class_terms.defjvp
def _class_terms_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (p, q), (dp, dq) = primals, tangents
    contrast = _contrast(p, q)
    slopes = _log_ratio(p, q, contrast), _log_ratio(q, p, -contrast)
    return _class_terms(p, q), slopes[0] * dp + slopes[1] * dq


def _contrast(p: Array, q: Array) -> Array:
    """(p - q) / (p + q), and 0 for a class that neither has."""
    total = p + q
    return (p - q) / jnp.where(total > 0, total, 1)


def _log_ratio(p: Array, q: Array, contrast: Array) -> Array:
    """log(p / m), 0 where p is zero."""
    present = p >= jnp.finfo(p.dtype).tiny
    p = jnp.where(present, p, 1)
    # Each form where it keeps its digits.
    near = contrast > -0.5
    ratio = jnp.where(
        near, jnp.log1p(jnp.where(near, contrast, 0)), jnp.log(p) - jnp.log((p + q) / 2)
    )
    return jnp.where(present, ratio, 0)
