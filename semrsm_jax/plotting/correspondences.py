"""Which part of one image matches which part of another."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from semrsm_jax.plotting.style import (
    COLORMAP,
    COLORS,
    add_colorbar,
    axes_or_new,
    finish,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.03  # between the two images, as a share of the width of the first


def token_centers(
    grid: tuple[int, int], image_size: tuple[int, int]
) -> Float[np.ndarray, "S 2"]:
    """The positions of an image's tokens in pixels, for the functions below.

    Args:
      grid: (H, W), rows and columns of tokens; S = H * W, row by row, as `to_tokens`
        and `extract` order them.
      image_size: (height, width) of the image in pixels.

    Returns:
      (S, 2), row and column of each token's center in pixels. Indexed with the
      permutation of `match`, it holds the partners' centers.

    Raises:
      ValueError: a number that is below 1.
    """
    for name, value in (("grid", grid), ("image_size", image_size)):
        if len(value) != 2 or min(value) < 1:
            raise ValueError(
                f"{name} must be two numbers of at least 1, got {tuple(value)}"
            )
    cell = np.divide(image_size, grid)
    return (np.indices(grid).reshape(2, -1).T + 0.5) * cell - 0.5


def plot_correspondences(
    first: Float[np.ndarray, "H W 3"],
    second: Float[np.ndarray, "h w 3"],
    points: Float[np.ndarray, "n 2"],
    partners: Float[np.ndarray, "n 2"],
    ax: "Axes | None" = None,
    *,
    good: np.ndarray | None = None,
    title: str | None = None,
) -> "Axes":
    """Draws two images side by side and a line from each point to its partner.

    Args:
      first: image (H, W, 3) in [0, 1], or gray (H, W); drawn on the left.
      second: image (h, w, 3) in [0, 1], or gray (h, w); drawn on the right.
      points: (n, 2), row and column in pixels of the first image.
      partners: (n, 2), row and column in pixels of the second.
      ax: where to draw; None makes a new figure.
      good: (n,) boolean; matches that are True are drawn solid in blue, the others
        dashed in vermilion. None: all in blue.
      title: above the images.

    Returns:
      The axes, in pixels of the first image; the second is to its
      right.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: points and partners that are not both (n, 2), or `good` that is not
        (n,).
    """
    points, partners = _pairs(points, partners)
    good = np.ones(len(points), bool) if good is None else np.asarray(good)
    if good.shape != points.shape[:1]:
        raise ValueError(f"good must have shape {points.shape[:1]}, got {good.shape}")
    ax = axes_or_new(ax)
    start = first.shape[1] * (1 + _GAP)
    for image, left in ((first, 0.0), (second, start)):
        height, width = image.shape[:2]
        extent = (left - 0.5, left + width - 0.5, height - 0.5, -0.5)
        ax.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=1)
    for fine, color, style in ((False, COLORS[1], "--"), (True, COLORS[0], "-")):
        (chosen,) = np.nonzero(good == fine)
        ends = np.stack([points[chosen], partners[chosen] + (0, start)])
        rows, columns = ends[..., 0], ends[..., 1]
        ax.plot(columns, rows, style, color="white", linewidth=1.8, alpha=0.6)
        ax.plot(columns, rows, style, color=color, linewidth=0.9)
        ax.plot(columns.ravel(), rows.ravel(), "o", color=color, markersize=2)
    ax.set(
        xlim=(-0.5, start + second.shape[1] - 0.5),
        ylim=(max(first.shape[0], second.shape[0]) - 0.5, -0.5),
        xticks=[],
        yticks=[],
    )
    return finish(ax, title=title, sides=())


def plot_displacement(
    image: Float[np.ndarray, "H W 3"],
    points: Float[np.ndarray, "n 2"],
    partners: Float[np.ndarray, "n 2"],
    ax: "Axes | None" = None,
    *,
    title: str | None = None,
    label: str = "displacement (pixels)",
    colorbar: bool = True,
) -> "Axes":
    """Draws an arrow from each point of an image to its partner.

    Args:
      image: (H, W, 3) in [0, 1], or gray (H, W).
      points: (n, 2), row and column in pixels.
      partners: (n, 2), row and column of the partner, in pixels of an image of the
        same size.
      ax: where to draw; None makes a new figure.
      title: above the image.
      label: of the color bar, which shows the arrows' lengths.
      colorbar: whether to draw one.

    Returns:
      The axes; its last collection holds the arrows.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: points and partners that are not both (n, 2).
    """
    points, partners = _pairs(points, partners)
    ax = axes_or_new(ax)
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, alpha=0.5)
    rows, columns = points.T
    down, right = (partners - points).T
    arrows = ax.quiver(
        columns,
        rows,
        right,
        down,
        np.hypot(down, right),
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.006,
        cmap=COLORMAP,
    )
    height, width = image.shape[:2]
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    if colorbar:
        add_colorbar(ax, arrows, label)
    return finish(ax, title=title, sides=())


def _pairs(points: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, partners = np.asarray(points, float), np.asarray(partners, float)
    if points.ndim != 2 or points.shape[1] != 2 or points.shape != partners.shape:
        raise ValueError(
            "points and partners must both have shape (n, 2), got "
            f"{points.shape} and {partners.shape}"
        )
    return points, partners
