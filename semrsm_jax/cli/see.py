"""``semrsm see``: a network and a folder of images in, a report to look at out."""

from pathlib import Path
from typing import Annotated

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import StatisticsKernel
from semrsm_jax.cli._network_options import NETWORKS, NetworkOptions
from semrsm_jax.cli.console import progress_bar, say, say_fields, size

HELP = f"""Show how alike images are to a network: from a folder to report.html in one command.

Features of the patches are computed, matched exactly, and shown in one page: the semantic RSM beside the spatio-semantic one, and for each pair of images which patches were matched (semrsm report describes the page).

{NETWORKS}

Example: semrsm see --model timm:vit_small_patch14_reg4_dinov2 --images photographs -o report.html

Example: semrsm see --model torchvision:resnet50 --images photographs --layers 'layer4.*'

For many images, or to keep features and RSMs: semrsm extract, semrsm rsm, semrsm report."""  # noqa: E501 (lines are wrapped when shown)

_MOST_IMAGES = 1500


def command(
    network: NetworkOptions,
    kernel: StatisticsKernel,
    images: Annotated[
        Path, options.images_option(help="The images, in any sub-folders.")
    ],
    output: Annotated[
        Path, options.output_option(help="The page to write, .html.")
    ] = Path("report.html"),
    samples: Annotated[
        int,
        typer.Option(
            min=2, help="Of more images, take so many, evenly spread over the folder."
        ),
    ] = 60,
    labels: options.ImageLabels = None,
    title: options.Title = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks all input, extracts, matches, and writes the page."""
    import numpy as np

    from semrsm_jax import Cosine
    from semrsm_jax import report as make_report
    from semrsm_jax.features import extract
    from semrsm_jax.features.image_folder import find_images
    from semrsm_jax.features.preprocessing import Preprocessing
    from semrsm_jax.reporting.orders import label_names
    from semrsm_jax.reporting.page import SUFFIXES, require_bokeh
    from semrsm_jax.store import check_output

    check_output(output, overwrite, suffixes=SUFFIXES)
    require_bokeh()
    paths = find_images(images)
    if len(paths) < 2:
        raise ValueError(f"--images must hold two images or more, got {len(paths)}")
    if samples > _MOST_IMAGES:
        raise ValueError(f"--samples must be at most {_MOST_IMAGES:,}, got {samples}")
    with progress_bar("steps", quiet) as bar:
        loaded = network.load(bar)
        names = network.chosen_layers(loaded)
        taken = np.unique(np.linspace(0, len(paths) - 1, samples).round().astype(int))
        folder = network.open_images(loaded, images, [paths[n] for n in taken], bar)
        features = extract(
            loaded.model,
            folder,
            names,
            tokens="patches",
            **network.reading(),
            progress=lambda done, total: bar("Extracting features", done, total),
        )
        prepared = folder.preprocess
        page = make_report(
            features,
            folder.paths,
            output,
            kernel=kernel.build() or Cosine(),
            labels=labels and label_names(labels, folder.ids, len(folder)),
            names=folder.ids,
            # Another library's is not undone: the whole image is shown.
            preprocessing=prepared if isinstance(prepared, Preprocessing) else None,
            title=title or f"{images.name}, {loaded.name}",
            overwrite=overwrite,
            progress=bar,
        )
    if quiet:
        return
    fields: dict[str, object] = {"model": loaded.name, "images": len(folder)}
    if len(folder) < len(paths):
        fields["left out"] = len(paths) - len(folder)
    fields |= {
        name: f"{array.shape[1]} tokens, {array.shape[2]} channels"
        for name, array in features.items()
    }
    say(f"Report of {images}")
    say_fields(fields | {"size": size(len(page.html.encode())), "written to": output})
    for image in folder.skipped:
        say(f"Skipped {image.id}: {image.reason}")
