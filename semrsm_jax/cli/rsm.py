"""``semrsm rsm``: features in, a representational similarity matrix out."""

from pathlib import Path
from typing import Annotated

import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import KernelOptions, MatcherOptions
from semrsm_jax.cli._rsm_file import write_file
from semrsm_jax.cli._rsm_store import write_store
from semrsm_jax.cli.options import CenterName

NAME = "rsm"
HELP = """Compute the RSM of a file of features, or between two files.

Entry (i, j) says how similar samples i and j are once their tokens are matched. Features have shape (N, H, W, C) or (N, S, C); other orders need --layout.

Example: semrsm rsm features.npy -o rsm.npz --matcher exact --kernel cosine

An output .npy holds the matrix alone. .npz and .safetensors hold rsm (N, M); inner, sq_dist and upper_bound (N, M); x_sq_norm (N) and y_sq_norm (M); and, as JSON, the metadata: settings, inputs with their SHA-256, and versions.

An output .zarr is for what takes long or is large: features are read from disk block by block, what is done is written tile by tile, and the same command again, after Ctrl-C or worse, goes on where it stopped. It holds what every kernel needs, so that none is chosen here. semrsm plan says beforehand what it takes, semrsm status how far it is; --workers and --cluster spread the work.

Example: semrsm rsm features.npy -o run.zarr --workers 8

Features of 64 bits are computed in float32, unless the environment variable JAX_ENABLE_X64 is 1."""  # noqa: E501 (lines are wrapped when shown)


def command(
    features: Annotated[Path, options.features_argument("FEATURES")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="Where to write: a folder ending in .zarr, or a file ending in .npz, "
            ".safetensors or .npy.",
        ),
    ],
    other: Annotated[
        Path | None,
        options.features_argument("OTHER", "Features for the RSM's columns."),
    ] = None,
    *,
    matcher: MatcherOptions,
    kernel: KernelOptions,
    center: Annotated[
        CenterName,
        typer.Option(
            case_sensitive=False,
            help="Subtract the mean of each channel, or of each position and channel; "
            "with OTHER, its mean from both.",
        ),
    ] = CenterName.NONE,
    layout: options.Layout = None,
    key: options.Key = None,
    layer: options.Layers = None,
    bound: options.Bound = None,
    memory_budget: options.MemoryBudget = None,
    tile: options.Tile = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Start so many processes on this machine, of one thread each.",
            rich_help_panel=options.STORE_PANEL,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="The scheduler of a Dask cluster, such as tcp://node1:8786, whose "
            "workers see the same folders.",
            rich_help_panel=options.STORE_PANEL,
        ),
    ] = None,
    json_log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Append the progress to a file, a JSON object a line.",
            rich_help_panel=options.STORE_PANEL,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks the options, and computes into a store or a file."""
    rule = matcher.build()
    proof = options.build_bound(bound)
    similarity = kernel.build()
    budget = options.parse_bytes("--memory-budget", memory_budget)
    inputs = [features] if other is None else [features, other]
    if output.suffix.lower() == ".zarr":
        if kernel.name != kernel.table.default:
            raise ValueError(
                f"--kernel {kernel.name} does not fit an output .zarr: it serves "
                "every kernel, which is chosen where it is read"
            )
        if overwrite:
            raise ValueError(
                "--overwrite does not fit an output .zarr: the run in it is resumed; "
                "remove the folder to begin anew"
            )
        write_store(
            inputs,
            output,
            rule,
            proof,
            center=center,
            layout=layout,
            key=key,
            layers=layer,
            budget=budget,
            tile=tile,
            workers=workers,
            cluster=cluster,
            log=json_log,
            quiet=quiet,
        )
        return
    given = {"layer": layer, "tile": tile, "workers": workers}
    given |= {"cluster": cluster, "json-log": json_log}
    for name, value in given.items():
        if value:
            raise ValueError(
                f"--{name} needs an output that ends in .zarr, got {output}"
            )
    write_file(
        inputs,
        output,
        rule,
        proof,
        similarity,
        center=center,
        layout=layout,
        key=key,
        budget=budget,
        overwrite=overwrite,
        quiet=quiet,
    )
