"""HSIC and CKA of linear RSMs, straight from the features."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.comparison._cka import inner_products, ratio
from semrsm_jax.comparison._effects import product_of_sums
from semrsm_jax.comparison._hsic import (
    centered,
    check_samples,
    in_range,
    normalizer,
    scaled_back,
)


class UnitFeatures(NamedTuple):
    """Features less their means, divided by the largest of them."""

    unit: Float[Array, "N C"]  # of order 1; zero where the features do not vary
    scale: Float[Array, ""]  # the divisor, in the units of the features


def linear_cka(
    X: ArrayLike, Y: ArrayLike, estimator: str = "biased"
) -> Float[Array, ""]:
    """CKA of the linear RSMs X X' and Y Y', without them where that is cheaper.

    With fewer features C + D than samples it takes the products X' X, X' Y and Y' Y of
    features, (C + D)^2 N operations, otherwise the RSMs. Features are centered before
    any product, so that a large mean costs no digits; those of NumPy in float64, even
    where JAX then computes in float32.

    Args:
      X: features (N, C); further axes, as tokens, are flattened, as for the
        spatio-semantic RSM, Eq. 3.
      Y: features (N, D) of the same samples in the same order.
      estimator: of HSIC, ``"biased"`` or ``"unbiased"``, see `hsic`.

    Returns:
      A scalar; 0 where either features do not vary. It is never clamped: an unbiased
      estimate may leave [-1, 1].

    Raises:
      TypeError: an array is not real.
      ValueError: fewer than 2 axes, an empty one, other numbers of samples, NaN or
        infinity, an unknown estimator, or fewer than 4 samples for the unbiased one.

    References:
      Kornblith et al., "Similarity of neural network representations revisited", 2019.
    """
    x, y = check_features(X, Y, estimator)
    return ratio(*products(x.unit, y.unit, estimator))


def linear_hsic(
    X: ArrayLike, Y: ArrayLike, estimator: str = "biased"
) -> Float[Array, ""]:
    """HSIC of the linear RSMs X X' and Y Y'; of one feature, its squared covariance.

    Args:
      X: features (N, C); further axes are flattened, as in `linear_cka`.
      Y: features (N, D) of the same samples in the same order.
      estimator: ``"biased"`` or ``"unbiased"``, see `hsic`.

    Returns:
      A scalar, in the squared units of X times those of Y. Under jit NaN where it
      leaves the range of the dtype.

    Raises:
      TypeError: as `linear_cka`.
      ValueError: as `linear_cka`, or HSIC leaves the range of the dtype.

    References:
      Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms",
      2005; Song et al., "Feature selection via dependence maximization", 2012.
    """
    x, y = check_features(X, Y, estimator)
    cross, _, _ = products(x.unit, y.unit, estimator)
    cross = cross / normalizer(len(x.unit), estimator)
    (unit_x, power_x), (unit_y, power_y) = jnp.frexp(x.scale), jnp.frexp(y.scale)
    value = scaled_back((unit_x * unit_y) ** 2 * cross, 2 * (power_x + power_y))
    return in_range(value, "X and Y", "linear_cka")


def check_features(
    X: ArrayLike, Y: ArrayLike, estimator: str
) -> tuple[UnitFeatures, UnitFeatures]:
    """Converts and centers features of the same samples; raises as `linear_cka`."""
    _checks.estimator(estimator)
    x, y = _unit_features("X", X), _unit_features("Y", Y)
    if len(x.unit) != len(y.unit):
        raise ValueError(
            f"X and Y must be of the same samples, got {len(x.unit)} and {len(y.unit)}"
        )
    check_samples(len(x.unit), estimator)
    return x, y


def _unit_features(name: str, value: ArrayLike) -> UnitFeatures:
    features = _checks.real_array_on_host(name, value)
    if features.ndim < 2:
        raise ValueError(
            f"{name} must have at least 2 axes (samples, features), got shape "
            f"{features.shape}"
        )
    _checks.non_empty(name, features, " ".join(["N", *"C" * (features.ndim - 1)]))
    _checks.finite(name, features)
    dtype = accumulation_dtype(_checks.floating_dtype(features.dtype))
    if isinstance(features, np.ndarray):
        raw = np.max(np.abs(features))
        eps = max(_eps(features.dtype), _eps(np.float64))
        features = features - np.mean(features, axis=0, dtype=np.float64)
    else:
        raw, eps = jnp.max(jnp.abs(features)), _eps(features.dtype)
    features = jnp.asarray(features, dtype).reshape(len(features), -1)
    return _unit(features, jnp.asarray(8 * eps * raw, dtype))


def _eps(dtype: jax.typing.DTypeLike) -> float:
    """The relative rounding of a floating-point dtype; integers have none."""
    floating = jnp.issubdtype(dtype, jnp.floating)
    return float(jnp.finfo(dtype).eps) if floating else 0.0


@jax.jit
def _unit(X: Array, noise: Array) -> UnitFeatures:
    """Centers, and divides by the largest; up to the noise, features do not vary.

    The scale is a constant to derivatives, see `_hsic.unit_scale`.
    """
    # Twice: the second time subtracts the rounding of the first mean.
    for _ in range(2):
        X = X - jnp.mean(X, axis=0)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(X)))
    varies = largest > noise
    scale = jnp.where(varies, largest, 1)
    return UnitFeatures(jnp.where(varies, X / scale, 0), scale)


@partial(jax.jit, static_argnames="estimator")
def products(
    X: Float[Array, "N C"], Y: Float[Array, "N D"], estimator: str
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """<K~, L~>, <K~, K~> and <L~, L~> of the RSMs of centered features."""
    n, c, d = len(X), X.shape[1], Y.shape[1]
    with jax.default_matmul_precision("highest"):
        if c * c + d * d + c * d >= n * (c + d):
            K, L = (centered(Z @ Z.T, estimator) for Z in (X, Y))
            return inner_products(K, L, estimator)
        pairs = (X, Y), (X, X), (Y, Y)
        cross, own_x, own_y = (_in_features(*pair, estimator) for pair in pairs)
    return cross, own_x, own_y


def _in_features(X: Array, Y: Array, estimator: str) -> Float[Array, ""]:
    """<K~, L~> without the RSMs: <K, L> is |X' Y|^2, and their rows sum to 0."""
    product = jnp.sum((X.T @ Y) ** 2)
    if estimator == "biased":
        return product
    # Without the diagonal, rows and columns sum to minus its entries.
    x, y = jnp.sum(X**2, axis=1), jnp.sum(Y**2, axis=1)
    ones = jnp.ones_like(x)
    return product_of_sums(product - x @ y, (-x, -x), (-y, -y), ones, estimator)
