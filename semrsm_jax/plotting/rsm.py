"""Heatmaps and distributions of representational similarity."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import (
    COLORMAP,
    COLORS,
    FRAME,
    add_colorbar,
    add_legend,
    axes_or_new,
    finish,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More names of groups would not be legible.
_MOST_NAMES = 24


def plot_rsm(
    K: Float[np.ndarray, "N M"],
    ax: "Axes | None" = None,
    *,
    labels: Sequence[Hashable] | None = None,
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
      labels: (N,), a group for each sample of a square RSM: the samples of a group are
        placed together, groups in the order of their first sample, with lines between
        them, and their names where there are at most 24. None: the samples in order.
      vmin: similarity of the darkest color; None: the smallest. Pass both limits to
        compare several RSMs, or use `plot_rsm_pair`.
      vmax: of the brightest color; None: the largest.
      title: above the heatmap.
      label: of the color bar, with the unit where there is one.
      colorbar: whether to draw one.

    Returns:
      The axes; the heatmap is the last of its `images`.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: `K` is not of rank 2, or `labels` are not one for each of its rows and
        columns.
    """
    K = np.asarray(K)
    if K.ndim != 2:
        raise ValueError(f"K must have 2 axes (N, M), got shape {K.shape}")
    if labels is not None and K.shape != (len(labels), len(labels)):
        raise ValueError(
            f"labels must be one for each row and column of K of shape {K.shape}, got "
            f"{len(labels)}"
        )
    ax = axes_or_new(ax)
    groups = {} if labels is None else _groups(labels)
    order = np.concatenate([*groups.values()]) if groups else slice(None)
    image = ax.imshow(
        K[order][:, order], cmap=COLORMAP, vmin=vmin, vmax=vmax, interpolation="nearest"
    )
    if groups:
        _mark(ax, groups)
    else:
        ax.locator_params(integer=True)
    if colorbar:
        add_colorbar(ax, image, label)
    axis = "" if groups else "sample"
    return finish(ax, title=title, xlabel=axis, ylabel=axis, sides=FRAME)


def plot_rsm_pair(
    baseline: Float[np.ndarray, "N M"],
    K: Float[np.ndarray, "N M"],
    axes: "Sequence[Axes] | None" = None,
    *,
    names: tuple[str, str] = ("spatio-semantic", "semantic"),
    labels: Sequence[Hashable] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    label: str = "similarity",
    colorbar: bool = True,
) -> "tuple[Axes, Axes]":
    """Draws two RSMs of the same samples side by side, with one color scale.

    Args:
      baseline: (N, M), finite; drawn on the left, usually the RSM that compares
        position by position.
      K: (N, M), finite; drawn on the right, usually the semantic one.
      axes: the two axes to draw on; None makes a new figure.
      names: of the two RSMs, their titles.
      labels: as `plot_rsm`, for both.
      vmin: similarity of the darkest color; None: the smallest in either.
      vmax: of the brightest color; None: the largest in either.
      label: of the color bar, with the unit where there is one.
      colorbar: whether to draw one, which both share, right of the second.

    Returns:
      The two axes.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: RSMs of different shapes, other than two axes, or as `plot_rsm`.
    """
    baseline, K = np.asarray(baseline), np.asarray(K)
    if baseline.shape != K.shape:
        raise ValueError(
            f"baseline and K must have one shape, got {baseline.shape} and {K.shape}"
        )
    pair = new_figure((6.2, 3.0)).subplots(1, 2) if axes is None else axes
    if len(pair) != 2:
        raise ValueError(f"axes must be two, got {len(pair)}")
    left, right = pair
    scale = {
        "vmin": min(baseline.min(), K.min()) if vmin is None else vmin,
        "vmax": max(baseline.max(), K.max()) if vmax is None else vmax,
        "labels": labels,
        "label": label,
    }
    plot_rsm(baseline, left, title=names[0], colorbar=False, **scale)
    plot_rsm(K, right, title=names[1], colorbar=colorbar, **scale)
    right.set_ylabel("")  # the left axes have the same label and ticks
    right.set_yticklabels([])
    return left, right


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
    """Draws the distributions of several groups of values in one plot.

    Args:
      groups: name of each group -> its values, (n,), finite; at most six.
      ax: where to draw; None makes a new figure.
      bins: bins between the limits, the same for all groups.
      limits: the range of the values shown; None: the range of all values.
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
    ax.set_xlim(edges[0], edges[-1])
    if legend:
        add_legend(ax)
    return finish(ax, title=title, xlabel=label, ylabel="density")


def _groups(labels: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    """The samples of each label, in the order of their first sample."""
    groups: dict[Hashable, list[int]] = {}
    for sample, name in enumerate(labels):
        groups.setdefault(name, []).append(sample)
    return groups


def _mark(ax: "Axes", groups: Mapping[Hashable, list[int]]) -> None:
    """Lines between the groups of a heatmap, and their names beside and below."""
    sizes = np.array([len(samples) for samples in groups.values()])
    ends = np.cumsum(sizes) - 0.5
    for end in ends[:-1]:
        ax.axhline(end, color="white", linewidth=0.6)
        ax.axvline(end, color="white", linewidth=0.6)
    middles = ends - sizes / 2
    names = [str(name) for name in groups] if len(groups) <= _MOST_NAMES else []
    middles = middles[: len(names)]
    ax.set_yticks(middles, names)
    ax.set_xticks(middles, names, rotation=90)
    ax.tick_params(length=0)
