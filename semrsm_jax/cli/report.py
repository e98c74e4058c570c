"""``semrsm report``: RSMs, images and what was matched, in one page to look at."""

import re
from pathlib import Path
from typing import Annotated

import typer

from semrsm_jax import report
from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel, parse_grid
from semrsm_jax.cli.console import progress_bar, say, say_fields, size
from semrsm_jax.reporting.page import SUFFIXES
from semrsm_jax.store import check_output

HELP = """Make one page to look at RSMs: click on a cell, and see what was matched with what.

The page is a single HTML file that opens from disk in any browser and loads nothing. It shows the RSMs of any layers in both definitions side by side, semantic and spatio-semantic; of every pair of images the matched patches, how far they moved, the similarity, its proven bound, and the share lost to misalignment; nearest neighbors, distributions, and CKA between layers.

Example: semrsm extract --model facebook/dinov2-base --images photographs --tokens patches -o features.zarr

Example: semrsm rsm features.zarr -o run.zarr

Example: semrsm report run.zarr --images photographs -o report.html

Images are matched to samples by their ids, which semrsm extract stores, or by their order without ids. Correspondences and the spatio-semantic RSM are computed from the features, which a run and an .npz of semrsm rsm name; if these were moved, --features states where they are. An RSM of --matcher identity over the same features, given too, is used as the spatio-semantic one.

--labels takes the files that semrsm retrieve takes: a .csv with the columns id and label, or counts of objects; samples can then be sorted by label.

Correspondences of all pairs may be large: the page holds those of each sample's neighbors, and of the pairs that misalignment costs most and least, up to 4 MiB. --pairs all holds all of them, --pair I,J a certain one."""  # noqa: E501 (lines are wrapped when shown)


def command(
    rsms: options.RSMs,
    kernel: StatisticsKernel,
    output: Annotated[Path, options.output_option(help="The page to write, .html.")],
    images: Annotated[
        Path | None,
        options.images_option(
            help="The images, in any sub-folders. Default: none are shown."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="The features that were matched. Default: those that the RSM names."
        ),
    ] = None,
    labels: options.ImageLabels = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            "-l",
            metavar="LAYER",
            help="A layer to show, once for each. Default: all.",
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Rows and columns of the token grid. Default: from the features or "
            "the shape of the images.",
        ),
    ] = None,
    preprocessor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A preprocessor_config.json, which states the part of each image that "
            "the network saw. Default: from features of semrsm extract, else all.",
        ),
    ] = None,
    neighbors: Annotated[
        int, typer.Option("--k", min=1, help="Nearest neighbors that are shown.")
    ] = 5,
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT",
            help="Of how many pairs of each layer correspondences are held, or all. "
            "Default: of as many as fit into 4 MiB.",
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            metavar="I,J",
            help="A pair, by its rows from 0, whose correspondences are held in any "
            "case; may be given again.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Show so many samples, evenly spread. Default: all, up to 1,500.",
        ),
    ] = None,
    title: options.Title = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks all input, makes the page, and prints its size."""
    from semrsm_jax.features import load_preprocessing

    check_output(output, overwrite, suffixes=SUFFIXES, inputs=rsms)
    asked = [_parse_pair(text) for text in pair or ()]
    with progress_bar("steps", quiet) as bar:
        page = report(
            rsms,
            images,
            output,
            features=features,
            labels=labels,
            layers=layers or None,
            kernel=kernel.build(),
            grid=parse_grid(grid) if grid else None,
            preprocessing=load_preprocessing(preprocessor) if preprocessor else None,
            neighbors=neighbors,
            pairs=_parse_count(pairs),
            also=asked,
            samples=samples,
            title=title or ", ".join(path.name for path in rsms),
            overwrite=overwrite,
            progress=bar,
        )
    if quiet:
        return
    say(f"Report of {', '.join(map(str, rsms))}")
    say_fields({"size": size(len(page.html.encode())), "written to": output})


def _parse_pair(text: str) -> tuple[int, int]:
    matched = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text, re.ASCII)
    if matched is None:
        raise ValueError(f"--pair must be I,J, for example 3,17, got {text!r}")
    return int(matched[1]), int(matched[2])


def _parse_count(text: str | None) -> int | None:
    if text is None:
        return None
    if text.lower() == "all":
        return 10**12
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise ValueError(f"--pairs must be a number of pairs or all, got {text!r}")
    return int(text)
