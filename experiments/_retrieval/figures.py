"""Scores of all methods, scores against the size of the database, and a gallery."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments._retrieval.config import Collection, RetrievalConfig
from experiments._retrieval.neighbors import KERNELS, WITH, WITHOUT, Found, Key
from experiments._retrieval.scores import AGAINST, Score, select
from semrsm_jax.plotting import Retrieved, retrieval_gallery
from semrsm_jax.plotting._style import COLORS, FONT_SIZE, MARKERS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEIGHBORS = 3  # of a query in the gallery
# Colour, marker and legend of each way.
_STYLES = {
    WITHOUT: (COLORS[0], "o", "none"),
    WITH: (COLORS[1], "s", COLORS[1]),
}


def draw_methods(config: RetrievalConfig, scores: Sequence[Score]) -> "Figure":
    """Each kernel with and without permutation invariance, beside the descriptors.

    A panel a network and layer, a row a protocol, at the middle database; Fig. 3.
    """
    size = config.sizes[len(config.sizes) // 2]
    measure = scores[0].measure
    shown = select(scores, database=size, measure=measure, k=1)
    methods = [*KERNELS, *(name for name, _ in config.baselines)]

    def panel(ax: "Axes", entries: list[Score]) -> None:
        for quantity, (color, marker, face) in _STYLES.items():
            points = select(entries, quantity=quantity)
            kernels = [entry for entry in points if entry.method in KERNELS]
            classical = [entry for entry in points if entry.method not in KERNELS]
            _points(ax, kernels, methods, color, marker, face, quantity)
            _points(ax, classical, methods, "0.35", "D", "0.35", "classical descriptor")
        ax.axvline(len(KERNELS) - 0.5, color="0.85", linewidth=0.8)
        ax.set_xticks(range(len(methods)), methods, rotation=90)
        ax.set_xlim(-0.6, len(methods) - 0.4)

    return _grid(shown, panel, f"{measure}@1, {size} images")


def draw_sizes(config: RetrievalConfig, scores: Sequence[Score]) -> "Figure":
    """Scores against the size of the database, the numbers of Table 2."""
    measure = scores[0].measure
    shown = select(scores, measure=measure, k=1)

    def panel(ax: "Axes", entries: list[Score]) -> None:
        for number, method in enumerate(KERNELS):
            for quantity, line in ((WITHOUT, "--"), (WITH, "-")):
                points = select(entries, method=method, quantity=quantity)
                x = [entry.database for entry in points]
                middle, low, high = np.array([entry.interval for entry in points]).T
                ax.plot(
                    x,
                    middle,
                    line,
                    color=COLORS[number],
                    marker=MARKERS[number],
                    markersize=4,
                    markerfacecolor=COLORS[number] if quantity == WITH else "white",
                    linewidth=1.2,
                    label=f"{method}, {quantity}",
                )
                ax.fill_between(x, low, high, color=COLORS[number], alpha=0.12, lw=0)
        ax.set_xlabel("images in the database")
        ax.set_xticks(config.sizes)

    return _grid(shown, panel, f"{measure}@1")


def draw_gallery(
    config: RetrievalConfig, collection: Collection, found: Mapping[str, Found]
) -> "Figure":
    """What the first queries retrieve by cosine, with and without; Fig. 4.

    The queries are the first drawn, whatever they show; the network is the first one,
    at its last layer, the database the largest.
    """
    network = config.networks[0]
    of_network = found[network]
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
        title=f"{collection.title}, {network}: the most similar images by cosine",
    )


def _grid(
    scores: Sequence[Score],
    panel: Callable[["Axes", list[Score]], None],
    label: str,
) -> "Figure":
    """A column a network and layer, a row a protocol; one legend for all."""
    from matplotlib import rc_context

    columns = list(dict.fromkeys((s.network, s.layer, s.tokens) for s in scores))
    protocols = list(dict.fromkeys(s.protocol for s in scores))
    figure = new_figure((1.9 * len(columns) + 0.9, 2.0 * len(protocols) + 1.4))
    with rc_context({"font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE}):
        axes = figure.subplots(
            len(protocols), len(columns), sharex=True, sharey="row", squeeze=False
        )
        for row, protocol in enumerate(protocols):
            for ax, (network, layer, tokens) in zip(axes[row], columns, strict=True):
                of_panel = select(
                    scores, network=network, layer=layer, protocol=protocol
                )
                panel(ax, of_panel)
                ax.spines[["top", "right"]].set_visible(False)
                if row == 0:
                    ax.set_title(f"{_short(network)}\n{_short(layer)}, {tokens} tokens")
                if row < len(protocols) - 1:
                    ax.set_xlabel("")
            axes[row, 0].set_ylabel(f"{label}\nallowed: {protocol}")
        handles, names = axes[0, 0].get_legend_handles_labels()
        chosen = dict(zip(names, handles, strict=True))
        figure.legend(
            chosen.values(),
            chosen.keys(),
            loc="outside lower center",
            ncols=3,
            frameon=False,
        )
    return figure


def _points(
    ax: "Axes",
    entries: list[Score],
    methods: list[str],
    color: str,
    marker: str,
    face: str,
    label: str,
) -> None:
    if not entries:
        return
    middle, low, high = np.array([entry.interval for entry in entries]).T
    ax.errorbar(
        [methods.index(entry.method) for entry in entries],
        middle,
        (middle - low, high - middle),
        color=color,
        marker=marker,
        markerfacecolor=face,
        markersize=4.5,
        linestyle="none",
        linewidth=1.0,
        capsize=2,
        label=label,
    )


def _short(name: str) -> str:
    """The end of a path or of a dotted name, with its number."""
    parts = name.rstrip("/").split("/")[-1].split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
