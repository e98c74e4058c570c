"""The Hilbert-Schmidt independence criterion of two RSMs, Eq. 1."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._narrowing import to_device


def hsic(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
) -> Float[Array, ""]:
    """How far two similarity structures over the same samples depend on each other.

    A constant added to an RSM changes nothing. It is taken off those of NumPy in
    float64 before JAX, without x64, narrows them to float32.

    Args:
      K: RSM (N, N); it need be neither symmetric nor positive semi-definite.
      L: RSM (N, N) of the same samples in the same order.
      estimator: ``"biased"`` is tr(K H L H) / (N - 1)^2 with the centring matrix H,
        Eq. 1; ``"unbiased"`` is that of Song et al. 2012, Eq. 5, which leaves out the
        diagonals and may be negative.

    Returns:
      A scalar; 0 for a constant RSM, and, biased, for a single sample.

    Raises:
      TypeError: an RSM is not real.
      ValueError: shapes that are not square or differ, NaN or infinity, an unknown
        estimator, or fewer than 4 samples for the unbiased one.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import hsic
      >>> K = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
      >>> print(hsic(K, K))  # its centred rows are (2, -1, -1) / 3 and so on
      0.5
    """
    K, L = check_rsms(K, L, estimator, shift=True)
    return inner_product(K, L, estimator) / normalizer(K.shape[0], estimator)


def check_rsms(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
    *,
    shift: bool = False,
    scale: bool = False,
) -> tuple[Array, Array]:
    """Converts two RSMs over the same samples; raises as `hsic` says.

    Args:
      K: RSM (N, N).
      L: RSM (N, N).
      estimator: of HSIC.
      shift: a constant added to an RSM changes nothing, see `to_device`.
      scale: a positive factor of an RSM changes nothing.
    """
    check_estimator(estimator)
    rsms = []
    for name, value in (("K", K), ("L", L)):
        value = to_device(name, value, 2, shift=shift, scale=scale)
        _checks.non_empty(name, value, "N N")
        if value.shape[0] != value.shape[1]:
            raise ValueError(f"{name} must be square, got shape {value.shape}")
        rsms.append(value)
    if rsms[0].shape != rsms[1].shape:
        raise ValueError(
            "K and L must be over the same samples, got shapes "
            f"{rsms[0].shape} and {rsms[1].shape}"
        )
    check_samples(rsms[0].shape[0], estimator)
    return rsms[0], rsms[1]


def check_estimator(estimator: str) -> None:
    """Refuses what is no estimator of HSIC.

    Raises:
      ValueError: neither ``"biased"`` nor ``"unbiased"``.
    """
    _checks.one_of("estimator", estimator, ("biased", "unbiased"))


def check_samples(n: int, estimator: str) -> None:
    """Refuses too few samples for the unbiased estimator.

    Raises:
      ValueError: fewer than 4.
    """
    if estimator == "unbiased" and n < 4:
        raise ValueError(
            f"estimator 'unbiased' needs at least 4 samples, got {n}; use 'biased'"
        )


def normalizer(n: int, estimator: str) -> float:
    """What HSIC divides the inner product of n centred samples by."""
    return n * (n - 3) if estimator == "unbiased" else max(n - 1, 1) ** 2


@partial(jax.jit, static_argnames="estimator")
def inner_product(K: Array, L: Array, estimator: str) -> Float[Array, ""]:
    """The inner product <H K H, L'> that both estimators are a multiple of."""
    return jnp.sum(centered(K, estimator) * centered(L, estimator).T)


def centered(K: Float[Array, "N N"], estimator: str) -> Float[Array, "N N"]:
    """The RSM less its row and column means.

    For the unbiased estimator the U-centred matrix of Szekely and Rizzo 2014, whose
    inner products are N (N - 3) times the estimator of Song et al.
    """
    n = K.shape[0]
    # A common offset changes nothing below, and taking it off first keeps the digits.
    K = K - jnp.mean(K)
    if estimator == "biased":
        return K - K.mean(0, keepdims=True) - K.mean(1, keepdims=True) + K.mean()
    off_diagonal = ~jnp.eye(n, dtype=bool)
    K = jnp.where(off_diagonal, K, 0)
    rows, columns = K.sum(1, keepdims=True), K.sum(0, keepdims=True)
    K = K - rows / (n - 2) - columns / (n - 2) + K.sum() / ((n - 1) * (n - 2))
    return jnp.where(off_diagonal, K, 0)
