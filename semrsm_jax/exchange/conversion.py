"""From similarity to dissimilarity and back, always explicit, never guessed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

# What a diagonal may be off by, relative to 1, in float32 and beyond.
_TOLERANCE = 1e-4

Matrix = Float[np.ndarray, "N N"]


class Conversion(Protocol):
    """How dissimilarities, zero on the diagonal, are made of similarities, and back."""

    def dissimilarity(self, K: Matrix) -> Matrix:
        """From an RSM (N, N), symmetric."""
        ...

    def similarity(self, D: Matrix) -> Matrix:
        """From dissimilarities (N, N)."""
        ...


@dataclass(frozen=True)
class OneMinus:
    """D = 1 - K, for kernels that are 1 on the diagonal: `Cosine` and `RBF`."""

    def dissimilarity(self, K: Matrix) -> Matrix:
        """Raises ValueError where the diagonal is not 1."""
        furthest = K.diagonal()[np.argmax(np.abs(K.diagonal() - 1))]
        if abs(furthest - 1) > _TOLERANCE:
            raise ValueError(
                "OneMinus() needs an RSM with 1 on the diagonal, as Cosine and RBF "
                f"give, got {furthest:g}; use SquaredDistance() for others"
            )
        return _hollow(1 - K)

    def similarity(self, D: Matrix) -> Matrix:
        """K = 1 - D."""
        return 1 - D


@dataclass(frozen=True)
class Negative:
    """D = -K off the diagonal, which is lost: K comes back with zeros there.

    Values, differences and ranks of pairs stay; D has no natural zero.
    """

    def dissimilarity(self, K: Matrix) -> Matrix:
        """Zero on the diagonal, for any entries of K there."""
        return _hollow(-K)

    def similarity(self, D: Matrix) -> Matrix:
        """K = -D."""
        # Adding zero makes 0 of -0.
        return _hollow(-D) + 0


@dataclass(frozen=True)
class SquaredDistance:
    """D_ij = K_ii + K_jj - 2 K_ij, the squared distance that an inner product implies.

    For the linear kernel this is |z_i - z_j|^2 where both diagonal entries belong to
    the matched representations, as they do: a permutation keeps norms. Where float32
    cancels in it, `PairStatistics.sq_dist` has the digits. Back it gives the doubly
    centered K = -H D H / 2 (Gower 1966): the same structure up to the position of the
    origin, and so the same CKA and HSIC (biased), not the same K.
    """

    def dissimilarity(self, K: Matrix) -> Matrix:
        """From the RSM and its diagonal."""
        own = K.diagonal()
        return _hollow(own[:, None] + own[None, :] - 2 * K)

    def similarity(self, D: Matrix) -> Matrix:
        """The doubly centered similarities."""
        rows = D - D.mean(axis=0)
        return -0.5 * (rows - rows.mean(axis=1, keepdims=True))


def _hollow(matrix: Matrix) -> Matrix:
    return np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
