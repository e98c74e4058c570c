"""CKA from batches of samples, for features or RSMs of which only batches exist.

A mean over batches of CKAs does not estimate CKA. Here the numerator and both parts of
the denominator are averaged, each by an unbiased estimator, and divided once at the
end: over random batches each has the expectation that it has over all samples (Nguyen
et al., "Do wide and deep networks learn the same things?", 2021).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison import linear
from semrsm_jax.comparison._cka import inner_products, ratio
from semrsm_jax.comparison._hsic import check_rsms, normalizer, unit_scale


class MinibatchSums(NamedTuple):
    """Unbiased HSICs summed over batches, each weighted by its samples.

    Attributes:
      cross: of HSIC(K, L), over scale_k^2 scale_l^2.
      own_k: of HSIC(K, K), over scale_k^4.
      own_l: of HSIC(L, L), over scale_l^4.
      scale_k: about the square root of the largest centered entry of K so far, so that
        products stay in the range of float32; in the units of features.
      scale_l: about the square root of the largest centered entry of L so far.
      samples: in all batches.
    """

    cross: Float[Array, ""]
    own_k: Float[Array, ""]
    own_l: Float[Array, ""]
    scale_k: Float[Array, ""]
    scale_l: Float[Array, ""]
    samples: Float[Array, ""]


def minibatch_init(dtype: jax.typing.DTypeLike = float) -> MinibatchSums:
    """The sums before the first batch (Nguyen et al. 2021).

    Args:
      dtype: to sum in; float is float32, or float64 under x64.

    Returns:
      The `MinibatchSums` of no samples.
    """
    zero = jnp.zeros((), dtype)
    return MinibatchSums(*[zero] * len(MinibatchSums._fields))


def minibatch_update(sums: MinibatchSums, K: ArrayLike, L: ArrayLike) -> MinibatchSums:
    """Adds a batch, given by both of its RSMs; pure, so that it can be jitted.

    Args:
      sums: so far.
      K: RSM (b, b) of the batch, b at least 4.
      L: RSM (b, b) of the same samples in the same order.

    Returns:
      The `MinibatchSums` with this batch, as in Nguyen et al. 2021.

    Raises:
      TypeError: an RSM is not real.
      ValueError: as `cka`; fewer than 4 samples (leave out a short last batch).
    """
    K, L = check_rsms(K, L, "unbiased", shift=True)
    (unit_k, scale_k), (unit_l, scale_l) = (unit_scale(m, "unbiased") for m in (K, L))
    products = inner_products(unit_k, unit_l, "unbiased")
    return _added(sums, products, jnp.sqrt(scale_k), jnp.sqrt(scale_l), len(K))


def minibatch_update_features(
    sums: MinibatchSums, X: ArrayLike, Y: ArrayLike
) -> MinibatchSums:
    """Adds a batch, given by features, whose RSMs are the linear ones.

    Args:
      sums: so far.
      X: features (b, ...) of the batch, see `linear_cka`, b at least 4.
      Y: features (b, ...) of the same samples in the same order.

    Returns:
      The `MinibatchSums` with this batch, as in Nguyen et al. 2021.

    Raises:
      TypeError: an array is not real.
      ValueError: as `linear_cka`; fewer than 4 samples (leave out a short last batch).
    """
    x, y = linear.check_features(X, Y, "unbiased")
    products = linear.products(x.unit, y.unit, "unbiased")
    return _added(sums, products, x.scale, y.scale, len(x.unit))


def minibatch_compute(sums: MinibatchSums) -> Float[Array, ""]:
    """CKA of all batches so far (Nguyen et al. 2021).

    Args:
      sums: of these batches, as `minibatch_update` returns them.

    Returns:
      A scalar, never clamped; 0 where K or L had no structure in any batch, or before
      the first one, and NaN where the estimate of HSIC(K, K) or HSIC(L, L) is negative,
      which an RSM that is not symmetric can cause.
    """
    return ratio(sums.cross, sums.own_k, sums.own_l)


def minibatch_cka(batches: Iterable[tuple[ArrayLike, ArrayLike]]) -> Float[Array, ""]:
    """Unbiased CKA from batches of RSMs; see `minibatch_compute`.

    Args:
      batches: pairs (K, L) of RSMs (b, b), each over the samples of a batch. Draw the
        batches at random; they may differ in size.

    Returns:
      A scalar, as `minibatch_compute` gives it.

    Raises:
      TypeError: as `minibatch_update`.
      ValueError: as `minibatch_update`, or no batches.

    References:
      Nguyen et al., "Do wide and deep networks learn the same things?", 2021.
    """
    return _over(minibatch_update, batches)


def minibatch_linear_cka(
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
) -> Float[Array, ""]:
    """Unbiased linear CKA from batches of features; see `minibatch_compute`.

    Args:
      batches: pairs (X, Y) of features (b, ...), each of the samples of a batch. Draw
        the batches at random; they may differ in size.

    Returns:
      A scalar, as `minibatch_compute` gives it.

    Raises:
      TypeError: as `minibatch_update_features`.
      ValueError: as `minibatch_update_features`, or no batches.

    References:
      Nguyen et al., "Do wide and deep networks learn the same things?", 2021.
    """
    return _over(minibatch_update_features, batches)


def _over(
    update: Callable[[MinibatchSums, ArrayLike, ArrayLike], MinibatchSums],
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
) -> Float[Array, ""]:
    sums = minibatch_init()
    for first, second in batches:
        sums = update(sums, first, second)
    if sums.samples == 0:
        raise ValueError("batches must hold at least one batch, got none")
    return minibatch_compute(sums)


@jax.jit
def _added(
    sums: MinibatchSums,
    products: tuple[Array, Array, Array],
    scale_k: Array,
    scale_l: Array,
    n: int,
) -> MinibatchSums:
    """The sums with the products of a batch, whose RSMs were divided by scale^2."""
    dtype = sums.cross.dtype
    # As a traced integer, its square would wrap.
    count = normalizer(jnp.asarray(n, dtype), "unbiased")
    cross, own_k, own_l = (product.astype(dtype) / count for product in products)
    # A batch without structure has no scale to set.
    scale_k = jnp.where(own_k != 0, scale_k.astype(dtype), 0)
    scale_l = jnp.where(own_l != 0, scale_l.astype(dtype), 0)
    new_k, old_k, to_k = _rescaled(sums.scale_k, scale_k)
    new_l, old_l, to_l = _rescaled(sums.scale_l, scale_l)
    return MinibatchSums(
        sums.cross * (old_k * old_l) ** 2 + n * cross * (to_k * to_l) ** 2,
        sums.own_k * old_k**4 + n * own_k * to_k**4,
        sums.own_l * old_l**4 + n * own_l * to_l**4,
        new_k,
        new_l,
        sums.samples + n,
    )


def _rescaled(old: Array, new: Array) -> tuple[Array, Array, Array]:
    """The larger scale, and the factors of sums with the old one and the new one."""
    largest = jnp.maximum(old, new)
    divisor = jnp.where(largest > 0, largest, 1)
    return largest, old / divisor, new / divisor
