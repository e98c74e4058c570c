"""``semrsm rsm``: features in, a representational similarity matrix out."""

import shlex
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from semrsm_jax.cli import options
from semrsm_jax.cli._algorithm_options import KernelOptions, MatcherOptions
from semrsm_jax.cli._inputs import feature_layers
from semrsm_jax.cli._run import ProgressLog, partial_store
from semrsm_jax.cli.console import progress_bar, say, say_fields

if TYPE_CHECKING:
    from semrsm_jax import Kernel, PairStatistics
    from semrsm_jax.store import RunStore

HELP = """Compute the RSM of a file of features, or between two files.

Entry (i, j) says how similar samples i and j are once their tokens are matched. Features have shape (N, H, W, C) or (N, S, C); other orders need --layout.

Example: semrsm rsm features.npy -o rsm.npz --matcher exact --kernel cosine

An output .npy holds the matrix, and behind it the metadata. .npz and .safetensors hold rsm (N, M); inner, sq_dist and upper_bound (N, M); x_sq_norm (N) and y_sq_norm (M); and, as JSON, the metadata: settings, inputs with their SHA-256, and versions.

An output .zarr keeps the run itself, and is for what is large: it holds what every kernel needs, so that none is chosen here. The numbers are the same to the bit whatever the output.

Features are read from disk block by block and tiles are written as they are done. The same command again, after Ctrl-C or a crash, resumes. Until an output file is written, its run is kept beside it, in a folder ending in .partial. semrsm plan estimates what a run takes, semrsm status shows how far it is; --workers and --cluster spread the work.

Example: semrsm rsm features.npy -o run.zarr --workers 8

Features of 64 bits are computed in float32, unless the environment variable JAX_ENABLE_X64 is 1."""  # noqa: E501 (lines are wrapped when shown)


