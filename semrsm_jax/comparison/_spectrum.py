"""Centered RSMs as Gram matrices: their spectra, with samples counted.

Measures of shape and of correlation are defined for features X. They depend on X X'
alone, so that they are functions of any positive semi-definite RSM. A semantic RSM
need not be one: it either has no value there, or the nearest one takes its place.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Where a spectrum is NaN, for the error.
UNDEFINED = (
    "one of them is constant, or not positive semi-definite, as a semantic RSM may be; "
    "clip=True takes the nearest one that is"
)


def centered_gram(
    K: Float[Array, "N N"], counts: Float[Array, " N"] | None = None
) -> Float[Array, "N N"]:
    """The RSM as if of centered features, each sample times the root of its count.

    Where it is not symmetric, an entry is the mean of both directions. A constant RSM
    is exactly zero.
    """
    raw = jnp.max(jnp.abs(K))
    K = 0.5 * K + 0.5 * K.T
    counts = jnp.ones(len(K), K.dtype) if counts is None else counts
    share = counts / jnp.sum(counts)
    # Twice: the second time takes off the rounding of the first.
    for _ in range(2):
        K = less_mean(K, share)
    # Up to this, what centering left is rounding.
    constant = jnp.max(jnp.abs(K)) <= 8 * jnp.finfo(K.dtype).eps * raw
    root = jnp.where(constant, 0, jnp.sqrt(counts))
    return root[:, None] * K * root


def less_mean(K: Float[Array, "N N"], share: Float[Array, " N"]) -> Array:
    """The symmetric RSM of features less their mean over the samples that share it."""
    with jax.default_matmul_precision("highest"):
        means = K @ share
        return K - means[:, None] - means + share @ means


def spectrum(
    K: Float[Array, "N N"], counts: Float[Array, " N"] | None, clip: bool
) -> tuple[Float[Array, " N"], Float[Array, "N N"]]:
    """Eigenvalues of the centered RSM, ascending, and the eigenvectors as columns.

    Negative eigenvalues are 0 where they are rounding or `clip` is set, which makes of
    it the nearest positive semi-definite matrix (Higham 1988); else all are NaN.
    """
    values, vectors = jnp.linalg.eigh(centered_gram(K, counts))
    most = 1 if counts is None else jnp.max(counts)
    eps, size = jnp.finfo(K.dtype).eps, jnp.max(jnp.abs(K)) * most
    # Of the entries, and of the decomposition, both with a norm of about sqrt(N) times
    # theirs; N times the largest eigenvalue would drop variance.
    least = 4 * len(K) ** 0.5 * eps * jnp.maximum(values[-1], size)
    rounding = jnp.maximum(least, 16 * len(K) * eps * size)
    indefinite = (values[0] < -rounding) & (not clip)
    # The root of what is rounding would be large.
    values = jnp.where(values > least, values, 0)
    return jnp.where(indefinite, jnp.nan, values), vectors
