"""The page: one self-contained HTML file."""

import base64
import html
import json
import os
from importlib import resources
from string import Template
from typing import Any, NamedTuple

import numpy as np

from semrsm_jax.registry import label
from semrsm_jax.reporting.layers import Layer
from semrsm_jax.store import check_output, new_file

SUFFIXES = (".html", ".htm")
_SCRIPTS = ("data.js", "plots.js", "pair.js", "lists.js", "main.js")
# Height of the frame in a notebook, in pixels: a laptop's screen.
_FRAME = 820


class Content(NamedTuple):
    """The content of a page of n samples.

    Attributes:
      title: of the page.
      names: of the samples.
      numbers: (n,), of the samples in the whole RSM.
      labels: of the samples; None without labels.
      jpeg: the images in base64; None without images.
      orders: by name, orders of the samples.
      layers: at least one.
      cka: names of RSMs, and the CKA of each two.
      estimator: of CKA.
      neighbors: the number that the page shows.
      facts: further facts, by name.
    """

    title: str
    names: tuple[str, ...]
    numbers: np.ndarray
    labels: tuple[str, ...] | None
    jpeg: tuple[str, ...] | None
    orders: dict[str, list[int]]
    layers: list[Layer]
    cka: tuple[list[str], np.ndarray]
    estimator: str
    neighbors: int
    facts: dict[str, str]


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
    """Checks that Bokeh is installed.

    Raises:
      ImportError: it is missing.
    """
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'reports need Bokeh: pip install "semrsm_jax[report]"'
        ) from error


def render(content: Content) -> str:
    """Writes the page.

    Raises:
      ImportError: Bokeh is not installed.
    """
    from bokeh.embed import components
    from bokeh.resources import Resources

    from semrsm_jax.reporting.figures import figures

    plots = figures(len(content.names))
    script, divs = components(plots, wrap_script=False)
    assets = resources.files("semrsm_jax.reporting").joinpath("assets")

    def asset(name: str) -> str:
        return assets.joinpath(name).read_text(encoding="utf-8")

    bokeh = Resources(mode="inline", components=["bokeh"])
    scripts = [*bokeh.js_raw, script, *map(asset, _SCRIPTS)]
    return Template(asset("page.html")).substitute(
        title=html.escape(content.title),
        style=asset("page.css"),
        data=_json(_plain(content)),
        scripts="\n".join(f"<script>\n{_closed(text)}\n</script>" for text in scripts),
        **divs,
    )


def _plain(content: Content) -> dict[str, Any]:
    names, matrix = content.cka
    return {
        "title": content.title,
        "names": content.names,
        "numbers": content.numbers.tolist(),
        "labels": content.labels,
        "images": content.jpeg,
        "orders": content.orders,
        "layers": [_layer(layer) for layer in content.layers],
        "cka": {
            "names": names,
            "estimator": content.estimator,
            "matrix": [
                [float(v) if np.isfinite(v) else None for v in row] for row in matrix
            ],
        },
        "neighbors": content.neighbors,
        "facts": content.facts,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    matched = layer.correspondences
    matchings = None
    if matched is not None:
        rows = matched.pairs.astype(np.uint32)
        matchings = {
            "pairs": _encoded(rows),
            "permutation": _encoded(matched.permutation),
            "width": matched.permutation.itemsize,
            "strength": _encoded(matched.strength),
        }
    return {
        "name": layer.name,
        "kernel": None if layer.kernel is None else label(layer.kernel),
        "matcher": None if layer.matcher is None else label(layer.matcher),
        "symmetric": layer.matcher is None or layer.matcher.symmetric,
        "selfIdentity": layer.matcher is not None and layer.matcher.self_is_identity,
        "grid": layer.grid,
        "tokens": layer.tokens,
        "rsms": {name: _matrix(K) for name, K in layer.rsms.items()},
        "bound": None if layer.bound is None else _gap(layer),
        "lost": None if layer.lost is None else _levels(layer.lost, np.rint),
        "matchings": matchings,
        "note": layer.note,
    }


def _matrix(K: np.ndarray) -> dict[str, Any]:
    """A matrix in float32; only one half if it is symmetric."""
    K = K.astype("<f4")
    symmetric = bool((K == K.T).all())
    values = K[np.triu_indices(len(K))] if symmetric else K
    return {"symmetric": symmetric, "values": _encoded(values)}


def _gap(layer: Layer) -> dict[str, Any]:
    """The excess of the bound over the RSM, rounded up so that it remains a bound."""
    (K, *_) = layer.rsms.values()
    assert layer.bound is not None
    return _levels(layer.bound.astype(np.float64) - K, np.ceil)


def _levels(values: np.ndarray, rounding: Any) -> dict[str, Any]:
    """A matrix in 65,535 steps from 0, or its least value below, to its largest."""
    known = values[np.isfinite(values)]
    low = min(0.0, float(known.min(initial=0)))
    step = (float(known.max(initial=0)) - low) / 65534 or 1.0
    levels = np.where(np.isfinite(values), rounding((values - low) / step), 65535)
    levels = np.clip(levels, 0, 65535).astype("<u2")
    return {"low": low, "step": step, **_half(levels)}


def _half(levels: np.ndarray) -> dict[str, Any]:
    symmetric = bool((levels == levels.T).all())
    kept = levels[np.triu_indices(len(levels))] if symmetric else levels
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
