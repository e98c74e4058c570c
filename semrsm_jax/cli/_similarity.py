"""RSMs to be read by rows, the options that say how, and figures to be written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli._algorithm_options import Selection

if TYPE_CHECKING:
    from semrsm_jax.store import Similarity

FIGURES = (".png", ".pdf", ".svg")

RSMs = Annotated[
    list[Path],
    typer.Argument(
        metavar="RSM...",
        show_default=False,
        help="RSMs: .npz, .safetensors, .npy, or the .zarr of a run, each of whose "
        "layers is one.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(min=0, help="Of all that is drawn: the same seed, the same numbers."),
]
Confidence = Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")]


def figure_option(what: str, *names: str) -> Any:
    """The declaration of a figure to be written."""
    return typer.Option(
        *names, show_default=False, help=f"{what}: .png, or as vectors .pdf, .svg."
    )


def open_rsms(paths: Sequence[Path], kernel: Selection) -> "dict[str, Similarity]":
    """Opens RSMs by name: the path, and the layer where a run has several.

    Raises:
      ValueError: as `open_similarity`, an RSM given twice, or a bandwidth without rbf.
    """
    from semrsm_jax.store import open_runs, open_similarity

    rule = kernel.build()
    found: dict[str, Similarity] = {}
    for path in paths:
        layers = list(open_runs(path)) if path.is_dir() else [None]
        for layer in layers:
            name = f"{path}:{layer}" if len(layers) > 1 else str(path)
            if name in found:
                raise ValueError(f"{name} was given twice")
            part = layer if len(layers) > 1 else None
            found[name] = open_similarity(path, rule, layer=part)
    return found


def check_alike(rsms: "dict[str, Similarity]", square: bool) -> None:
    """Refuses RSMs that are not over the same samples.

    Raises:
      ValueError: shapes or ids that differ, or one that is not square where all must.
    """
    (first, rsm), *others = rsms.items()
    for name, other in rsms.items():
        if square and other.shape[0] != other.shape[1]:
            raise ValueError(
                f"{name} must hold a square RSM, got shape {other.shape}: samples "
                "with themselves, not two sets of samples"
            )
    for name, other in others:
        if other.shape != rsm.shape:
            sizes = " and ".join(
                f"{s[0]}" if square else f"{s[0]} x {s[1]}"
                for s in (rsm.shape, other.shape)
            )
            raise ValueError(
                f"{first} and {name} must be over the same samples, got {sizes}"
            )
        for axis in ("x_ids", "y_ids"):
            one, two = getattr(rsm, axis), getattr(other, axis)
            if one is not None and two is not None and tuple(one) != tuple(two):
                raise ValueError(
                    f"{first} and {name} must be over the same samples in the same "
                    f"order; their ids differ ({axis})"
                )


def check_figure(
    path: Path | None, overwrite: bool, inputs: Sequence[Path] = ()
) -> None:
    """Refuses, before any work, a figure that could not be written or drawn.

    Raises:
      ImportError: matplotlib is not installed.
      ValueError: as `check_output`.
    """
    if path is None:
        return
    from semrsm_jax.plotting.style import new_figure
    from semrsm_jax.store import check_output

    check_output(path, overwrite, suffixes=FIGURES, inputs=inputs)
    new_figure((1, 1))


def save_figure(figure: Any, path: Path, overwrite: bool) -> None:
    """Writes a Matplotlib figure, whole or not at all; its suffix tells the format."""
    from semrsm_jax.store import new_file

    with new_file(path, overwrite) as temporary:
        figure.savefig(temporary)
