"""The Hilbert-Schmidt independence criterion of two RSMs, Eq. 1, and its one formula.

HSIC is a multiple of the inner product <K~, L~'>, where K~ is K less its row and column
effects: those of the additive fit to all pairs of samples (biased), or to the pairs of
different samples (unbiased: the U-centered matrix of Szekely and Rizzo 2014), or of
different groups of samples. `effects` is that fit. It needs the sums of rows and
columns only, in which samples may count more or less than once; equal counts are the
plain estimators. RSMs in memory (`centered`), read by rows (`_row_blocks`), resampled
(`weighted_product`) and of features (`linear`) all use it.

Of RSMs K = Ks + Ka that are not symmetric, the U-statistic is <Ks~, Ls~> / (n (n - 3))
of the symmetric parts less <Ka~, La~> / ((n - 1) (n - 2)) of the antisymmetric ones. As
<K~, L~'> is the one product less the other, the share `transposed_share` of <K~, L~>
makes up for the difference of the divisors.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._ids import same_samples
from semrsm_jax.comparison._effects import effects, product_of_sums
from semrsm_jax.comparison.grouping import DROP, KEEP, SampleGroups
from semrsm_jax.comparison.narrowing import to_device


def hsic(K: ArrayLike, L: ArrayLike, estimator: str = "biased") -> Float[Array, ""]:
    """How strongly two similarity structures over the same samples are dependent.

    A constant added to an RSM changes nothing. It is subtracted from those of NumPy in
    float64 before JAX, without x64, narrows them to float32.

    Args:
      K: RSM (N, N); it need be neither symmetric nor positive semi-definite.
      L: RSM (N, N) of the same samples in the same order.
      estimator: ``"biased"`` is tr(K H L H) / (N - 1)^2 with the centering matrix H,
        Eq. 1; ``"unbiased"`` is the U-statistic, the mean over all choices of four
        different samples, which leaves out the diagonals and may be negative. Of
        symmetric RSMs it is Eq. 5 of Song et al. 2012; of others that formula is biased
        and depends on which RSM comes first, and the U-statistic is taken, which is
        neither.

    Returns:
      A scalar; 0 for a constant RSM, and, biased, for a single sample. Under jit NaN
      where it, or an RSM, leaves the range of the dtype.

    Raises:
      TypeError: an RSM is not real.
      ValueError: shapes that are not square or differ, NaN or infinity, an unknown
        estimator, fewer than 4 samples for the unbiased one, or HSIC or the largest
        entry of an RSM so small or large that the dtype would lose digits.

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
    return in_range(_hsic(K, L, estimator), "K and L", "cka")


@partial(jax.jit, static_argnames="estimator")
def _hsic(K: Array, L: Array, estimator: str) -> Float[Array, ""]:
    (K, scale_k), (L, scale_l) = (unit_scale(m, estimator) for m in (K, L))
    product = inner_product(K, L, estimator) / normalizer(len(K), estimator)
    return scaled_back(product, jnp.frexp(scale_k)[1] + jnp.frexp(scale_l)[1] - 2)


def scaled_back(product: Float[Array, ""], exponent: Any) -> Float[Array, ""]:
    """An HSIC times a power of two; NaN where that leaves the range of the dtype."""
    value = jnp.ldexp(product, exponent)
    info = jnp.finfo(value.dtype)
    known = (jnp.abs(value) >= info.tiny) & jnp.isfinite(value) | (product == 0)
    return jnp.where(known, value, jnp.nan)


def in_range(value: Float[Array, ""], names: str, instead: str) -> Float[Array, ""]:
    """An HSIC; ValueError where it is NaN, unless it is traced."""
    if not _checks.is_traced(value) and bool(jnp.isnan(value)):
        raise ValueError(
            f"{names} must have an HSIC in the range of {value.dtype}, got one outside "
            f"of it; multiply them by constants, or take {instead}, which does not "
            "depend on them"
        )
    return value


def inner_product(
    K: Float[Array, "N N"], L: Float[Array, "N N"], estimator: str
) -> Float[Array, ""]:
    """Of centered RSMs, what HSIC is a multiple of."""
    # Both parts of the first, which permutation tests leave as it is.
    share = 0 if estimator == "biased" else transposed_share(len(K))
    return jnp.sum(((1 - share) * K.T + share * K) * L)


def transposed_share(n: Any) -> Any:
    """The share of <K~, L~> in the unbiased estimate; of symmetric RSMs it is idle."""
    return 1 / ((n - 1) * (n - 2))


def normalizer(n: Any, estimator: str) -> Any:
    """What HSIC divides the inner product of n centered samples by."""
    return n * (n - 3) if estimator == "unbiased" else max(n - 1, 1) ** 2


