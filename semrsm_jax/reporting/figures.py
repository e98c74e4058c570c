"""The plots of the page, in Bokeh; the page's own scripts fill and link them."""

import numpy as np
from bokeh.model import Model
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    DataRange1d,
    FactorRange,
    HoverTool,
    Image,
    Legend,
    LinearColorMapper,
    Range1d,
    Span,
    TapTool,
)
from bokeh.palettes import Cividis256
from bokeh.plotting import figure
from bokeh.transform import transform

from semrsm_jax.plotting.style import COLORS

SIDES = ("left", "right")
_SELECTED = COLORS[1]


def figures(samples: int) -> dict[str, Model]:
    """Two linked heatmaps, distributions, and a comparison of layers, without data.

    Heatmaps share their ranges, so that zooming one zooms both, and the lines of the
    cursor and of the chosen cell. The parts that the scripts change have names too.
    """
    ranges = [
        Range1d(start=start, end=end, bounds=(0, samples), min_interval=min(samples, 4))
        for start, end in ((0, samples), (samples, 0))
    ]
    lines = [
        Span(
            name=f"{what}-{axis}",
            dimension="width" if axis == "row" else "height",
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
        for axis in ("row", "column")
    ]
    heatmaps: dict[str, Model] = {
        side: _heatmap(side, ranges, lines, samples) for side in SIDES
    }
    return heatmaps | {"distribution": _distribution(), "cka": _comparison()}


def _heatmap(side: str, ranges: list, lines: list, samples: int) -> Model:
    plot = figure(
        name=side,
        x_range=ranges[0],
        y_range=ranges[1],
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag="box_zoom",
        # Otherwise the wheel would not scroll the page.
        active_scroll=None,
        toolbar_location="above",
        sizing_mode="stretch_both",
        match_aspect=False,
        min_border_right=8,
    )
    plot.add_tools(TapTool())
    plot.toolbar.logo = None
    mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, nan_color="#808080")
    mapper.name = f"{side}-colors"
    source = ColumnDataSource({"image": [np.zeros((1, 1), np.float32)]})
    source.name = f"{side}-image"
    image = Image(x=0, y=0, dw=samples, dh=samples, color_mapper=mapper)
    plot.add_glyph(source, image, level="image")
    bar = ColorBar(color_mapper=mapper, height=8, padding=4, title_standoff=2)
    plot.add_layout(bar, "below")
    for line in lines:
        plot.add_layout(line)
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker = BasicTicker(desired_num_ticks=5, min_interval=1)
        axis.minor_tick_line_color = None
    return plot


def _distribution() -> Model:
    plot = figure(
        name="distribution",
        y_range=DataRange1d(start=0),
        tools="save",
        toolbar_location=None,
        sizing_mode="stretch_both",
        x_axis_label="similarity",
        y_axis_label="density",
    )
    plot.add_layout(
        Legend(ncols=2, label_text_font_size="11px", glyph_width=28, margin=0), "above"
    )
    # One color a definition; other labels are dashed, so color is not needed.
    styles = [(color, dash) for color in COLORS[:2] for dash in ("solid", "dashed")]
    for number, (color, dash) in enumerate(styles):
        source = ColumnDataSource({"from": [], "density": []}, name=f"steps-{number}")
        drawn = plot.step(
            "from",
            "density",
            source=source,
            mode="after",
            color=color,
            line_dash=dash,
            line_width=1.8,
            legend_label=f"group {number}",
            name=f"group-{number}",
        )
        tooltips = [("similarity from", "@from{0.0000}"), ("density", "@density")]
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tooltips))
    for number in range(2):
        line = Span(dimension="height", location=np.nan, line_width=3)
        line.name, line.line_color = f"mark-{number}", COLORS[number]
        plot.add_layout(line)
    plot.grid.visible = False
    return plot


def _comparison() -> Model:
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
    mapper = LinearColorMapper(palette=Cividis256, low=0, high=1, nan_color="#808080")
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