def command(
    features: options.Features,
    output: Annotated[
        Path,
        options.output_option(
            help="Where to write: a folder ending in .zarr, or a file ending in .npz, "
            ".safetensors or .npy."
        ),
    ],
    other: options.OtherFeatures = None,
    *,
    matcher: MatcherOptions,
    kernel: KernelOptions,
    center: Annotated[
        Literal["channel", "position", "none"],
        typer.Option(
            case_sensitive=False,
            help="Subtract the mean of each channel, or of each position and channel; "
            "with OTHER, its mean from both.",
        ),
    ] = "none",
    layout: options.Layout = None,
    key: options.Key = None,
    layer: options.Layers = None,
    bound: options.Bound = None,
    memory_budget: options.MemoryBudget = None,
    tile: options.Tile = None,
    workers: Annotated[
        int | None,
        options.run_option(
            help="Start so many processes on this machine, of one thread each."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        options.run_option(
            metavar="ADDRESS",
            help="The scheduler of a Dask cluster, such as tcp://node1:8786, whose "
            "workers see the same folders.",
        ),
    ] = None,
    log_file: Annotated[
        Path | None,
        options.run_option(
            "--json-log",
            metavar="FILE",
            help="Append the progress to a file, a JSON object a line.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks the options and inputs, computes what is missing, and reports it."""
    from semrsm_jax.engine import run
    from semrsm_jax.store import check_output
    from semrsm_jax.store.json_log import json_log
    from semrsm_jax.store.output import OtherContentError, check_folder

    rule, similarity = matcher.build(), kernel.build()
    proof = options.build_bound(bound)
    budget = options.parse_bytes("--memory-budget", memory_budget)
    paths = [features] if other is None else [features, other]
    into_store = output.suffix.lower() == ".zarr"
    if into_store and kernel.name != kernel.table.default:
        raise ValueError(
            f"--kernel {kernel.name} does not fit an output .zarr: it serves "
            "every kernel, which is chosen where it is read"
        )
    if into_store and overwrite:
        raise ValueError(
            "--overwrite does not fit an output .zarr: the run in it is resumed; "
            "remove the folder to begin anew"
        )
    if layer and not into_store:
        raise ValueError(f"--layer needs an output that ends in .zarr, got {output}")
    if into_store:
        check_folder(output)
        place = nullcontext(output)
    else:
        place = partial_store(check_output(output, overwrite, inputs=paths))
    sides: list[Any] = [feature_layers(path, key, layer, layout) for path in paths]
    if not layer:
        sides = [side[None] for side in sides]
    with place as folder:
        with (
            json_log(log_file) as log,
            progress_bar("pairs", quiet) as bar,
            options.dask_client(workers, cluster) as client,
        ):
            progress = ProgressLog(folder, bar, log)
            compute = partial(
                run,
                *sides,
                store=folder,
                matcher=rule,
                bound=proof,
                center=None if center == "none" else center,
                tile=tile,
                memory_budget=budget,
                cluster=client,
                progress=progress.report,
            )
            with progress.outcome():
                try:
                    result = compute()
                except OtherContentError:
                    # What was left of a run with other options is overwritten too.
                    if into_store or not overwrite:
                        raise
                    shutil.rmtree(folder)
                    result = compute()
        stores = result if isinstance(result, dict) else {None: result}
        store = next(iter(stores.values()))
        fields = {"layers": ", ".join(map(str, stores))} if layer else {}
        sources = [] if layer else [side.source for side in sides]
        fields |= _shapes(store, sources) | {
            "matcher": rule,
            "centering": center,
            "computed in": store.dtype,
            "time": progress.summary(),
        }
        if not into_store:
            made = {"center": center, "seconds": progress.seconds}
            fields |= _write_file(output, overwrite, store, similarity, made, sources)
    if quiet:
        return
    say(f"RSM of {' and '.join(map(str, paths))}")
    say_fields({**fields, "written to": output})
    name = shlex.quote(str(output))
    if into_store:
        say(f"Next: semrsm status {name}")
    elif store.grid.rows == store.grid.columns:
        say(f"Next: semrsm compare {name} ANOTHER_RSM")
    else:
        say(f"Next, in Python: semrsm_jax.store.load_rsm({str(output)!r}).rsm")


def _shapes(store: "RunStore", sources: list[dict[str, Any]]) -> dict[str, object]:
    """The sizes of a run; those of its tokens where it is of one layer of `sources`."""
    grid, manifest = store.grid, store.manifest
    fields: dict[str, object] = {"samples": f"{grid.rows} x {grid.columns}"}
    if sources:  # of the inputs: a run that was made in Python may state none
        sides = [manifest.x] if manifest.y is None else [manifest.x, manifest.y]
        tokens = " and ".join(str(side.shape[1]) for side in sides)
        layouts = ", ".join(source["layout"] for source in sources)
        fields["tokens S"] = f"{tokens} ({layouts})"
        fields["channels C"] = manifest.x.shape[2]
    rows, columns = grid.shape
    fields["tiles"] = f"{rows} x {columns} of {grid.side} x {grid.side}"
    return fields


def _write_file(
    output: Path,
    overwrite: bool,
    store: "RunStore",
    kernel: "Kernel",
    made: dict[str, Any],
    sources: list[dict[str, Any]],
) -> dict[str, object]:
    """Writes the RSM of a finished run into a file; returns what to say of it."""
    from semrsm_jax import RBF
    from semrsm_jax.store import open_similarity, save_rsm, sha256
    from semrsm_jax.store.manifest import described

    # Read as from an output .zarr, so that every output holds the same bits.
    similarity = open_similarity(store.path, kernel)
    rsm, stats = similarity[:], store.statistics(0, store.grid.rows)
    fitted, sigma = similarity.kernel, None
    if isinstance(fitted, RBF):
        sigma = float(fitted.sigma(stats))
    metadata = {
        "matcher": store.manifest.matcher,
        "bound": store.manifest.bound,
        "kernel": described(kernel),
        "sigma": sigma,
        **made,
        "inputs": [{**source, "sha256": sha256(source["file"])} for source in sources],
        "dtype": str(rsm.dtype),
    }
    names = {"x_ids": similarity.x_ids, "y_ids": similarity.y_ids}
    save_rsm(output, rsm, stats, metadata, **names, overwrite=overwrite)
    return {
        "kernel": f"{kernel}" + (f", sigma {sigma:.6g}" if sigma else ""),
        "value / bound": _proven_share(stats, mirrored=store.manifest.y is None),
        "range": f"{float(rsm.min()):.6g} to {float(rsm.max()):.6g}",
    }


def _proven_share(stats: "PairStatistics", mirrored: bool) -> str:
    """How close the matched inner products come to their proven bounds."""
    value, bound = np.asarray(stats.inner), np.asarray(stats.upper_bound)
    counted = bound > 0
    if mirrored and len(value) > 1:
        # A sample matches itself at no effort.
        counted &= ~np.eye(len(value), dtype=bool)
    if not counted.any():
        return "no pair has a bound above 0"
    share = float(np.mean(value[counted] / bound[counted]))
    return f"{share:.6f} on average (1: proven optimal)"
