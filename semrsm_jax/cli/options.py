"""Options that several commands share; matchers' and kernels' are derived elsewhere."""

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from semrsm_jax import DualBound


class LayoutName(StrEnum):
    """Orders of axes, see `to_tokens`."""

    NHWC = "NHWC"
    NCHW = "NCHW"
    NSC = "NSC"
    NCS = "NCS"


class CenterName(StrEnum):
    """What mean is subtracted, see `center`."""

    CHANNEL = "channel"
    POSITION = "position"
    NONE = "none"


MATCHER_PANEL = "Matcher options"
STORE_PANEL = "With an output .zarr"

Bound = Annotated[
    int | None,
    typer.Option(
        metavar="STRIDE",
        help="Prove how far an approximation can be from the best, from an exact "
        "matching of every STRIDE-th token: 8 is cheap, 4 is tighter. Default: only "
        "the bound that the matcher gives.",
        rich_help_panel=MATCHER_PANEL,
    ),
]
Layout = Annotated[
    LayoutName | None,
    typer.Option(
        metavar="ORDER",
        case_sensitive=False,
        help="Order of the axes, NHWC, NCHW, NSC or NCS: N samples, H rows, W columns, "
        "S tokens, C channels. Default: NHWC for 4 axes, NSC for 3.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(help="Which array, where a file of features holds several."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Several arrays of the file, each a layer with a run of its own: give the "
        "option once for each, or 'all'.",
        rich_help_panel=STORE_PANEL,
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of the pairs in flight and, for an output .zarr, the blocks of a "
        "tile, such as 512MB. Default: what keeps the cache and cores busy, and a "
        "share of what is free.",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        help="Rows and columns of a tile. Default: what takes some seconds.",
        rich_help_panel=STORE_PANEL,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output that exists.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
AsJSON = Annotated[
    bool, typer.Option("--json", help="Print JSON, for other programs to read.")
]


def features_argument(name: str, text: str = "") -> Any:
    """The declaration of a file of features, shown as `name`."""
    return typer.Argument(
        metavar=name,
        show_default=False,
        help=text
        or "Features: .npy, .npz, .safetensors, a zarr folder, or a folder with a file "
        "for each layer.",
    )


def build_bound(stride: int | None) -> DualBound | None:
    """The dual bound of ``--bound``.

    Raises:
      ValueError: a stride below 1.
    """
    if stride is None:
        return None
    if stride < 1:
        raise ValueError(f"--bound must be a stride of at least 1, got {stride}")
    return DualBound(stride)


_UNITS = {"": 1, **{u + "B": 10**n for u, n in zip("KMGT", (3, 6, 9, 12), strict=True)}}
_UNITS |= {u + "iB": 2**n for u, n in zip("KMGT", (10, 20, 30, 40), strict=True)}
_UNITS = {unit.lower(): size for unit, size in _UNITS.items()} | {"b": 1}


def parse_bytes(name: str, text: str | None) -> int | None:
    """Bytes from a size such as 512MB, 2GiB or 100000; None stays None.

    Raises:
      ValueError: it is no such size, or below one byte.
    """
    if text is None:
        return None
    found = re.fullmatch(
        r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([a-z]*)\s*", text.lower(), re.ASCII
    )
    if found is None or found[2] not in _UNITS:
        raise ValueError(
            f"{name} must be a size such as 512MB, 2GiB or 100000 (bytes), got {text!r}"
        )
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {text!r}")
    return size
