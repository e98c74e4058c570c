"""Inner products of centred RSMs in which samples count more or less than once.

They are what a bootstrap needs, for thousands of counts over the same two RSMs: written
as quadratic forms in the counts, `jax.vmap` over the counts makes them matrix products.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks


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


def inner_product(
    K: Float[Array, "N N"],
    L: Float[Array, "N N"],
    counts: Float[Array, " N"],
    estimator: str,
) -> Float[Array, ""]:
    """<K~, L~'> over all pairs of samples, each pair with the product of its counts.

    K~ is K less row and column effects, fitted under the same weights. Biased: the mean
    rows and columns, diagonal included, so that integer counts give what the RSM with
    its samples repeated gives. Unbiased: the additive fit to the pairs of *different*
    samples. A sample and its own copy are no pair: their similarity tells of the
    resampling alone, and would bias the estimate. Then E<K~, L~'> is HSIC times a
    factor that depends on the counts alone and cancels in CKA.

    K and L need not be symmetric. Centre both first: then nothing cancels here.
    """
    form = _biased if estimator == "biased" else _unbiased
    # TF32 would lose what the centring has left.
    with jax.default_matmul_precision("highest"):
        return form(K, L.T, counts)


def _biased(P: Array, Q: Array, counts: Array) -> Float[Array, ""]:
    total = jnp.sum(counts)
    p = counts / total
    rows_p, rows_q = P @ p, Q @ p
    columns_p, columns_q = p @ P, p @ Q
    centred = (
        p @ ((P * Q) @ p)
        - jnp.sum(p * (rows_p * rows_q + columns_p * columns_q))
        + (p @ rows_p) * (p @ rows_q)
    )
    return total**2 * centred


def _unbiased(P: Array, Q: Array, counts: Array) -> Float[Array, ""]:
    different = ~jnp.eye(len(counts), dtype=bool)
    P, Q = (jnp.where(different, m, 0) for m in (P, Q))
    w, total = counts, jnp.sum(counts)
    # Where one sample is more than half of all, the fit has no solution.
    spread = jnp.where(total > 2 * w, total - 2 * w, jnp.nan)

    def effects(sums: Array) -> Array:
        """Of rows, or columns, with these weighted sums."""
        mean = jnp.sum(w * sums / spread) / (1 + jnp.sum(w / spread))
        return (sums - mean) / spread

    sums_p, sums_q = ((m @ w, w @ m) for m in (P, Q))
    fit_p, fit_q = (tuple(map(effects, sums)) for sums in (sums_p, sums_q))
    product = w @ ((P * Q) @ w)
    for side in (0, 1):
        product -= jnp.sum(
            w * (fit_p[side] * sums_q[side] + fit_q[side] * sums_p[side])
        )
        product += jnp.sum(w * (total - w) * fit_p[side] * fit_q[side])
        product += jnp.sum(w * fit_p[side]) * jnp.sum(w * fit_q[1 - side])
        product -= jnp.sum(w**2 * fit_p[side] * fit_q[1 - side])
    return product
