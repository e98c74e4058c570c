"""The numbers that the page shows of one layer."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax._kernels import Kernel
from semrsm_jax.matching import Matcher
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.reporting.correspondences import Correspondences
from semrsm_jax.reporting.sources import Read

SEMANTIC, SPATIAL = "semantic", "spatio-semantic"


class Layer(NamedTuple):
    """One layer, over n samples.

    Attributes:
      name: of the layer.
      rsms: by definition, the RSM (n, n), finite.
      bound: (n, n), proven: no matching makes a pair more similar; None if unknown.
      lost: (n, n), the share of the matched inner product that is lost when tokens are
        compared position by position; NaN where nothing is matched.
      kernel: the similarity; None if unknown.
      matcher: of the semantic RSM; None if unknown.
      grid: (H, W) of its last H * W tokens, the patches; None without features.
      tokens: S; None without features.
      correspondences: None without features.
      note: the reason without correspondences, for the reader.
    """

    name: str
    rsms: dict[str, Float[np.ndarray, "n n"]]
    bound: Float[np.ndarray, "n n"] | None
    lost: Float[np.ndarray, "n n"] | None
    kernel: Kernel | None
    matcher: Matcher | None
    grid: tuple[int, int] | None = None
    tokens: int | None = None
    correspondences: Correspondences | None = None
    note: str = ""


def lost_share(
    semantic: PairStatistics, spatial: PairStatistics
) -> Float[np.ndarray, "n n"]:
    """The share of the matched inner product that is lost to misalignment.

    It is above 1 where aligned tokens have a negative inner product, and NaN where the
    matched one is not above zero.
    """
    matched = np.asarray(semantic.inner, np.float64)
    positive = matched > 0
    aligned = np.asarray(spatial.inner, np.float64)
    share = aligned / np.where(positive, matched, 1)
    return np.where(positive, 1 - share, np.nan)


def similarity_bound(read: Read) -> np.ndarray | None:
    """The similarity (n, n) that no matching of a pair exceeds.

    It is the kernel of the bounds on the inner product and, through the norms, on the
    distance; None if the kernel is not monotone.
    """
    stats, kernel = read.statistics, read.kernel
    if stats is None or not getattr(kernel, "monotone", False) or kernel is None:
        return None
    inner = np.asarray(stats.upper_bound, np.float64)
    sides = stats.x_sq_norm, stats.y_sq_norm
    norms = np.add.outer(*(np.asarray(side, np.float64) for side in sides))
    sq_dist = np.clip(norms - 2 * inner, 0, np.asarray(stats.sq_dist))
    best = kernel(stats._replace(inner=stats.upper_bound, sq_dist=sq_dist))  # type: ignore[arg-type]
    # A rounded bound may fall below the value that it bounds.
    return np.maximum(np.asarray(best), read.rsm)


def check_finite(name: str, K: np.ndarray) -> None:
    """Raises ValueError for an RSM with NaN or infinity."""
    bad = np.argwhere(~np.isfinite(K))
    if len(bad):
        raise ValueError(
            f"the RSM of {name!r} must be finite, got {len(bad)} NaN or infinite "
            f"values, the first at row {bad[0][0]}, column {bad[0][1]}"
        )
