"""Time against quality, in the manner of Fig. 5."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from semrsm_jax.plotting.style import (
    COLORS,
    FONT_SIZE,
    MARKERS,
    SMALL,
    add_legend,
    axes_or_new,
    finish,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Box = tuple[float, float, float, float]  # left, right, bottom, top, in points
# Percent missing to the optimum: the axis is linear below the first, and its ticks.
_RESOLVED = 0.1
_MISSING = (0, 0.1, 0.3, 1, 3, 10, 30, 60)


def plot_pareto(
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    ax: "Axes | None" = None,
    *,
    lowest: float | None = None,
    title: str | None = None,
    label: str = "ms a pair",
    unit: float = 1e-3,
    legend: bool = True,
) -> "Axes":
    """Draws the quality of methods against their time, as in Fig. 5 and Table 5.

    The vertical axis is logarithmic in what is missing to the optimum, so that 99 % and
    99.9 % are as far apart as 90 % and 99 %. A gray line joins the methods that no
    other method beats in both time and quality.

    Args:
      groups: name of each group -> label of each of its methods -> its time in seconds,
        above 0, and its quality k / k_opt, 0 to 1; at most six groups. A group without
        methods is not shown, but keeps the colors of the others in their order.
      ax: where to draw; None makes a new figure.
      lowest: quality at the bottom; None: somewhat below the least. Pass it to compare
        several axes.
      title: above the axes.
      label: of the time, which is shown in units of `unit`.
      unit: in seconds; 1 for ratios.
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
    ax = axes_or_new(ax)
    if lowest is None:
        lowest = 1 - 1.3 * max(1 - quality for _, quality in points)
    _pareto_axes(ax, [seconds / unit for seconds, _ in points], 100 * (1 - lowest))
    front = [_time_and_missing(*point, unit) for point in _pareto_front(points)]
    ax.step(*zip(*front, strict=True), where="post", color="0.8", linewidth=1, zorder=1)
    labels = []
    for (name, methods), color, marker in zip(
        groups.items(), COLORS, MARKERS, strict=False
    ):
        at = [_time_and_missing(*point, unit) for point in methods.values()]
        x, y = zip(*at, strict=True) if at else ((), ())
        ax.plot(x, y, marker, color=color, markersize=5, label=name)
        labels += zip(at, methods, [color] * len(at), strict=True)
    _label_points(ax, labels, front)
    if legend:
        add_legend(ax)
    return finish(ax, title=title, xlabel=label, ylabel="k / k_opt [%]")


def _pareto_axes(ax: "Axes", times: list[float], most_missing: float) -> None:
    """Lays out time against what is missing to the optimum, in percent."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    most_missing = max(most_missing, _MISSING[2])
    wide = max(times) > 1e3 * min(times)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 3.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yscale("symlog", linthresh=_RESOLVED, linscale=0.5)
    # Inverted: the optimum is near the top, below its label.
    ax.set_ylim(most_missing, -_RESOLVED)
    ticks = [tick for tick in _MISSING if tick <= most_missing]
    ax.set_yticks(ticks, [f"{100 - tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    # Room for labels on both sides.
    room = max(4, (max(times) / min(times)) ** 0.25)
    ax.set_xlim(min(times) / room, max(times) * room)


def _label_points(
    ax: "Axes",
    labels: list[tuple[tuple[float, float], str, str]],
    front: list[tuple[float, float]],
) -> None:
    """Writes (point, text, color) beside points, without overlaps.

    Nothing lies above and left of the front, so its labels go there.
    """
    size = SMALL - 1
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
    """Boxes at increasing distance above and below a height."""
    shifts = sorted(range(-4 * FONT_SIZE, 4 * FONT_SIZE), key=abs)
    bottoms = [y - height / 2 + shift for shift in shifts]
    return [(left, left + width, bottom, bottom + height) for bottom in bottoms]


def _overlap(box: _Box, taken: list[_Box]) -> bool:
    return any(
        box[0] < b[1] and b[0] < box[1] and box[2] < b[3] and b[2] < box[3]
        for b in taken
    )


def _pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no faster point exceeds in quality, fastest first."""
    front: list[tuple[float, float]] = []
    for seconds, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((seconds, quality))
    return front


def _time_and_missing(
    seconds: float, quality: float, unit: float
) -> tuple[float, float]:
    """Time in units, and what is missing to the optimum in percent, at least 0."""
    return seconds / unit, max(0.0, 100 * (1 - quality))
