"""The plots of the page, in Bokeh; the page's own scripts fill and link them."""

from typing import TYPE_CHECKING

import numpy as np

from semrsm_jax.plotting._style import COLORS

if TYPE_CHECKING:
    from bokeh.model import Model

SIDES = ("left", "right")
_SELECTED = COLORS[1]


def require_bokeh() -> None:
    """Says what to install where Bokeh is missing.

    Raises:
      ImportError: it is.
    """
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'reports need Bokeh: pip install "semrsm_jax[report]"'
        ) from error


def figures(samples: int) -> "dict[str, Model]":
    """Two linked heatmaps, distributions, and a comparison of layers, all empty yet.

    Heatmaps share their ranges, so that zooming one zooms both, and the lines of the
    cursor and of the chosen cell.

    Args:
      samples: n.

    Returns:
      The plots by name: left, right, distribution, cka. What the scripts change is
      named too.
    """
    from bokeh.models import Range1d, Span

    ranges = [
        Range1d(*ends, bounds=(0, samples), min_interval=min(samples, 4))
        for ends in ((0, samples), (samples, 0))
    ]
    lines = [
        Span(
            name=f"{what}-{axis}",
            dimension=dimension,
            location=np.nan,
            line_color=color,
            line_width=1.5,
            line_dash=dash,
            level="overlay",
        )
        for what, color, dash in (
            ("hovered", "#ffffff", "dotted"),
            ("chosen", _SELECTED, "solid"),
        )
        for axis, dimension in (("row", "width"), ("column", "height"))
    ]
    found: dict[str, Model] = {
        side: _heatmap(side, ranges, lines, samples) for side in SIDES
    }
    return found | {"distribution": _distribution(), "cka": _comparison()}


def _heatmap(side: str, ranges: list, lines: list, samples: int) -> "Model":
    from bokeh.models import (
        ColorBar,
        ColumnDataSource,
        LinearColorMapper,
        TapTool,
    )
    from bokeh.palettes import Cividis256
    from bokeh.plotting import figure

    plot = figure(
        name=side,
        x_range=ranges[0],
        y_range=ranges[1],
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
        sizing_mode="stretch_both",
        match_aspect=False,
        min_border_right=8,
    )
    plot.add_tools(TapTool())
    plot.toolbar.logo = None
    mapper = LinearColorMapper(Cividis256, low=0, high=1, nan_color="#808080")
    mapper.name = f"{side}-colors"
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.float32)]})
    source.name = f"{side}-image"
    plot.image(
        "image", 0, 0, samples, samples, source=source, color_mapper=mapper, level="image"
    )
    bar = ColorBar(color_mapper=mapper, height=8, padding=4, title_standoff=2)
    plot.add_layout(bar, "below")
    for line in lines:
        plot.add_layout(line)
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker.desired_num_ticks = 5
        axis.ticker.min_interval = 1
        axis.minor_tick_line_color = None
    return plot


def _distribution() -> "Model":
    from bokeh.models import ColumnDataSource, HoverTool, Legend, Span
    from bokeh.plotting import figure

    plot = figure(
        name="distribution",
        tools="save",
        toolbar_location=None,
        sizing_mode="stretch_both",
        x_axis_label="similarity",
        y_axis_label="density",
    )
    plot.add_layout(Legend(), "above")
    plot.legend.orientation = "horizontal"
    for number, color in enumerate((COLORS[0], COLORS[1], COLORS[5], COLORS[4])):
        source = ColumnDataSource(
            {"left": [], "right": [], "top": []}, name=f"bars-{number}"
        )
        drawn = plot.quad(
            left="left",
            right="right",
            top="top",
            bottom=0,
            source=source,
            color=color,
            fill_alpha=0.25,
            line_alpha=0.9,
            # A pattern too, for those who see no colour.
            hatch_pattern=(None, "right_diagonal_line", "dot", "cross")[number],
            hatch_alpha=0.35,
            hatch_color=color,
            legend_label=f"group {number}",
            name=f"group-{number}",
        )
        plot.add_tools(
            HoverTool(
                renderers=[drawn],
                tooltips=[("similarity", "@left to @right"), ("density", "@top")],
            )
        )
    for number in range(2):
        line = Span(dimension="height", location=np.nan, line_width=2)
        line.name, line.line_color = f"mark-{number}", COLORS[number]
        plot.add_layout(line)
    plot.y_range.start = 0
    plot.ygrid.visible = plot.xgrid.visible = False
    return plot


def _comparison() -> "Model":
    from bokeh.models import (
        ColumnDataSource,
        FactorRange,
        HoverTool,
        LinearColorMapper,
        TapTool,
    )
    from bokeh.palettes import Cividis256
    from bokeh.plotting import figure
    from bokeh.transform import transform

    plot = figure(
        name="cka",
        x_range=FactorRange(name="cka-columns"),
        y_range=FactorRange(name="cka-rows"),
        tools="save",
        toolbar_location=None,
        sizing_mode="stretch_both",
    )
    columns = ("row", "column", "value", "text", "ink")
    source = ColumnDataSource({name: [] for name in columns}, name="cka-cells")
    mapper = LinearColorMapper(Cividis256, low=0, high=1, nan_color="#808080")
    cells = plot.rect(
        "column",
        "row",
        1,
        1,
        source=source,
        fill_color=transform("value", mapper),
        line_color=None,
    )
    plot.text(
        "column",
        "row",
        text="text",
        text_color="ink",
        source=source,
        text_align="center",
        text_baseline="middle",
        text_font_size="11px",
    )
    tooltips = [("row", "@row"), ("column", "@column"), ("CKA", "@value{0.0000}")]
    plot.add_tools(HoverTool(renderers=[cells], tooltips=tooltips), TapTool())
    plot.xaxis.major_label_orientation = 0.6
    plot.grid.visible = False
    plot.axis.major_tick_line_color = None
    return plot