def weighted_product(
    K: Float[Array, "N N"],
    L: Float[Array, "N N"],
    counts: Float[Array, " N"],
    estimator: str,
    groups: SampleGroups | None = None,
) -> Float[Array, ""]:
    """<K~, L~'> over all pairs of samples, each pair with the product of its counts.

    Biased: integer counts give the value of the RSMs with their samples repeated.
    Unbiased: a sample and its own copy are not a pair, since their similarity depends
    on the resampling alone and would bias the estimate; with groups, pairs count as
    `pair_counts` says. Then E<K~, L~'> is HSIC times a factor that depends on the
    counts alone and cancels in CKA; NaN where one sample, or group, is half of all or
    more, for then the fit has no solution, or fewer than 4 count, which are fitted
    exactly.

    Center both first: then nothing cancels here. Quadratic forms in the counts become
    matrix products under `jax.vmap` over thousands of them.
    """
    w = counts
    if estimator == "biased":
        with jax.default_matmul_precision("highest"):
            sums_k, transposed_l = (K @ w, w @ K), (w @ L, L @ w)
            cross = w @ ((K * L.T) @ w)
        return product_of_sums(cross, sums_k, transposed_l, w, estimator)
    apart = ~jnp.eye(len(w), dtype=bool)
    within = None
    if groups is not None:
        same = groups.members[:, None] == groups.members
        within = apart & same if groups.within == KEEP else None
        apart = ~same

    # TF32 would lose what the centering has left.
    with jax.default_matmul_precision("highest"):
        sums = []
        for m in (K, L):
            far = jnp.where(apart, m, 0)
            rows, columns = far @ w, w @ far
            if within is not None:
                near = jnp.where(within, m, 0)
                rows, columns = rows + near.sum(1), columns + near.sum(0)
            sums.append((rows, columns))
        products = []
        for transposed, sums_q in ((L.T, sums[1][::-1]), (L, sums[1])):
            cross = w @ (jnp.where(apart, K * transposed, 0) @ w)
            if within is not None:
                cross += w @ jnp.where(within, K * transposed, 0).sum(1)
            products.append(
                product_of_sums(cross, sums[0], sums_q, w, estimator, groups)
            )
    product, other = products
    share = transposed_share(jnp.sum(w) ** 2 / jnp.sum(w**2))
    weights = w if groups is None else jax.ops.segment_sum(w, groups.members, len(w))
    units = weights if within is None else w
    solved = jnp.all(jnp.sum(w) > 2 * weights) & (jnp.sum(units > 0) > 3)
    return jnp.where(solved, product + share * (other - product), jnp.nan)


def centered(
    K: Float[Array, "N N"], estimator: str, groups: SampleGroups | None = None
) -> Float[Array, "N N"]:
    """The RSM less its row and column effects; unbiased: zero on the diagonal.

    With groups whose pairs are left out, it is zero in all of them. A constant RSM is
    exactly zero. Entries that do not count change nothing, however large.
    """
    K, largest = _less_effects(K, estimator, groups)
    return jnp.where(largest == 0, 0, K)


def _less_effects(
    K: Float[Array, "N N"], estimator: str, groups: SampleGroups | None
) -> tuple[Float[Array, "N N"], Float[Array, ""]]:
    """The RSM less its effects, and the largest entry; 0 where that is rounding."""
    counted, ones = None, jnp.ones(len(K), K.dtype)
    if groups is not None and groups.within == DROP:
        counted = groups.members[:, None] != groups.members
    elif estimator == "unbiased":
        counted, groups = ~jnp.eye(len(K), dtype=bool), None
    raw = jnp.max(jnp.abs(K), where=counted, initial=0)
    # A common offset changes nothing below, and subtracting it first keeps the digits.
    K = K - jnp.mean(K, where=counted)
    if counted is not None:
        K = jnp.where(counted, K, 0)
    rows, columns = effects(K.sum(1), K.sum(0), ones, estimator, groups)
    K = K - rows[:, None] - columns
    if counted is not None:
        K = jnp.where(counted, K, 0)
    largest = jnp.max(jnp.abs(K))
    rounding = largest <= 8 * jnp.finfo(K.dtype).eps * raw
    return K, jnp.where(rounding, 0, largest)


def unit_scale(
    K: Float[Array, "N N"], estimator: str, groups: SampleGroups | None = None
) -> tuple[Float[Array, "N N"], Float[Array, ""]]:
    """The centered RSM with largest entry about 1, so that float32 does not overflow.

    And its scale, a power of two. A constant RSM is exactly zero, with scale 1. The
    scale is a constant to derivatives: that of a maximum is NaN where the compiler
    rounds K otherwise there.
    """
    K, largest = _less_effects(K, estimator, groups)
    exponent = jnp.frexp(jnp.where(largest == 0, 1, largest))[1] - 1
    scale = jnp.ldexp(jnp.ones((), K.dtype), exponent)
    return jnp.where(largest == 0, 0, K / scale), scale


def check_rsms(
    K: ArrayLike,
    L: ArrayLike,
    estimator: str = "biased",
    *,
    shift: bool = False,
    scale: bool = False,
) -> tuple[Array, Array]:
    """Converts two RSMs over the same samples; `shift` and `scale` as in `to_device`.

    Where both have ids, L comes in the order of K. Raises as `hsic`.
    """
    _checks.estimator(estimator)
    rsms = []
    for name, value in same_samples({"K": K, "L": L}).items():
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


def check_samples(n: int, estimator: str) -> None:
    """Raises ValueError for fewer than 4 samples and the unbiased estimator."""
    if estimator == "unbiased" and n < 4:
        raise ValueError(
            f"estimator 'unbiased' needs at least 4 samples, got {n}; use 'biased'"
        )


def check_counts(
    counts: ArrayLike | None, K: Float[Array, "N N"]
) -> Float[Array, " N"] | None:
    """How often each sample counts, in the dtype of K. TypeError: not real.

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
