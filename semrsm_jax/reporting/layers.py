"""One layer of the page: its tokens, their places, and the numbers that are shown."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax._kernels import Kernel
from semrsm_jax._layouts import layout_of
from semrsm_jax._resources import free_memory
from semrsm_jax.engine import read_through, token_rows
from semrsm_jax.matching import Matcher
from semrsm_jax.pairs import PairStatistics
from semrsm_jax.reporting.correspondences import Correspondences
from semrsm_jax.reporting.sources import Origin, Read
from semrsm_jax.store import load_features
from semrsm_jax.store.feature_file import feature_metadata

if TYPE_CHECKING:
    from semrsm_jax.features.preprocessing import Preprocessing

SEMANTIC, SPATIAL = "semantic", "spatio-semantic"
# Norms of the same float32 features, summed in another order, agree to this.
_SAME = 1e-3


class Tokens(NamedTuple):
    """Features of n chosen samples, as they were matched.

    Attributes:
      values: (n, S, C), float32 or float64, centered if the RSM's were.
      grid: (H, W) of the activations; None where they are tokens (S, C).
      preprocessing: of the images; None if unknown.
    """

    values: Float[np.ndarray, "n S C"]
    grid: tuple[int, int] | None
    preprocessing: "Preprocessing | None"


class Layer(NamedTuple):
    """One layer, over n samples.

    Attributes:
      name: of the layer.
      rsms: by definition, the RSM (n, n), finite.
      bound: (n, n), proven: no matching makes a pair more similar; None if unknown.
      lost: (n, n), the share of the matched inner product that is lost when tokens are
        compared position by position; NaN where nothing is matched.
      kernels: by definition, the similarity with its bandwidth; None if unknown.
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
    kernels: dict[str, Kernel | None]
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


def load_tokens(origin: Origin, count: int, chosen: np.ndarray) -> Tokens:
    """Reads the features of the chosen ones of N samples, by their numbers.

    Raises:
      TypeError: as `load_features`.
      ValueError: as `load_features`; another number of samples, or too little memory.
    """
    where, preprocessing = "features", None
    activations = origin.features
    if isinstance(activations, str):
        where = activations
        text = feature_metadata(where).get("preprocessing")
        if text:
            from semrsm_jax.features.preprocessing import preprocessing_from_text

            preprocessing = preprocessing_from_text(text)
        activations = load_features(where, origin.key)
    layout = layout_of("features", activations.shape, origin.layout)
    axes = dict(zip(layout, activations.shape, strict=True))
    grid = (axes["H"], axes["W"]) if "H" in axes else None
    rows = token_rows(activations, layout)
    if rows.shape[0] != count:
        raise ValueError(
            f"{where} must hold the {count} samples of the RSM, got {rows.shape[0]}"
        )
    need = 4 * len(chosen) * math.prod(rows.shape[1:])
    if need > free_memory() / 2:
        raise ValueError(
            f"{where}: features of {len(chosen)} samples take {need / 2**30:.1f} GiB, "
            "more than half of the free memory; take fewer with samples (--samples)"
        )
    values = np.asarray(rows[chosen])
    dtype = np.float64 if values.dtype == np.float64 else np.float32
    if origin.center is not None:
        _, _, mean = read_through(where, rows, origin.center)
        values = values - np.asarray(mean)
    return Tokens(values.astype(dtype), grid, preprocessing)


def check_same(name: str, tokens: Tokens, stats: PairStatistics) -> None:
    """Raises ValueError unless the norms are those that an RSM was computed from."""
    norms = np.square(tokens.values, dtype=np.float64).sum((1, 2))
    wrong = ~np.isclose(norms, np.asarray(stats.x_sq_norm), rtol=_SAME, atol=0)
    if wrong.any():
        raise ValueError(
            f"features of {name!r} must be those that its RSM was computed from; the "
            f"norms of {wrong.sum()} of {len(wrong)} samples differ. Another layer, "
            "order, layout or centering?"
        )


def grid_of(
    name: str,
    tokens: int,
    given: tuple[int, int] | None,
    known: tuple[int, int] | None,
    image: tuple[int, int] | None,
) -> tuple[int, int]:
    """The rows and columns (H, W) of the last H * W tokens in the image.

    Args:
      name: of the layer, for the error.
      tokens: S, the prefix tokens and the grid.
      given: by the user; it takes precedence.
      known: the grid of the activations.
      image: height and width of the network's input.

    Raises:
      ValueError: the grid has more than S tokens, or no more than half of them, which
        no network has as prefix; or it is unknown and must be given.
    """
    grid = given or known
    if grid is None:
        height, width = image or (1, 1)
        for patches in (tokens, tokens - 1):
            rows = round(math.sqrt(patches * height / width))
            if (
                rows
                and patches % rows == 0
                and patches // rows == round(rows * width / height)
            ):
                grid = rows, patches // rows
                break
    if grid is None or min(grid) < 1 or not tokens / 2 < grid[0] * grid[1] <= tokens:
        raise ValueError(
            f"grid must be the rows and columns (H, W) of the token grid of {name!r}, "
            f"of S={tokens} tokens, or of all but those of the prefix, got {grid}; on "
            "the command line --grid HxW"
        )
    return grid
