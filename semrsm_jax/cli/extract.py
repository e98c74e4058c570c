"""``semrsm extract``: a checkpoint and a folder of images in, features out."""

import shlex
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli.console import Report, progress_bar, say, say_fields, say_json
from semrsm_jax.store import check_output, save_features
from semrsm_jax.store.output import check_folder

if TYPE_CHECKING:
    from semrsm_jax.features import ImageFolder, LoadedNetwork

NAME = "extract"
HELP = """Compute the features of a folder of images in some layers of a network.

The network is one of the paper's, by its name (semrsm models lists them), or a checkpoint of the same kinds: a folder with config.json and weights, or the id of a repository on the hub. Images are prepared as its preprocessor_config.json says.

Example: semrsm extract --model facebook/dinov2-base --images photographs --tokens patches -o features.zarr

Example: semrsm extract --model facebook/dinov2-base --list-layers

Images are all files below the folder that end in .png, .jpg, .webp, .bmp, .tif or .gif, sorted; their paths below it become the ids of the samples. EXIF orientation is applied, transparency is dropped, and an animation is its first frame.

An output .zarr is written batch by batch: after an interruption the same command resumes it. .npz and .safetensors are written at the end, and hold an array (N, S, C) for each layer. semrsm rsm reads all of them, with --key LAYER where there are several."""  # noqa: E501 (lines are wrapped when shown)

_SUFFIXES = (".zarr", ".npz", ".safetensors")


class TokensName(StrEnum):
    """Which tokens are kept, see `extract`."""

    ALL = "all"
    PATCHES = "patches"
    CLS = "cls"


