"""Heatmaps and distributions of representational similarity."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting._style import COLORMAP, COLORS, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_rsm(
    K: Float[np.ndarray, "N M"],
    ax: "Axes | None" = None,
    *,
    vmin: float | None = None,
    vmax: float | None = None,
    title: str | None = None,
    label: str = "similarity",
    colorbar: bool = True,
) -> "Axes":
    """Draws an RSM as a heatmap.

    Args:
      K: (N, M), finite.
      ax: where to draw; None makes a new figure.
      vmin: similarity of the darkest colour; None: the smallest. Give both limits to
        compare several RSMs.
      vmax: of the brightest colour; None: the largest.
      title: above the heatmap.
      label: of the colour bar, with the unit where there is one.
      colorbar: whether to draw one.

    Returns:
      The axes; the heatmap is the last of its `images`.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: `K` is not of rank 2.
    """
    K = np.asarray(K)
    if K.ndim != 2:
        raise ValueError(f"K must have 2 axes (N, M), got shape {K.shape}")
    ax = axes_or_new(ax)
    image = ax.imshow(K, cmap=COLORMAP, vmin=vmin, vmax=vmax, interpolation="nearest")
    ax.set(xlabel="sample", ylabel="sample", title=title)
    ax.locator_params(integer=True)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def plot_distributions(
    groups: Mapping[str, Float[np.ndarray, " n"]],
    ax: "Axes | None" = None,
    *,
    bins: int = 30,
    limits: tuple[float, float] | None = None,
    title: str | None = None,
    label: str = "similarity",
    legend: bool = True,
) -> "Axes":
    """Draws the distributions of several groups of values over each other.

    Args:
      groups: name of each group -> its values, (n,), finite; at most six.
      ax: where to draw; None makes a new figure.
      bins: bins between the limits, the same for all groups.
      limits: the range of the values shown; None: that of all values.
      title: above the axes.
      label: of the values, with the unit where there is one.
      legend: whether to name the groups.

    Returns:
      The axes. Each group has area 1, however many values it holds.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no group or more than six, or a group without values.
    """
    if not 1 <= len(groups) <= len(COLORS):
        raise ValueError(f"groups must be 1 to {len(COLORS)}, got {len(groups)}")
    for name, values in groups.items():
        if np.size(values) == 0:
            raise ValueError(f"groups: {name!r} holds no values")
    ax = axes_or_new(ax)
    edges = np.histogram_bin_edges(np.concatenate([*groups.values()]), bins, limits)
    for (name, values), color in zip(groups.items(), COLORS, strict=False):
        shared = {"bins": edges, "density": True, "color": color}
        ax.hist(values, histtype="stepfilled", alpha=0.3, **shared)
        ax.hist(values, histtype="step", linewidth=1.2, label=name, **shared)
    ax.set(xlabel=label, ylabel="density", title=title, xlim=(edges[0], edges[-1]))
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        ax.legend(frameon=False)
    return ax
