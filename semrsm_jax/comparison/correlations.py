"""Canonical correlations of two networks, of their main directions or weighted."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._spectrum import UNDEFINED, spectrum
from semrsm_jax.comparison.linear import check_features
from semrsm_jax.comparison.measure import Measure


@dataclass(frozen=True)
class SVCCA(Measure):
    """The mean canonical correlation of the main directions of two linear RSMs.

    Of K = X X' and L = Y Y', each network is reduced to as few principal components as
    hold `threshold` of its variance; the value is the mean of the canonical
    correlations of these, as many as the smaller number. In [0, 1]; where both numbers
    exceed N - 1 together, some are 1 by construction: take more samples.

    Attributes:
      threshold: share of the variance that is kept, in (0, 1].
      clip: take the nearest positive semi-definite RSM where one is not (negative
        eigenvalues as 0), in place of an error.

    References:
      Raghu et al., "SVCCA: singular vector canonical correlation analysis for deep
      learning dynamics and interpretability", 2017.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import SVCCA
      >>> X = np.random.default_rng(0).normal(size=(30, 4))
      >>> print(f"{SVCCA()(X @ X.T, 2 * X @ X.T):.4f}")
      1.0000
    """

    threshold: float = 0.99
    clip: bool = False

    undefined: ClassVar[str] = UNDEFINED

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a threshold that is not in (0, 1]."""
        threshold = _checks.finite_number("threshold", self.threshold, above=True)
        if threshold > 1:
            raise ValueError(f"threshold must be at most 1, got {threshold}")
        # A NumPy or JAX scalar would not hash, or compare.
        object.__setattr__(self, "threshold", threshold)

    def prepared(self, K: Array, counts: Array | None = None) -> Array:
        """The projection onto the components that are kept."""
        values, vectors = spectrum(K, counts, self.clip)
        values, vectors = values[::-1], vectors[:, ::-1]
        total = jnp.sum(values)
        before = jnp.cumsum(values) - values
        kept = (before < self.threshold * total) & (values > 0)
        vectors = jnp.where(kept & (total > 0), vectors, 0)
        with jax.default_matmul_precision("highest"):
            projection = vectors @ vectors.T
        return jnp.where(total > 0, projection, jnp.nan)

    def between(self, P: Array, Q: Array, counts: Array | None = None) -> Array:
        """The sum of the cosines of both spaces, divided by the smaller dimension."""
        del counts
        with jax.default_matmul_precision("highest"):
            product = P @ Q
        defined = jnp.all(jnp.isfinite(product))
        product = jnp.where(defined, product, 0)
        cosines = jnp.linalg.svd(product, compute_uv=False)
        dimension = jnp.round(jnp.minimum(jnp.trace(P), jnp.trace(Q)))
        return jnp.where(defined, jnp.sum(cosines) / dimension, jnp.nan)


@dataclass(frozen=True)
class PWCCA(Measure):
    """The mean of all canonical correlations, weighted by what they account for.

    It takes *features*, since it depends on their axes. Canonical variable i of the
    network of lower rank has the weight sum_c |<h_i, x_c>| over its centered features
    x_c; of equal ranks, the first network's. So both orders may differ. In [0, 1]. The
    authors' code adds the means of the features back before it weighs; on centered
    features it agrees.

    With N - 1 samples or fewer than both ranks together, canonical correlations are 1
    by construction, which a warning states.

    References:
      Morcos et al., "Insights on representational similarity in neural networks with
      canonical correlation", 2018.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import PWCCA
      >>> X = np.random.default_rng(0).normal(size=(30, 4))
      >>> print(f"{PWCCA()(X, X @ np.diag([1, 2, 3, 4])):.4f}")
      1.0000
    """

    of_features: ClassVar[bool] = True
    is_symmetric: ClassVar[bool] = False

    def checked(self, K: ArrayLike, L: ArrayLike) -> tuple[Array, Array]:
        """Converts features (N, ...) of the same samples to (N, C) and (N, D)."""
        X, Y = (each.unit for each in check_features(K, L, "biased"))
        self.check_size(len(X))
        if X.shape[1] + Y.shape[1] >= len(X) and not _checks.is_traced(X, Y):
            warnings.warn(
                f"PWCCA of {X.shape[1]} and {Y.shape[1]} features needs more samples "
                f"than both together, got {len(X)}: some canonical correlations may be "
                "1 by construction. Reduce the features, or take SVCCA",
                stacklevel=3,
            )
        return X, Y

    def between(self, P: Array, Q: Array, counts: Array | None = None) -> Array:
        """The weighted mean, of both features."""
        (X, x), (Y, y) = (_with_basis(m, counts) for m in (P, Q))
        with jax.default_matmul_precision("highest"):
            left, cosines, right = jnp.linalg.svd(x.T @ y, full_matrices=False)
            of_x = jnp.sum(jnp.abs((x @ left).T @ X), axis=1)
            of_y = jnp.sum(jnp.abs((y @ right.T).T @ Y), axis=1)
        weights = jnp.where(jnp.sum(x**2) <= jnp.sum(y**2) + 0.5, of_x, of_y)
        return jnp.sum(weights * cosines) / jnp.sum(weights)


def _with_basis(
    X: Float[Array, "N C"], counts: Float[Array, " N"] | None
) -> tuple[Float[Array, "N C"], Float[Array, "N R"]]:
    """Centered features, each sample times the root of its count, and their basis."""
    counts = jnp.ones(len(X), X.dtype) if counts is None else counts
    X = X - (counts / jnp.sum(counts)) @ X
    X = jnp.sqrt(counts)[:, None] * X
    basis, values, _ = jnp.linalg.svd(X, full_matrices=False)
    rounding = max(X.shape) * jnp.finfo(X.dtype).eps
    return X, jnp.where(values > rounding * values[0], basis, 0)
