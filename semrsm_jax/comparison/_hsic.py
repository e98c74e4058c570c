"""The Hilbert-Schmidt independence criterion of two RSMs, Eq. 1, and its one formula.

HSIC is a multiple of the inner product <K~, L~'>, where K~ is K less its row and column
effects: those of the additive fit to all pairs of samples (biased), or to the pairs of
different samples (unbiased: the U-centered matrix of Szekely and Rizzo 2014). `effects`
is that fit. It needs the sums of rows only, in which samples may count more or less
than once; equal counts are the plain estimators. RSMs in memory (`centered`), read by
rows (`_row_blocks`), resampled (`weighted_product`) and of features (`linear`) all use
it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison.narrowing import to_device

Vector = Float[Array, " N"] | Float[np.ndarray, " N"]


def hsic(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
) -> Float[Array, ""]:
    """How strongly two similarity structures over the same samples are dependent.

    A constant added to an RSM changes nothing. It is subtracted from those of NumPy in
    float64 before JAX, without x64, narrows them to float32.

    Args:
      K: RSM (N, N); it need be neither symmetric nor positive semi-definite.
      L: RSM (N, N) of the same samples in the same order.
      estimator: ``"biased"`` is tr(K H L H) / (N - 1)^2 with the centering matrix H,
        Eq. 1; ``"unbiased"`` is that of Song et al. 2012, Eq. 5, which leaves out the
        diagonals and may be negative.

    Returns:
      A scalar; 0 for a constant RSM, and, biased, for a single sample.

    Raises:
      TypeError: an RSM is not real.
      ValueError: shapes that are not square or differ, NaN or infinity, an unknown
        estimator, or fewer than 4 samples for the unbiased one.

    References:
      Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms",
      2005; Song et al., "Feature selection via dependence maximization", 2012.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import hsic
      >>> K = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
      >>> print(hsic(K, K))  # its centered rows are (2, -1, -1) / 3 and so on
      0.5
    """
    K, L = check_rsms(K, L, estimator, shift=True)
    return _hsic(K, L, estimator)


@partial(jax.jit, static_argnames="estimator")
def _hsic(K: Array, L: Array, estimator: str) -> Float[Array, ""]:
    product = jnp.sum(centered(K, estimator) * centered(L, estimator).T)
    return product / normalizer(len(K), estimator)


def normalizer(n: int, estimator: str) -> float:
    """What HSIC divides the inner product of n centered samples by."""
    return n * (n - 3) if estimator == "unbiased" else max(n - 1, 1) ** 2


def effects(sums: Vector, counts: Vector, estimator: str) -> Vector:
    """Row, or column, effects (N,) of the additive fit; of JAX arrays or NumPy's.

    Args:
      sums: (N,) of each row, its entries weighted by the counts; unbiased: without the
        diagonal.
      counts: (N,), how often each sample counts.
      estimator: of HSIC.
    """
    total = counts.sum()
    spread = total - 2 * counts if estimator == "unbiased" else total
    shares = counts / spread
    return (sums - (shares * sums).sum() / (1 + shares.sum())) / spread


def product_of_sums(
    cross: Float[Array, ""],
    sums_p: tuple[Vector, Vector],
    sums_q: tuple[Vector, Vector],
    counts: Float[Array, " N"],
    estimator: str,
) -> Float[Array, ""]:
    """<P~, Q~> from <P, Q> and the weighted sums of the rows and columns of both.

    The fit is a projection, so that <P~, Q~> = <P, Q> - <fit of P, Q>.
    """
    for p, q in zip(sums_p, sums_q, strict=True):
        cross = cross - jnp.sum(counts * effects(p, counts, estimator) * q)
    return cross


def weighted_product(
    K: Float[Array, "N N"],
    L: Float[Array, "N N"],
    counts: Float[Array, " N"],
    estimator: str,
) -> Float[Array, ""]:
    """<K~, L~'> over all pairs of samples, each pair with the product of its counts.

    Biased: integer counts give the value of the RSMs with their samples repeated.
    Unbiased: a sample and its own copy are not a pair, since their similarity depends
    on the resampling alone and would bias the estimate. Then E<K~, L~'> is HSIC times a
    factor that depends on the counts alone and cancels in CKA; NaN where one sample is
    half of all or more, for then the fit has no solution.

    Center both first: then nothing cancels here. Quadratic forms in the counts become
    matrix products under `jax.vmap` over thousands of them.
    """
    P, Q, w = K, L.T, counts
    if estimator == "unbiased":
        different = ~jnp.eye(len(w), dtype=bool)
        P, Q = (jnp.where(different, m, 0) for m in (P, Q))
    # TF32 would lose what the centering has left.
    with jax.default_matmul_precision("highest"):
        sums_p, sums_q = ((m @ w, w @ m) for m in (P, Q))
        cross = w @ ((P * Q) @ w)
    product = product_of_sums(cross, sums_p, sums_q, w, estimator)
    if estimator == "biased":
        return product
    return jnp.where(jnp.all(jnp.sum(w) > 2 * w), product, jnp.nan)


def centered(K: Float[Array, "N N"], estimator: str) -> Float[Array, "N N"]:
    """The RSM less its row and column effects; unbiased: zero on the diagonal."""
    # A common offset changes nothing below, and subtracting it first keeps the digits.
    K = K - jnp.mean(K)
    different, ones = ~jnp.eye(len(K), dtype=bool), jnp.ones(len(K), K.dtype)
    if estimator == "unbiased":
        K = jnp.where(different, K, 0)
    rows, columns = (effects(K.sum(axis), ones, estimator) for axis in (1, 0))
    K = K - rows[:, None] - columns
    return jnp.where(different, K, 0) if estimator == "unbiased" else K


def check_rsms(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
    *,
    shift: bool = False,
    scale: bool = False,
) -> tuple[Array, Array]:
    """Converts two RSMs over the same samples; `shift` and `scale` as in `to_device`.

    Raises as `hsic`.
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
    check_samples(len(rsms[0]), estimator)
    return rsms[0], rsms[1]


def check_estimator(estimator: str) -> None:
    """Raises ValueError for neither ``"biased"`` nor ``"unbiased"``."""
    _checks.one_of("estimator", estimator, ("biased", "unbiased"))


def check_samples(n: int, estimator: str) -> None:
    """Raises ValueError for fewer than 4 samples and the unbiased estimator."""
    if estimator == "unbiased" and n < 4:
        raise ValueError(
            f"estimator 'unbiased' needs at least 4 samples, got {n}; use 'biased'"
        )


def check_counts(
    counts: ArrayLike | None, K: Float[Array, "N N"]
) -> Float[Array, " N"] | None:
    """Converts how often each sample counts to the dtype of K.

    Raises:
      TypeError: they are not real.
      ValueError: their shape is not (N,), or one is negative or not finite.
    """
    if counts is None:
        return None
    counts = _checks.real_array("counts", counts, rank=1)
    if counts.shape != K.shape[:1]:
        raise ValueError(
            f"counts must have one entry for each of {len(K)} samples, got shape "
            f"{counts.shape}"
        )
    _checks.finite("counts", counts)
    if not _checks.is_traced(counts) and bool(np.any(np.asarray(counts) < 0)):
        raise ValueError(f"counts must not be negative, got {counts}")
    return counts.astype(K.dtype)
