"""Two samples without their means, and the epsilon of their soft matching.

Centering takes the same from every plan with the right row and column sums, so the plan
stays what it is, while the affinities that are left are as small as can be: at a small
epsilon float32 needs all its digits for them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax._affinity import token_products
from semrsm_jax._representations import accumulation_dtype, squared_token_norms
from semrsm_jax.matching.base import Mask, Tokens


class SoftSettings(NamedTuple):
    """What of a soft matcher is fixed when it is compiled."""

    relative: bool
    tolerance: float
    max_iterations: int
    implicit_diff: bool
    block: int | None  # rows of the plan in memory at a time; None: all


class Strength(NamedTuple):
    """Epsilon, and where its annealing starts, in standard deviations."""

    epsilon: float
    anneal: float


class CenteredPair(NamedTuple):
    """Tokens without their mean; affinity lost ``x_offset_i + y_offset_j`` by that."""

    x: Float[Array, "*batch S C"]
    y: Float[Array, "*batch T C"]
    difference: Float[Array, "*batch C"]  # of the means
    x_offset: Float[Array, "*batch S"]
    y_offset: Float[Array, "*batch T"]
    row_mass: Float[Array, "*batch S"]  # sums of the plan's rows; 0: masked
    column_mass: Float[Array, "*batch T"]


def center_pair(x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> CenteredPair:
    """Takes each sample's mean token from its tokens; masked ones become zero."""
    dtype = accumulation_dtype(jnp.promote_types(x.dtype, y.dtype))
    x, y = x.astype(dtype), y.astype(dtype)
    if y_mask is not None:
        # The products of masked tokens may overflow.
        y = jnp.where(y_mask[..., None], y, 0)
    (x_centered, x_mean, x_share), (y_centered, y_mean, y_share) = (
        _center_tokens(tokens, mask) for tokens, mask in ((x, x_mask), (y, y_mask))
    )
    # As many pairs as a hard matching has.
    mass = 1 / jnp.maximum(x_share.max(-1), y_share.max(-1))[..., None]
    return CenteredPair(
        x_centered,
        y_centered,
        x_mean - y_mean,
        token_products(x_centered, y_mean[..., None, :])[..., 0],
        token_products(y, x_mean[..., None, :])[..., 0],
        mass * x_share,
        mass * y_share,
    )


def _center_tokens(tokens: Array, mask: Mask) -> tuple[Array, Array, Array]:
    """Centered tokens, their mean, and the weight of each one in it."""
    if mask is None:
        mask = jnp.ones(tokens.shape[:-1], bool)
    present = mask[..., None]
    mean = jnp.mean(tokens, axis=-2, keepdims=True, where=present)
    share = mask / jnp.sum(mask, axis=-1, keepdims=True)
    centered = jnp.where(present, tokens - mean, 0)
    return centered, mean[..., 0, :], share.astype(tokens.dtype)


def temperatures(
    tokens: CenteredPair, strength: Strength, settings: SoftSettings
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Epsilon in units of the affinity, and how many times it the annealing starts at.

    They carry no gradient, as in OTT.
    """
    spread, largest = _spread(jax.lax.stop_gradient(tokens))
    epsilon = jnp.full_like(spread, strength.epsilon)
    if settings.relative:
        epsilon = epsilon * spread
    # Below the rounding errors of the affinity the plan stays what it is. Equal tokens
    # have no spread but that of rounding errors.
    epsilon = jnp.maximum(epsilon, 8 * jnp.finfo(spread.dtype).eps * largest)
    epsilon = jnp.where(epsilon == 0, 1, epsilon)
    return epsilon, jnp.maximum(strength.anneal * spread / epsilon, 1)


def _spread(
    tokens: CenteredPair,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The standard deviation of the affinity of unmasked tokens, and a bound on it.

    That of centered tokens follows from their second moments; what centering took
    varies with one side alone and not with the rest, so that the variances add.
    """
    largest = [
        jnp.sqrt(jnp.max(squared_token_norms(side), axis=-1))
        for side in (tokens.x, tokens.y)
    ]
    # Divided by the largest, as squares may leave float32's range.
    x, y = (
        side / jnp.where(length > 0, length, 1)[..., None, None]
        for side, length in zip((tokens.x, tokens.y), largest, strict=True)
    )
    moments = [
        jnp.einsum("...sc,...sd->...cd", a, a, precision=jax.lax.Precision.HIGHEST)
        for a in (x, y)
    ]
    counts = [jnp.sum(mass > 0, -1) for mass in (tokens.row_mass, tokens.column_mass)]
    variance = jnp.sum(moments[0] * moments[1], axis=(-2, -1)) / counts[0] / counts[1]
    product = largest[0] * largest[1]
    spread = product * jnp.sqrt(jnp.maximum(variance, 0))
    for offset, mass in (
        (tokens.x_offset, tokens.row_mass),
        (tokens.y_offset, tokens.column_mass),
    ):
        deviation, peak = _deviation(offset, mass > 0)
        spread, product = jnp.hypot(spread, deviation), product + peak
    return spread, product


def _deviation(values: Array, present: Array) -> tuple[Array, Array]:
    """The standard deviation of those present, and the largest absolute value."""
    peak = jnp.max(jnp.where(present, jnp.abs(values), 0), axis=-1)
    scaled = values / jnp.where(peak > 0, peak, 1)[..., None]
    return peak * jnp.std(scaled, axis=-1, where=present), peak
