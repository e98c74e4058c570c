"""Scores of all methods, scores against the size of the database, and a gallery."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.frame.figures import draw_intervals, styled_figure
from experiments.retrieval.measure import AGAINST, GAIN, Result, Score, select
from experiments.retrieval.neighbors import KERNELS, WITH, WITHOUT, Key
from semrsm_jax.plotting import Retrieved, retrieval_gallery
from semrsm_jax.plotting.style import COLORS, FONT_SIZE, MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEIGHBORS = 3  # of a query in the gallery
# What the points of each way look like.
_STYLES: dict[str, dict[str, Any]] = {
    WITHOUT: {"color": COLORS[0], "marker": "o", "markerfacecolor": "white"},
    WITH: {"color": COLORS[1], "marker": "s"},
}
_STYLES = {name: {**style, "label": name} for name, style in _STYLES.items()}
_GRAY: dict[str, Any] = {
    "color": "0.35",
    "marker": "D",
    "label": "classical descriptor",
}
_KERNELS: list[dict[str, Any]] = [
    {"color": color, "marker": marker, "label": name}
    for name, color, marker in zip(KERNELS, COLORS, MARKERS, strict=False)
]
_OPEN: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "white"}
_FILLED: dict[str, Any] = {"linestyle": "-"}


def draw_methods(result: Result) -> "Figure":
    """Each kernel with and without permutation invariance, beside the descriptors.

    A panel a network and layer, a row a protocol, at the middle database; Fig. 3.
    """
    config, scores = result.config, result.scores
    size = config.sizes[len(config.sizes) // 2]
    measure = scores[0].measure
    shown = select(scores, database=size, measure=measure, k=1)
    methods = [*KERNELS, *(name for name, _ in config.baselines)]

    def panel(ax: "Axes", entries: list[Score]) -> None:
        for quantity, style in _STYLES.items():
            points = select(entries, quantity=quantity)
            kernels = [entry for entry in points if entry.method in KERNELS]
            classical = [entry for entry in points if entry.method not in KERNELS]
            offset = 0.13 if quantity == WITH else -0.13
            for group, shift, look in ((kernels, offset, style), (classical, 0, _GRAY)):
                places = [methods.index(entry.method) + shift for entry in group]
                _draw_scores(ax, places, group, look)
        ax.axvline(len(KERNELS) - 0.5, color="0.85", linewidth=0.8)
        ax.set_xticks(range(len(methods)), methods, rotation=90)
        ax.set_xlim(-0.6, len(methods) - 0.4)

    rows = [
        (f"{measure}@1,\n{protocol}", select(shown, protocol=protocol), panel)
        for protocol in dict.fromkeys(entry.protocol for entry in shown)
    ]
    return _grid(rows, f"database of {size} images", list(_STYLES.values()) + [_GRAY])


def draw_sizes(result: Result) -> "Figure":
    """Scores and gains against the size of the database, the numbers of Table 2."""
    config, scores = result.config, result.scores
    measure, protocol = scores[0].measure, scores[0].protocol
    shown = select(scores, measure=measure, protocol=protocol, k=1)
    spread = 0.03 * (config.sizes[-1] - config.sizes[0])

    def scored(ax: "Axes", entries: list[Score]) -> None:
        for look, method in zip(_KERNELS, KERNELS, strict=True):
            for quantity, line in ((WITHOUT, _OPEN), (WITH, _FILLED)):
                points = select(entries, method=method, quantity=quantity)
                x = [entry.database for entry in points]
                y = [entry.interval.value for entry in points]
                drawn: Look = {"linewidth": 1.2, "markersize": 4, **look, **line}
                ax.plot(x, y, **drawn)

    def gained(ax: "Axes", entries: list[Score]) -> None:
        ax.axhline(0, color="0.5", linewidth=0.8)
        for number, (look, method) in enumerate(zip(_KERNELS, KERNELS, strict=True)):
            points = select(entries, method=method, quantity=GAIN)
            places = [entry.database + (number - 1) * spread for entry in points]
            _draw_scores(ax, places, points, look)
        ax.set_xlabel("images in the database")
        ax.set_xticks(config.sizes)

    rows = [
        (f"{measure}@1,\n{protocol}", shown, scored),
        (GAIN.replace(" by ", "\nby ", 1), shown, gained),
    ]
    ways = [
        {"color": "0.3", "marker": "", "label": how} | line
        for how, line in ((WITHOUT, _OPEN), (WITH, _FILLED))
    ]
    # The legend is filled column by column: kernels above, ways below.
    first, second, *rest = _KERNELS
    return _grid(rows, "", [first, ways[0], second, ways[1], *rest])


def draw_gallery(result: Result) -> "Figure":
    """What the first queries retrieve by cosine, with and without; Fig. 4.

    The queries are the first drawn, whatever they show; the network is the first one,
    at its last layer, the database the largest.
    """
    config, collection = result.config, result.collection
    network = config.networks[0]
    of_network = result.neighbors[network]
    layer = next(iter(of_network.tokens))
    name, (score, queries, database) = next(iter(collection.measures.items()))
    rows = range(min(config.shown, config.queries))

    def shown(row: int, entry: int) -> Retrieved:
        value = float(score(queries[row], database[entry]))
        return Retrieved(collection.entry(entry), f"{name} {value:.2f}")

    neighbors = {}
    for how in (WITHOUT, WITH):
        protocol = next(iter(collection.protocols))
        key = Key(layer, AGAINST, how, protocol, config.sizes[-1])
        index = of_network.index[key][:, :_NEIGHBORS]
        neighbors[how] = [[shown(r, int(i)) for i in index[r] if i >= 0] for r in rows]
    return retrieval_gallery(
        [Retrieved(collection.query(row)) for row in rows],
        neighbors,
        title=f"{collection.title}, {Path(network).name}: most similar by {AGAINST}",
    )


Row = tuple[str, list[Score], Callable[["Axes", list[Score]], None]]
Look = Mapping[str, Any]


def _grid(rows: Sequence[Row], title: str, looks: Sequence[Look]) -> "Figure":
    """A column a network and layer; each row has a label, scores, and what draws them.

    The legend, below all, is of the looks.
    """
    from matplotlib.lines import Line2D

    columns = list(dict.fromkeys((s.network, s.layer, s.tokens) for s in rows[0][1]))
    size = max(6.4, 1.8 * len(columns) + 0.9), 1.9 * len(rows) + 1.5
    with styled_figure(size) as figure:
        figure.suptitle(title, fontsize=FONT_SIZE + 1)
        axes = figure.subplots(
            len(rows), len(columns), sharex=True, sharey="row", squeeze=False
        )
        for of_row, (label, scores, draw) in zip(axes, rows, strict=True):
            of_row[0].set_ylabel(label)
            for ax, (network, layer, _) in zip(of_row, columns, strict=True):
                draw(ax, select(scores, network=network, layer=layer))
        for ax, (network, layer, tokens) in zip(axes[0], columns, strict=True):
            ax.set_title(f"{Path(network).name}\n{_inner(layer)}, {tokens} tokens")
        figure.legend(
            handles=[Line2D([], [], **{"linestyle": "none", **look}) for look in looks],
            loc="outside lower center",
            ncols=3,
        )
    return figure


def _draw_scores(
    ax: "Axes", places: Sequence[float], entries: Sequence[Score], look: Look
) -> None:
    """Estimates and their intervals, not joined."""
    draw_intervals(ax, places, [e.interval for e in entries], linestyle="", **look)


def _inner(layer: str) -> str:
    """A layer's name without the networks around it."""
    return layer.rpartition("encoder.")[2]
