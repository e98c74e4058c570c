"""Options that several commands share, and figures that they write."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from semrsm_jax import DualBound
from semrsm_jax.store import check_output, new_file

# The declaration of an option, by its name or the panel of the help it stands in.
output_option: Any = partial(typer.Option, "--output", "-o")
images_option: Any = partial(typer.Option, "--images", "-i", metavar="FOLDER")
statistics_option: Any = partial(typer.Option, rich_help_panel="Statistics")
file_option: Any = partial(typer.Option, rich_help_panel="Figures and files")
run_option: Any = partial(typer.Option, rich_help_panel="How the run is computed")

Bound = Annotated[
    int | None,
    typer.Option(
        metavar="STRIDE",
        help="Prove how far an approximation can be from the best, from an exact "
        "matching of every STRIDE-th token: 8 is cheap, 4 is tighter. Default: only "
        "the bound that the matcher gives.",
        rich_help_panel="Matcher options",
    ),
]
Layout = Annotated[
    Literal["NHWC", "NCHW", "NSC", "NCS"] | None,
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
    run_option(
        metavar="NAME",
        help="With an output .zarr: several arrays of the file, each a layer with a "
        "run of its own; give the option once for each, or 'all'.",
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of the pairs in flight and, in a run, the blocks of a tile, such "
        "as 512MB. Default: what keeps the cache and cores busy, and a share of what "
        "is free.",
    ),
]
Tile = Annotated[
    int | None,
    run_option(
        help="Rows and columns of a tile, at most the number of samples. Default: what "
        "takes some seconds."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output that exists.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
RSMs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RSM...",
        help="RSMs: .npz, .safetensors, .npy, or the .zarr of a run, each of whose "
        "layers is one.",
    ),
]
Title = Annotated[str | None, typer.Option(help="Of the page.")]
ImageLabels = Annotated[
    Path | None, typer.Option("--labels", help="What the images show: .csv or .npz.")
]
Bootstrap = Annotated[
    int | None,
    statistics_option(
        metavar="B", min=2, help="Resamples for intervals, for example 2000."
    ),
]
Seed = Annotated[
    int,
    statistics_option(
        min=0, help="Of all that is drawn: the same seed, the same numbers."
    ),
]


def _probability(confidence: float) -> float:
    """The level of intervals, also where none are computed."""
    if not 0 < confidence < 1:
        raise typer.BadParameter(
            f"confidence must lie between 0 and 1, got {confidence}; 0.95 is 95 %"
        )
    return confidence


Confidence = Annotated[
    float,
    statistics_option(callback=_probability, help="Of the intervals, between 0 and 1."),
]
AsJSON = Annotated[
    bool, typer.Option("--json", help="Print JSON, for other programs to read.")
]


def features_argument(name: str, text: str = "") -> Any:
    """The declaration of a file of features, shown as `name`."""
    return typer.Argument(
        metavar=name,
        help=text
        or "Features: .npy, .npz, .safetensors, a zarr folder, or a folder with a file "
        "for each layer.",
    )


Features = Annotated[Path, features_argument("FEATURES")]
OtherFeatures = Annotated[
    Path | None, features_argument("OTHER", "Features for the RSM's columns.")
]


def figure_option(what: str) -> Any:
    """The declaration of a figure to be written."""
    return file_option(help=f"{what}: .png, or as vectors .pdf, .svg.")


def build_bound(stride: int | None) -> DualBound | None:
    """The dual bound of ``--bound``."""
    if stride is None:
        return None
    if stride < 1:
        raise ValueError(f"--bound must be a stride of at least 1, got {stride}")
    return DualBound(stride)


def check_figure(
    path: Path | None, overwrite: bool, inputs: Sequence[Path] = ()
) -> None:
    """Checks before any work that a figure can be drawn and written."""
    if path is None:
        return
    from semrsm_jax.plotting.style import new_figure

    check_output(path, overwrite, suffixes=_FIGURES, inputs=inputs)
    new_figure((1, 1))


def save_figure(figure: Any, path: Path, overwrite: bool) -> None:
    """Writes a Matplotlib figure, all of it or nothing; its suffix is the format."""
    with new_file(path, overwrite) as temporary:
        figure.savefig(temporary)


def dask_client(
    workers: int | None, cluster: str | None
) -> AbstractContextManager[Any]:
    """A Dask client for `--workers` or `--cluster`; None where neither is given."""
    from semrsm_jax.engine import connected, local_cluster

    if workers is not None and cluster is not None:
        raise ValueError("--workers and --cluster exclude each other")
    if workers is not None:
        if workers < 1:
            raise ValueError(f"--workers must be at least 1, got {workers}")
        return local_cluster(workers)
    return nullcontext() if cluster is None else connected(cluster)


_FIGURES = (".png", ".pdf", ".svg")

_UNITS = {"": 1, **{u + "B": 10**n for u, n in zip("KMGT", (3, 6, 9, 12), strict=True)}}
_UNITS |= {u + "iB": 2**n for u, n in zip("KMGT", (10, 20, 30, 40), strict=True)}
_UNITS = {unit.lower(): size for unit, size in _UNITS.items()} | {"b": 1}


def parse_bytes(name: str, text: str | None) -> int | None:
    """Bytes from a size such as 512MB, 2GiB or 100000; None stays None."""
    if text is None:
        return None
    matched = re.fullmatch(
        r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([a-z]*)\s*", text.lower(), re.ASCII
    )
    if matched is None or matched[2] not in _UNITS:
        raise ValueError(
            f"{name} must be a size such as 512MB, 2GiB or 100000 (bytes), got {text!r}"
        )
    size = int(float(matched[1]) * _UNITS[matched[2]])
    if size < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {text!r}")
    return size
