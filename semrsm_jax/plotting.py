"""Figures for papers, drawn with matplotlib's objects: no window, no global state.

Colours are told apart by colour-blind readers and in grey print: cividis for heatmaps,
two of Okabe and Ito's colours for the distributions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.demo.translation import TranslationResult, windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_COLORMAP = "cividis"
# Okabe and Ito, "Color universal design", 2008: blue, vermilion, and on.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "D", "^", "v", "P")
_FONT_SIZE = 8
_Box = tuple[float, float, float, float]  # left, right, bottom, top, in points
# Percent missing to the optimum: the axis is linear below the first, and its ticks.
_RESOLVED = 0.1
_MISSING = (0, 0.1, 0.3, 1, 3, 10, 30, 60)
_EXAMPLES = 6


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
    ax = _axes(ax)
    image = ax.imshow(K, cmap=_COLORMAP, vmin=vmin, vmax=vmax, interpolation="nearest")
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
    ax = _axes(ax)
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


def plot_pareto(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    ax: "Axes | None" = None,
    *,
    lowest: float | None = None,
    title: str | None = None,
    label: str = "ms a pair",
    legend: bool = True,
) -> "Axes":
    """Draws the quality of methods against their time, as Fig. 5 and Table 5 tell it.

    The vertical axis is logarithmic in what is missing to the optimum, so that 99 % and
    99.9 % stand as far apart as 90 % and 99 %. A grey line joins the methods that no
    other one beats in both.

    Args:
      groups: name of each group -> label of each of its methods -> its time in seconds,
        above 0, and its quality k / k_opt, 0 to 1; at most six groups. A group without
        methods is not shown, but keeps the colours of the others in their order.
      ax: where to draw; None makes a new figure.
      lowest: quality at the bottom; None: somewhat below the least. Give it to compare
        several axes.
      title: above the axes.
      label: of the time, which is shown in milliseconds.
      legend: whether to name the groups.

    Returns:
      The axes.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: no method, more than six groups, a time that is not above 0, or a
        quality that is not finite.
    """
    if len(groups) > len(COLORS):
        raise ValueError(f"groups must be at most {len(COLORS)}, got {len(groups)}")
    for name, methods in groups.items():
        for method, (seconds, quality) in methods.items():
            if not (0 < seconds < np.inf and np.isfinite(quality)):
                raise ValueError(
                    f"groups: {method!r} of {name!r} must have a time above 0 and a "
                    f"finite quality, got {(seconds, quality)}"
                )
    points = [point for methods in groups.values() for point in methods.values()]
    if not points:
        raise ValueError("groups must hold at least one method, got none")
    ax = _axes(ax)
    if lowest is None:
        lowest = 1 - 1.3 * max(1 - quality for _, quality in points)
    _pareto_axes(ax, [1e3 * seconds for seconds, _ in points], 100 * (1 - lowest))
    front = [_ms_and_missing(*point) for point in _pareto_front(points)]
    ax.step(*zip(*front, strict=True), where="post", color="0.8", linewidth=1, zorder=1)
    labels = []
    for (name, methods), color, marker in zip(
        groups.items(), COLORS, _MARKERS, strict=False
    ):
        at = [_ms_and_missing(*point) for point in methods.values()]
        x, y = zip(*at, strict=True) if at else ((), ())
        ax.plot(x, y, marker, color=color, markersize=5, label=name)
        labels += zip(at, methods, [color] * len(at), strict=True)
    _label_points(ax, labels, front)
    ax.set(xlabel=label, ylabel="k / k_opt [%]", title=title)
    if legend:
        ax.legend(frameon=False, fontsize=_FONT_SIZE - 1)
    return ax


def _pareto_axes(ax: "Axes", times: list[float], most_missing: float) -> None:
    """Lays out time in ms against what is missing to the optimum, in percent."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    most_missing = max(most_missing, _MISSING[2])
    wide = max(times) > 1e3 * min(times)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 3.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yscale("symlog", linthresh=_RESOLVED, linscale=0.5)
    # Upside down: what misses nothing stands near the top, below its label.
    ax.set_ylim(most_missing, -_RESOLVED)
    ticks = [tick for tick in _MISSING if tick <= most_missing]
    ax.set_yticks(ticks, [f"{100 - tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    # Room for labels on both sides.
    room = max(4, (max(times) / min(times)) ** 0.25)
    ax.set_xlim(min(times) / room, max(times) * room)
    ax.spines[["top", "right"]].set_visible(False)


def _label_points(
    ax: "Axes",
    labels: list[tuple[tuple[float, float], str, str]],
    front: list[tuple[float, float]],
) -> None:
    """Writes (point, text, colour) beside points, each where nothing else stands.

    Above and left of the front there is nothing, so there its labels go.
    """
    size = _FONT_SIZE - 2
    scale = 72 / ax.figure.get_dpi()
    places = [scale * ax.transData.transform(point) for point, _, _ in labels]
    # Markers first.
    taken: list[_Box] = [(x - 3, x + 3, y - 3, y + 3) for x, y in places]
    for (x, y), (point, text, color) in sorted(
        zip(places, labels, strict=True), key=lambda label: label[0][1]
    ):
        leftward, width = point in front, 0.6 * size * len(text)
        left = x - 6 - width if leftward else x + 6
        box = next(
            (box for box in _stack(left, y, width, size) if not _overlap(box, taken)),
            (left, left + width, y - size / 2, y + size / 2),
        )
        taken.append(box)
        note = ax.annotate(
            text,
            point,
            xytext=(-6 if leftward else 6, box[2] - y + size / 2),
            textcoords="offset points",
            color=color,
            fontsize=size,
            ha="right" if leftward else "left",
            va="center",
        )
        note.set_in_layout(False)  # or its size would move the axes


def _stack(left: float, y: float, width: float, height: float) -> list[_Box]:
    """Boxes around a height and ever further above and below it."""
    shifts = sorted(range(-4 * _FONT_SIZE, 4 * _FONT_SIZE), key=abs)
    bottoms = [y - height / 2 + shift for shift in shifts]
    return [(left, left + width, bottom, bottom + height) for bottom in bottoms]


def _overlap(box: _Box, taken: list[_Box]) -> bool:
    return any(
        box[0] < b[1] and b[0] < box[1] and box[2] < b[3] and b[2] < box[3]
        for b in taken
    )


def _pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of which each slower one has a higher quality, fastest first."""
    front: list[tuple[float, float]] = []
    for seconds, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((seconds, quality))
    return front


def _ms_and_missing(seconds: float, quality: float) -> tuple[float, float]:
    """Time in ms, and what is missing to the optimum in percent, at least 0."""
    return 1e3 * seconds, max(0.0, 100 * (1 - quality))


def translation_figure(result: TranslationResult) -> "Figure":
    """Draws the demo in the manner of Fig. 2: windows, RSMs and distributions.

    Left stand windows of the first batch, with the pixels outlined that they share;
    then, a column a stage, the RSMs of that batch and the distributions over all
    batches. All heatmaps have one colour scale, and the distributions of a stage one
    axis.

    Args:
      result: of `semrsm_jax.demo.run`.

    Returns:
      The figure, to be saved with its ``savefig``.

    Raises:
      ImportError: matplotlib is not installed.
    """
    figure = _figure((2.5 + 1.9 * len(result.stages), 6.6))
    from matplotlib import rc_context

    with rc_context({"font.size": _FONT_SIZE, "axes.titlesize": _FONT_SIZE}):
        widths = (1.9, 0.6 + 1.9 * len(result.stages))
        left, right = figure.add_gridspec(1, 2, width_ratios=widths)
        _draw_windows(figure.add_subfigure(left), result)
        _draw_stages(figure.add_subfigure(right), result)
    return figure


def _draw_windows(panel: "SubFigure", result: TranslationResult) -> None:
    from matplotlib.patches import Rectangle

    config = result.config
    count = min(_EXAMPLES, config.crops_per_batch)
    images = windows(result.crops.images[:count], config.window_size)
    grid = panel.subplots(count, 2, squeeze=False)
    size, shift = config.window_size, config.shift
    for row in range(count):
        # What they share stands below in the upper window, above in the lower one.
        for column, top in ((0, shift), (1, 0)):
            ax = grid[row, column]
            ax.imshow(images[row + column * count])
            # Half a line inside, or the edge of the axes would cut it.
            corner, extent = (0.5, top + 0.5), (size - 2, size - shift - 2)
            box = Rectangle(corner, *extent, fill=False, ec=COLORS[1], lw=1.8)
            ax.add_patch(box)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
    grid[0, 0].set_title("upper window")
    grid[0, 1].set_title("lower window")
    panel.supxlabel("outlined: pixels shared", color=COLORS[1], fontsize=_FONT_SIZE)


def _draw_stages(panel: "SubFigure", result: TranslationResult) -> None:
    count = len(result.stages)
    grid = panel.subplots(4, count, squeeze=False, height_ratios=(2.1, 2.1, 1, 1))
    pairs = [(stage.spatio_semantic, stage.semantic) for stage in result.stages]
    rsms = np.stack([scores.rsms for pair in pairs for scores in pair])
    lowest, highest = float(rsms.min()), float(rsms.max())
    darkest = float(rsms[:, 0].min())  # of the batch that is shown
    label = f"{type(result.config.kernel).__name__} similarity"
    for column, (stage, pair) in enumerate(zip(result.stages, pairs, strict=True)):
        for row, scores in enumerate(pair):
            heatmap, distribution = grid[row, column], grid[row + 2, column]
            plot_rsm(
                scores.rsms[0], heatmap, vmin=darkest, vmax=highest, colorbar=False
            )
            groups = {"unrelated": scores.unrelated, "overlapping": scores.overlapping}
            title = f"AUROC {scores.auroc.value:.3f}"
            plot_distributions(
                groups,
                distribution,
                limits=(lowest, highest),
                title=title,
                legend=False,
            )
            distribution.set(yticks=[], xlabel="", ylabel="")
            _name_blocks(heatmap, len(scores.rsms[0]), row == 1, column == 0)
        grid[0, column].set_title(f"{stage.layer}\nS = {stage.tokens}")
        grid[2, column].set_xticklabels([])
        grid[3, column].set_xlabel(label)
    for row, kind in enumerate(("spatio-semantic", "semantic") * 2):
        grid[row, 0].set_ylabel(kind)
    panel.colorbar(grid[0, 0].images[0], ax=list(grid[:2].flat), label=label, aspect=30)
    handles, names = grid[2, 0].get_legend_handles_labels()
    panel.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)


def _name_blocks(ax: "Axes", samples: int, below: bool, beside: bool) -> None:
    """Says where the upper and where the lower windows stand in an RSM."""
    centres, names = [samples / 4 - 0.5, samples * 3 / 4 - 0.5], ["upper", "lower"]
    ax.set(xticks=centres, yticks=centres, xlabel="", ylabel="")
    ax.set_xticklabels(names if below else [])
    ax.set_yticklabels(names if beside else [], rotation=90, va="center")
    ax.tick_params(length=0)


def _axes(ax: "Axes | None") -> "Axes":
    return _figure((4.0, 3.2)).add_subplot() if ax is None else ax


def _figure(size: tuple[float, float]) -> "Figure":
    """A figure of that size in inches, which belongs to no window."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'figures need matplotlib: pip install "semrsm_jax[demo]"'
        ) from error
    return Figure(figsize=size, layout="constrained", dpi=150)
