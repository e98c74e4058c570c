"""``semrsm extract``: a checkpoint and a folder of images in, features out."""

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._network_options import NETWORKS, NetworkOptions, preprocessing_text
from semrsm_jax.cli.console import Report, progress_bar, say, say_fields, say_json
from semrsm_jax.store import check_output, save_features
from semrsm_jax.store.output import check_folder

if TYPE_CHECKING:
    from semrsm_jax.features import ImageFolder, LayerTable, LoadedNetwork

HELP = f"""Compute the features of a folder of images in some layers of a network.

{NETWORKS}

Example: semrsm extract --model timm:vit_small_patch14_reg4_dinov2 --images photographs --tokens patches -o features.zarr

Example: semrsm extract --model facebook/dinov2-base --images photographs --tokens patches -o features.zarr

Example: semrsm extract --model torchvision:swin_t --list-layers

Images are all files below the folder that end in .png, .jpg, .webp, .bmp, .tif or .gif, sorted; their paths below it become the ids of the samples. EXIF orientation is applied, transparency is dropped, or composed onto white where the network's own processor does so (CLIP, BiT, DINOv2, SAM), and an animation is its first frame.

An output .zarr is written batch by batch: after an interruption the same command resumes it. .npz and .safetensors are written at the end, and hold an array (N, S, C) for each layer. semrsm rsm reads all of them, with --key LAYER where there are several."""  # noqa: E501 (lines are wrapped when shown)

_SUFFIXES = (".zarr", ".npz", ".safetensors")


def command(
    network: NetworkOptions,
    images: Annotated[
        Path | None, options.images_option(help="The images, in any sub-folders.")
    ] = None,
    output: Annotated[
        Path | None,
        options.output_option(
            metavar="FEATURES",
            help="Where to write: .zarr (a folder, resumed), .npz or .safetensors.",
        ),
    ] = None,
    tokens: Annotated[
        Literal["all", "patches", "cls"],
        typer.Option(
            metavar="WHICH",
            case_sensitive=False,
            help="all tokens; patches, without CLS and the like; or cls alone.",
        ),
    ] = "all",
    batch_size: Annotated[
        int, typer.Option(help="Images a pass; fewer need less memory.")
    ] = 32,
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
    from semrsm_jax.features.image_folder import find_images

    if list_layers:
        with progress_bar("steps", quiet) as report:
            loaded = network.load(report)
            table = _table(network, loaded, images)
        _show_layers(loaded, table, as_json)
        return
    if images is None or output is None:
        missing = "--images" if images is None else "--output"
        raise ValueError(f"{missing} must be given, unless --list-layers is")
    _check_output(output, overwrite, network.dtype)
    # Before the network is loaded: a wrong folder is reported at once.
    paths = find_images(images)
    reading = {
        "tokens": tokens,
        "batch_size": batch_size,
        **network.reading(),
    }
    start = time.perf_counter()
    with progress_bar("images", quiet) as report:
        loaded = network.load(report)
        names = network.chosen_layers(loaded)
        folder = network.open_images(loaded, images, paths, report)
        report("First images", 0, None)
        shapes = _extract(loaded, folder, names, output, reading, overwrite, report)
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
    reading: Mapping[str, Any],
    overwrite: bool,
    report: Report,
) -> Mapping[str, tuple[int, ...]]:
    """Extracts into the output; returns the shape of the features of each layer."""
    from semrsm_jax.features import extract, extract_to_store

    metadata: dict[str, Any] = {
        "model": loaded.name,
        "preprocessing": preprocessing_text(folder.preprocess),
        "skipped": [image._asdict() for image in folder.skipped],
    }

    reading = {
        **reading,
        "progress": lambda done, total: report("Extracting features", done, total),
    }
    if output.suffix.lower() == ".zarr":
        store = extract_to_store(
            loaded.model, folder, names, output, **reading, metadata=metadata
        )
        return {name: rows.shape for name, rows in store.layers.items()}
    features = extract(loaded.model, folder, names, **reading)
    save_features(
        output, features, ids=folder.ids, metadata=metadata, overwrite=overwrite
    )
    return {name: array.shape for name, array in features.items()}


def _check_output(output: Path, overwrite: bool, dtype: str) -> None:
    suffix = output.suffix.lower()
    if suffix == ".npz" and dtype == "bfloat16":
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


def _table(
    network: NetworkOptions, loaded: "LoadedNetwork", images: Path | None
) -> "LayerTable":
    """What the layers give for the first image, or for a gray one."""
    import numpy as np

    from semrsm_jax.features import list_layers, read_image
    from semrsm_jax.features.image_folder import find_images

    gray = np.full((256, 256, 3), 128, np.uint8)
    image = gray if images is None else read_image(find_images(images)[0])
    return list_layers(loaded.model, network.preprocessing(loaded)(image)[None])


def _show_layers(loaded: "LoadedNetwork", table: "LayerTable", as_json: bool) -> None:
    if as_json:
        rows = [layer._asdict() for layer in table]
        say_json({"last": loaded.last, "layers": loaded.layers, "table": rows})
        return
    say(str(table))
    say(f"last: {loaded.last}; blocks are marked by *, unread outputs by ?")


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
