"""Distances between shapes: how far two networks are apart after the best rotation.

Both are metrics, symmetric and with the triangle inequality, so that networks can be
clustered and embedded by them (Williams et al. 2021).
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semrsm_jax.comparison._spectrum import UNDEFINED, spectrum
from semrsm_jax.comparison.measure import Measure


@dataclass(frozen=True)
class _Shape(Measure):
    clip: bool = False

    is_distance: ClassVar[bool] = True
    undefined: ClassVar[str] = UNDEFINED

    def prepared(self, K: Array, counts: Array | None = None) -> Array:
        """The symmetric square root of the centered RSM, which are its features."""
        values, vectors = spectrum(K, counts, self.clip)
        with jax.default_matmul_precision("highest"):
            return (vectors * jnp.sqrt(values)) @ vectors.T


@dataclass(frozen=True)
class Procrustes(_Shape):
    """The orthogonal Procrustes distance of two linear RSMs, K = X X' and L = Y Y'.

    The least |X - Y Q| (Frobenius) over all rotations and reflections Q, of centered
    features, which is sqrt(|X|^2 + |Y|^2 - 2 |X' Y|_*) with the sum of the singular
    values |.|_*; from 0. Features of different number are padded with zeros. These are
    ``LinearMetric(alpha=1, score_method="euclidean")`` of netrep and the "Procrustes
    size-and-shape distance" of ReSi; with ``normalize`` its "orthogonal Procrustes
    centered and normalized" (Ding et al. 2021).

    Attributes:
      normalize: divide each network's features by their Frobenius norm first, so that
        the distance lies in [0, sqrt(2)].
      clip: take the nearest positive semi-definite RSM where one is not (negative
        eigenvalues as 0), in place of an error.

    References:
      Williams et al., "Generalized shape metrics on neural representations", 2021; Ding
      et al., "Grounding representation similarity with statistical testing", 2021;
      Higham, "Computing a nearest symmetric positive semidefinite matrix", 1988.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Procrustes
      >>> X = np.random.default_rng(0).normal(size=(30, 4))
      >>> print(f"{Procrustes(normalize=True)(X @ X.T, 4 * X @ X.T):.3f}")
      0.000
    """

    normalize: bool = False

    scales: ClassVar[bool] = False

    def between(self, P: Array, Q: Array, counts: Array | None = None) -> Array:
        """The norm of what the best rotation leaves."""
        del counts  # they are in the square roots
        if self.normalize:
            P, Q = (m / jnp.linalg.norm(m) for m in (P, Q))
        x, y = _rotated(P, Q)
        return jnp.linalg.norm(x - y)


@dataclass(frozen=True)
class AngularShape(_Shape):
    """The angle between two shapes: the arc cosine of |X' Y|_* / (|X| |Y|).

    In [0, pi / 2]: 0 where the centered features are equal up to rotation, reflection
    and scale. It is ``LinearMetric(alpha=1, score_method="angular")`` of netrep and
    the "orthogonal angular shape metric" of ReSi, centered.

    Attributes:
      clip: take the nearest positive semi-definite RSM where one is not (negative
        eigenvalues as 0), in place of an error.

    References:
      Williams et al., "Generalized shape metrics on neural representations", 2021.
    """

    def between(self, P: Array, Q: Array, counts: Array | None = None) -> Array:
        """The angle, accurate for small ones too (Kahan)."""
        del counts
        x, y = _rotated(*(m / jnp.linalg.norm(m) for m in (P, Q)))
        return 2 * jnp.arctan2(jnp.linalg.norm(x - y), jnp.linalg.norm(x + y))


def _rotated(
    P: Float[Array, "N N"], Q: Float[Array, "N N"]
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """Both in the axes in which they agree most; their difference loses no digits."""
    with jax.default_matmul_precision("highest"):
        left, _, right = jnp.linalg.svd(P.T @ Q)
        return P @ left, Q @ right.T
