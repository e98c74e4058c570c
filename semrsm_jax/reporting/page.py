"""The page: one self-contained HTML file."""

import base64
import html
import json
import os
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from semrsm_jax._extras import required
from semrsm_jax.registry import label
from semrsm_jax.reporting.layers import SEMANTIC, Layer
from semrsm_jax.store import check_output, new_file

SUFFIXES = (".html", ".htm")
_SCRIPTS = ("data.js", "plots.js", "pair.js", "lists.js", "main.js")
# Height of the frame in a notebook, in pixels: a laptop's screen.
_FRAME = 820


class Report:
    """An HTML page; a notebook shows it as the last value of a cell.

    Attributes:
      html: the whole page, self-contained.
    """

    def __init__(self, html: str) -> None:
        """Holds a page made by `report`."""
        self.html = html

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Writes the page, whole or not at all.

        Args:
          path: ends in ``.html``.
          overwrite: replace an existing file.

        Raises:
          ValueError: as `check_output`.
          OSError: the file cannot be written, for example on a full disk.
        """
        path = check_output(path, overwrite, suffixes=SUFFIXES)
        with new_file(path, overwrite) as temporary:
            temporary.write_text(self.html, encoding="utf-8")

    def __repr__(self) -> str:
        """The size, without the content."""
        return f"Report({len(self.html) / 1e6:.1f} MB of HTML)"

    def _repr_html_(self) -> str:
        """The page in a frame, which keeps its styles and keys apart."""
        return (
            f'<iframe title="RSM report" style="width:100%;height:{_FRAME}px;'
            f'border:1px solid #888" srcdoc="{html.escape(self.html)}"></iframe>'
        )


def require_bokeh() -> None:
    """Raises ImportError unless Bokeh is installed."""
    required("bokeh", "report", "a report")


def render(data: Mapping[str, Any]) -> str:
    """Writes the page of what its scripts read, see `assets/data.js`, as JSON."""
    from bokeh.embed import components
    from bokeh.resources import Resources

    from semrsm_jax.reporting.figures import figures

    plots = figures(len(data["names"]))
    script, divs = components(plots, wrap_script=False)
    assets = resources.files("semrsm_jax.reporting").joinpath("assets")

    def asset(name: str) -> str:
        return assets.joinpath(name).read_text(encoding="utf-8")

    bokeh = Resources(mode="inline", components=["bokeh"])
    scripts = [*bokeh.js_raw, script, *map(asset, _SCRIPTS)]
    return Template(asset("page.html")).substitute(
        title=html.escape(data["title"]),
        style=asset("page.css"),
        data=_json(data),
        scripts="\n".join(f"<script>\n{_closed(text)}\n</script>" for text in scripts),
        **divs,
    )


def layer_data(layer: Layer) -> dict[str, Any]:
    """A layer as JSON can express it: small, and exact where it has to be."""
    matched = layer.correspondences
    matchings = None
    if matched is not None:
        matchings = {
            "pairs": _encoded(matched.pairs.astype(np.uint32)),
            "permutation": _encoded(matched.permutation),
            "width": matched.permutation.itemsize,
            "strength": _encoded(matched.strength),
        }
    gap = None
    if layer.bound is not None:
        # Rounded up, so that the sum remains a bound.
        excess = layer.bound.astype(np.float64) - layer.rsms[SEMANTIC]
        gap = _levels(excess, np.ceil)
    return {
        "name": layer.name,
        "kernel": _kernels(layer),
        "matcher": None if layer.matcher is None else label(layer.matcher),
        "symmetric": layer.matcher is None or layer.matcher.symmetric,
        "selfIdentity": layer.matcher is not None and layer.matcher.self_is_identity,
        "grid": layer.grid,
        "tokens": layer.tokens,
        "rsms": {name: _half(K.astype("<f4")) for name, K in layer.rsms.items()},
        "bound": gap,
        "lost": None if layer.lost is None else _levels(layer.lost, np.rint),
        "matchings": matchings,
        "note": layer.note,
    }


def _kernels(layer: Layer) -> str | None:
    """The kernel of all RSMs of a layer, or that of each where bandwidths differ."""
    labels = {kind: label(kernel) for kind, kernel in layer.kernels.items() if kernel}
    if len(set(labels.values())) > 1:
        return ", ".join(f"{kind}: {text}" for kind, text in labels.items())
    return next(iter(labels.values()), None)


def _levels(values: np.ndarray, rounding: Any) -> dict[str, Any]:
    """A matrix in 65,535 steps from 0, or its least value below, to its largest."""
    known = values[np.isfinite(values)]
    low = min(0.0, float(known.min(initial=0)))
    step = (float(known.max(initial=0)) - low) / 65534 or 1.0
    # A quotient may round above the last step, to the code of an unknown value.
    levels = np.clip(rounding((values - low) / step), 0, 65534)
    levels = np.where(np.isfinite(values), levels, 65535).astype("<u2")
    return {"low": low, "step": step, **_half(levels)}


def _half(matrix: np.ndarray) -> dict[str, Any]:
    """A matrix; only one half if it is symmetric."""
    symmetric = bool((matrix == matrix.T).all())
    kept = matrix[np.triu_indices(len(matrix))] if symmetric else matrix
    return {"symmetric": symmetric, "values": _encoded(kept)}


def _encoded(values: np.ndarray) -> str:
    """Little-endian bytes in base64."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode("ascii")


def _json(value: Any) -> str:
    """JSON that cannot end a script element, whatever it contains."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _closed(script: str) -> str:
    """A script that cannot end its own element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
