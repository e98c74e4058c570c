"""Heatmaps of many RSMs compared with each other, and of two such comparisons."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax.plotting.style import (
    COLORMAP,
    DIVERGING,
    SMALL,
    add_colorbar,
    finish,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# With more rows or columns, numbers in the cells would not be legible.
_MOST_NUMBERS = 12
_CHARACTER = 0.6  # width of a digit, as a share of the font's size
# Inches: a cell, and the margin for labels and color bar.
_CELL, _MARGIN = 0.42, 1.7


def plot_comparison(
    matrix: Float[np.ndarray, "R Q"],
    names: Sequence[str],
    ax: "Axes | None" = None,
    *,
    other_names: Sequence[str] | None = None,
    vmin: float | None = 0.0,
    vmax: float | None = 1.0,
    title: str | None = None,
    label: str = "CKA",
    numbers: bool | None = None,
    colorbar: bool = True,
) -> "Axes":
    """Draws the similarity of RSMs, as returned by `cka_matrix`, as a heatmap.

    Args:
      matrix: (R, Q); cells that are NaN stay empty.
      names: of the R rows, from the top.
      ax: where to draw; None makes a new figure that fits the matrix.
      other_names: of the Q columns; None: as the rows.
      vmin: value of the darkest color; None: the smallest.
      vmax: of the brightest; None: the largest.
      title: above the heatmap.
      label: of the color bar: the measure, with the unit where there is one.
      numbers: write each value into its cell; None: where there are at most 12 rows
        and columns, and room.
      colorbar: whether to draw one.

    Returns:
      The axes; the heatmap is the last of its `images`.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: `matrix` is not of rank 2, or names do not fit.
    """
    matrix, columns = _checked(matrix, names, other_names)
    ax = _fitting(matrix.shape) if ax is None else ax
    image = ax.imshow(matrix, cmap=COLORMAP, vmin=vmin, vmax=vmax)
    _write(ax, image, (names, columns), "{:.2f}", numbers)
    if colorbar:
        add_colorbar(ax, image, label)
    return finish(ax, title=title, sides=())


def plot_comparison_difference(
    matrix: Float[np.ndarray, "R Q"],
    baseline: Float[np.ndarray, "R Q"],
    names: Sequence[str],
    ax: "Axes | None" = None,
    *,
    other_names: Sequence[str] | None = None,
    limit: float | None = None,
    title: str | None = None,
    label: str = "difference in CKA",
    numbers: bool | None = None,
    colorbar: bool = True,
) -> "Axes":
    """Draws the difference of two comparisons, for example of two RSM definitions.

    Args:
      matrix: (R, Q).
      baseline: (R, Q), subtracted from it.
      names: of the R rows, from the top.
      ax: where to draw; None makes a new figure that fits the matrix.
      other_names: of the Q columns; None: as the rows.
      limit: absolute difference of the strongest colors, above 0; None: the largest.
      title: above the heatmap.
      label: of the color bar.
      numbers: as `plot_comparison`.
      colorbar: whether to draw one.

    Returns:
      The axes; the heatmap is the last of its `images`. A difference of zero is white.

    Raises:
      ImportError: matplotlib is not installed.
      TypeError: `limit` is not a number.
      ValueError: as `plot_comparison`, the matrices differ in shape, or `limit` is not
        finite and above 0.
    """
    matrix, columns = _checked(matrix, names, other_names)
    if matrix.shape != np.shape(baseline):
        raise ValueError(
            f"matrix and baseline must have one shape, got {matrix.shape} and "
            f"{np.shape(baseline)}"
        )
    difference = matrix - np.asarray(baseline)
    if limit is None:
        known = np.abs(difference[np.isfinite(difference)])
        limit = float(known.max(initial=0)) or 1.0
    limit = _checks.finite_number("limit", limit, above=True)
    ax = _fitting(matrix.shape) if ax is None else ax
    image = ax.imshow(difference, cmap=DIVERGING, vmin=-limit, vmax=limit)
    # Two digits of the largest.
    decimals = max(2, 1 - math.floor(math.log10(limit)))
    _write(ax, image, (names, columns), f"{{:+.{decimals}f}}", numbers)
    if colorbar:
        add_colorbar(ax, image, label)
    return finish(ax, title=title, sides=())


def _checked(
    matrix: np.ndarray, names: Sequence[str], other_names: Sequence[str] | None
) -> tuple[np.ndarray, Sequence[str]]:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2:
        raise ValueError(f"matrix must have 2 axes (R, Q), got shape {matrix.shape}")
    columns = names if other_names is None else other_names
    if matrix.shape != (len(names), len(columns)):
        raise ValueError(
            f"names must fit a matrix of shape {matrix.shape}, got {len(names)} for "
            f"the rows and {len(columns)} for the columns"
        )
    return matrix, columns


def _fitting(shape: tuple[int, ...]) -> "Axes":
    """Axes of a new figure, large enough that the cells are legible."""
    height, width = (min(12.0, _MARGIN + _CELL * cells) for cells in shape)
    return new_figure((max(3.0, width + 0.6), max(2.4, height))).add_subplot()


def _fit(ax: "Axes", texts: Sequence[str], columns: int) -> bool:
    """Whether the texts fit into their cells."""
    cell = 72 * ax.bbox.width / ax.figure.dpi / max(columns, 1)  # points
    longest = max(map(len, texts), default=0)
    return cell >= _CHARACTER * (SMALL - 1) * longest


def _write(
    ax: "Axes",
    image: "AxesImage",
    sides: tuple[Sequence[str], Sequence[str]],
    form: str,
    numbers: bool | None,
) -> None:
    """Labels rows and columns, and writes the values where they are legible."""
    names, columns = sides
    ax.set_yticks(range(len(names)), names)
    slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(columns)), columns, **slant)
    ax.tick_params(length=0)
    values = np.ma.filled(np.ma.asarray(image.get_array()), np.nan)
    # No sign before a value that rounds to zero.
    texts = [
        (form.format(v) if float(form.format(v)) else "0") if np.isfinite(v) else "n/a"
        for v in values.flat
    ]
    if numbers is None:
        numbers = max(values.shape) <= _MOST_NUMBERS and _fit(ax, texts, len(columns))
    if not numbers:
        return
    # Perceived brightness of each cell, Rec. 601.
    bright = image.to_rgba(values)[..., :3] @ (0.299, 0.587, 0.114) > 0.5
    style = {"ha": "center", "va": "center", "fontsize": SMALL - 1}
    for (row, column), text in zip(np.ndindex(values.shape), texts, strict=True):
        color = "black" if bright[row, column] else "white"
        known = np.isfinite(values[row, column])
        ax.text(column, row, text, color=color if known else None, **style)
