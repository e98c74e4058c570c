"""The invariance ladder: the share that each invariance reaches, section 4.4."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from semrsm_jax._ladder import Ladder
from semrsm_jax.plotting.style import COLORS, SMALL, axes_or_new, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_ladder(
    ladder: Ladder,
    ax: "Axes | None" = None,
    *,
    names: Sequence[str] | None = None,
    diagonal: bool = False,
    title: str | None = None,
    label: str = "share of the attainable similarity [%]",
) -> "Axes":
    """Draws how much of the attainable similarity each invariance reaches.

    A box a rung, over the pairs: the line is the median, which is written above it, the
    box holds the middle half of the pairs and the whiskers 90 % of them. A single pair
    is a point a rung.

    Args:
      ladder: of `invariance_ladder`.
      ax: where to draw; None makes a new figure.
      names: of the R rungs; None: the names of the matchers.
      diagonal: whether pairs (i, i) count where x is compared with itself. They are
        trivial, so the default is False; between two sets they always count.
      title: above the axes.
      label: of the share.

    Returns:
      The axes.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: other than one name a rung, or no pair with a share: pairs without an
        attainable similarity above zero have none.
    """
    if names is None:
        names = [type(matcher).__name__ for matcher in ladder.matchers]
    if len(names) != len(ladder.matchers):
        raise ValueError(
            f"names must be one for each of {len(ladder.matchers)} rungs, got "
            f"{len(names)}"
        )
    shares = _percent(ladder, diagonal)
    rungs = np.arange(len(names))
    ax = axes_or_new(ax)
    ax.axhline(100, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    middle = np.median(shares, axis=1)
    if shares.shape[1] == 1:
        ax.plot(rungs, middle, "o", color=COLORS[0], markersize=5)
        tops = middle
    else:
        ax.boxplot(
            list(shares),
            positions=rungs,
            widths=0.5,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": COLORS[0] + "40", "edgecolor": COLORS[0]},
            medianprops={"color": COLORS[1], "linewidth": 1.5},
            whiskerprops={"color": COLORS[0]},
            capprops={"color": COLORS[0]},
        )
        tops = np.percentile(shares, 95, axis=1)
    for rung, top, value in zip(rungs, tops, middle, strict=True):
        ax.annotate(
            f"{value:.1f}",
            (rung, top),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=SMALL,
            color=COLORS[1],
        )
    ax.set_xticks(rungs, names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.margins(y=0.12)
    return finish(ax, title=title, ylabel=label)


def _percent(ladder: Ladder, diagonal: bool) -> np.ndarray:
    """The finite shares (R, pairs), in percent."""
    shares = 100 * np.asarray(ladder.share)
    square = shares.ndim == 3 and shares.shape[1] == shares.shape[2]
    if square and not (diagonal or ladder.two_sets):
        shares = shares[:, ~np.eye(shares.shape[1], dtype=bool)]
    shares = shares.reshape(len(shares), -1)
    shares = shares[:, np.isfinite(shares).all(0)]
    if shares.shape[1] == 0:
        raise ValueError(
            "ladder must hold at least one pair with an attainable similarity above "
            f"zero, got shares of shape {ladder.share.shape}"
        )
    return shares