class DtypeName(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class OnErrorName(StrEnum):
    """What to do about images that cannot be read."""

    RAISE = "raise"
    SKIP = "skip"


def command(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            show_default=False,
            help="A name that semrsm models lists, a checkpoint's folder, or its id on "
            "the hub.",
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", "-i", metavar="FOLDER", help="The images, in any sub-folders."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FEATURES",
            help="Where to write: .zarr (a folder, resumed), .npz or .safetensors.",
        ),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            "-l",
            metavar="LAYER",
            help="Layers as --list-layers names them, with commas or one an option; "
            "last is what the paper compares. Default: last.",
        ),
    ] = None,
    tokens: Annotated[
        TokensName,
        typer.Option(
            metavar="WHICH",
            case_sensitive=False,
            help="all tokens; patches, without CLS and the like; or cls alone.",
        ),
    ] = TokensName.ALL,
    batch_size: Annotated[
        int, typer.Option(help="Images a pass; fewer need less memory.")
    ] = 32,
    dtype: Annotated[
        DtypeName,
        typer.Option(
            metavar="DTYPE",
            case_sensitive=False,
            help="What the network computes in: float32, bfloat16 or float16.",
        ),
    ] = DtypeName.FLOAT32,
    on_error: Annotated[
        OnErrorName,
        typer.Option(
            metavar="HOW",
            case_sensitive=False,
            help="If images cannot be read: raise, which lists them and stops; or "
            "skip, which leaves them out and lists them.",
        ),
    ] = OnErrorName.RAISE,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit of a checkpoint on the hub."),
    ] = None,
    preprocessor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A preprocessor_config.json, in place of the checkpoint's own.",
        ),
    ] = None,
    list_layers: Annotated[
        bool,
        typer.Option(
            "--list-layers", help="Show the layers of the network, and end there."
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.AsJSON = False,
) -> None:
    """Checks all input, extracts, writes, and prints a summary."""
    from semrsm_jax.features import load_network, load_preprocessing, open_folder
    from semrsm_jax.features.image_folder import find_images

    if list_layers:
        with progress_bar("steps", quiet) as report:
            report("Loading the network", 0, None)
            loaded = load_network(model, dtype.value, revision)
        _show_layers(loaded, as_json)
        return
    if images is None or output is None:
        missing = "--images" if images is None else "--output"
        raise ValueError(f"{missing} must be given, unless --list-layers is")
    _check_output(output, overwrite, dtype)
    find_images(images)  # a wrong folder is reported before the network is loaded
    start = time.perf_counter()
    with progress_bar("images", quiet) as report:
        report("Loading the network", 0, None)
        loaded = load_network(model, dtype.value, revision)
        names = loaded.select_layers(layers)
        preprocess = load_preprocessing(preprocessor or loaded.folder)
        folder = open_folder(
            images,
            preprocess,
            on_error=on_error.value,
            progress=lambda done, total: report("Checking images", done, total),
        )
        report("Compiling, first images", 0, None)
        shapes = _extract(
            loaded, folder, names, output, tokens, batch_size, overwrite, report
        )
    seconds = time.perf_counter() - start
    if quiet:
        return
    skipped = [image._asdict() for image in folder.skipped]
    if as_json:
        say_json(
            {
                "model": loaded.name,
                "images": len(folder),
                "skipped": skipped,
                "layers": {name: list(shape) for name, shape in shapes.items()},
                "seconds": seconds,
                "output": str(output),
            }
        )
        return
    _report(loaded, folder, shapes, output, seconds)


def _extract(
    loaded: "LoadedNetwork",
    folder: "ImageFolder",
    names: Sequence[str],
    output: Path,
    tokens: TokensName,
    batch_size: int,
    overwrite: bool,
    report: Report,
) -> Mapping[str, tuple[int, ...]]:
    """Extracts into the output; returns the shape of the features of each layer."""
    from semrsm_jax.features import extract, extract_to_store

    metadata: dict[str, Any] = {
        "model": loaded.name,
        "preprocessing": str(folder.preprocess),
        "skipped": [image._asdict() for image in folder.skipped],
    }

    def progress(done: int, total: int) -> None:
        report("Extracting features", done, total)

    if output.suffix.lower() == ".zarr":
        store = extract_to_store(
            loaded.model,
            folder,
            names,
            output,
            batch_size=batch_size,
            tokens=tokens.value,
            progress=progress,
            metadata=metadata,
        )
        return {name: rows.shape for name, rows in store.layers.items()}
    features = extract(
        loaded.model,
        folder,
        names,
        batch_size=batch_size,
        tokens=tokens.value,
        progress=progress,
    )
    save_features(
        output, features, ids=folder.ids, metadata=metadata, overwrite=overwrite
    )
    return {name: array.shape for name, array in features.items()}


def _check_output(output: Path, overwrite: bool, dtype: DtypeName) -> None:
    suffix = output.suffix.lower()
    if suffix == ".npz" and dtype is DtypeName.BFLOAT16:
        raise ValueError(
            "--dtype bfloat16 does not fit an .npz output, which cannot hold it; write "
            ".zarr or .safetensors"
        )
    if suffix != ".zarr":
        check_output(output, overwrite, suffixes=_SUFFIXES)
        return
    if overwrite:
        raise ValueError(
            "--overwrite does not fit a .zarr output, which is resumed; remove the "
            "folder to compute it anew"
        )
    check_folder(output)


def _show_layers(loaded: "LoadedNetwork", as_json: bool) -> None:
    if as_json:
        say_json({"last": loaded.last, "layers": loaded.layers})
        return
    for name in loaded.layers:
        say(f"{name}  (last)" if name == loaded.last else name)


def _report(
    loaded: "LoadedNetwork",
    folder: "ImageFolder",
    shapes: Mapping[str, tuple[int, ...]],
    output: Path,
    seconds: float,
) -> None:
    say(f"Features of {folder.root}")
    fields: dict[str, object] = {"model": loaded.name, "images": len(folder)}
    if folder.skipped:
        fields["skipped"] = len(folder.skipped)
    fields |= {
        name: f"{shape[1]} tokens, {shape[2]} channels"
        for name, shape in shapes.items()
    }
    say_fields(fields | {"time": f"{seconds:.2f} s", "written to": output})
    for image in folder.skipped:
        say(f"Skipped {image.id}: {image.reason}")
    key = f" --key {shlex.quote(next(iter(shapes)))}" if len(shapes) > 1 else ""
    say(f"Next: semrsm rsm {shlex.quote(str(output))}{key} -o rsm.npz")
