"""``semrsm rsm``: features in, a representational similarity matrix out."""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semrsm_jax.cli import _options as options
from semrsm_jax.cli._console import progress_bar, say, say_fields
from semrsm_jax.cli._inputs import centered, load_tokens
from semrsm_jax.cli._options import CenterName, KernelName, MatcherName

if TYPE_CHECKING:
    from semrsm_jax import PairStatistics

NAME = "rsm"
HELP = """Compute the RSM of a file of features, or between two files.

Entry (i, j) says how similar samples i and j are once their tokens are matched. Features have shape (N, H, W, C) or (N, S, C); other orders need --layout.

Example: semrsm rsm features.npy -o rsm.npz --matcher exact --kernel cosine

An output .npy holds the matrix alone. .npz and .safetensors hold rsm (N, M); inner, sq_dist and upper_bound (N, M); x_sq_norm (N) and y_sq_norm (M); and, as JSON, the metadata: settings, inputs with their SHA-256, and versions.

Features of 64 bits are computed in float32, unless the environment variable JAX_ENABLE_X64 is 1."""  # noqa: E501 (lines are wrapped when shown)


def command(
    features: Annotated[Path, options.features_argument("FEATURES")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="Where to write the RSM: .npz, .safetensors or .npy.",
        ),
    ],
    other: Annotated[
        Path | None,
        options.features_argument("OTHER", "Features for the RSM's columns."),
    ] = None,
    matcher: options.Matching = MatcherName.Exact,
    kernel: Annotated[
        KernelName,
        typer.Option(
            case_sensitive=False, help="The similarity of matched representations."
        ),
    ] = KernelName.Linear,
    bandwidth: Annotated[
        str | None,
        typer.Option(
            help="Of rbf: sigma, or a rule: median, official, paper. Default: median."
        ),
    ] = None,
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
    window: options.Window = None,
    sweeps: options.Sweeps = None,
    floor: options.Floor = None,
    k: options.K = None,
    grid: options.Grid = None,
    tolerance: options.Tolerance = None,
    solver: options.Solver = None,
    bound: options.Bound = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory of the pairs in flight, such as 512MB. Default: what keeps "
            "the cache and cores busy.",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Checks all input, computes, writes, and says what came out."""
    from semrsm_jax import RBF, pair_statistics
    from semrsm_jax.store import check_output, save_rsm

    settings = {"window": window, "sweeps": sweeps, "k": k, "grid": grid}
    settings |= {"floor": floor, "tolerance": tolerance, "solver": solver}
    rule = options.build_matcher(matcher, settings)
    proof = options.build_bound(bound)
    similarity = options.build_kernel(kernel, bandwidth)
    budget = options.parse_bytes("--memory-budget", memory_budget)
    inputs = [features] if other is None else [features, other]
    check_output(output, overwrite, inputs=inputs)
    x, source = load_tokens(features, key, layout)
    sources, y = [source], None
    if other is not None:
        y, source = load_tokens(other, key, layout)
        sources.append(source)
    x, y = centered(x, y, center)

    start = time.perf_counter()
    chunks: list[tuple[float, int]] = []
    with progress_bar("pairs", quiet) as report:
        report("Compiling, first pairs", 0, None)

        def progress(done: int, total: int) -> None:
            chunks.append((time.perf_counter(), done))
            report("Matching pairs", done, total)

        stats = pair_statistics(
            x, y, rule, bound=proof, memory_budget=budget, progress=progress
        )
        rsm = similarity(stats)
        rsm.block_until_ready()
        sigma = float(similarity.sigma(stats)) if isinstance(similarity, RBF) else None
    seconds = time.perf_counter() - start
    metadata = {
        "matcher": _described(rule),
        "bound": None if proof is None else _described(proof),
        "kernel": _described(similarity),
        "sigma": sigma,
        "center": center.value,
        "inputs": sources,
        "dtype": str(rsm.dtype),
        "seconds": seconds,
    }
    save_rsm(output, rsm, stats, metadata, overwrite=overwrite)
    if quiet:
        return
    tokens = f"{x.shape[1]}" if y is None else f"{x.shape[1]} and {y.shape[1]}"
    say(f"RSM of {' and '.join(map(str, inputs))}")
    say_fields(
        {
            "samples": f"{rsm.shape[0]} x {rsm.shape[1]}",
            "tokens S": f"{tokens} ({', '.join(s['layout'] for s in sources)})",
            "channels C": x.shape[2],
            "matcher": rule,
            "kernel": f"{similarity}" + (f", sigma {sigma:.6g}" if sigma else ""),
            "centering": center.value,
            "computed in": f"{rsm.dtype}",
            "time": f"{seconds:.2f} s: {_rate(start, chunks)}",
            "value / bound": _proven_share(stats, mirrored=y is None),
            "range": f"{float(rsm.min()):.6g} to {float(rsm.max()):.6g}",
            "written to": output,
        }
    )
    say(_next_step(output, square=rsm.shape[0] == rsm.shape[1]))


def _described(settings: Any) -> dict[str, Any]:
    return {"name": type(settings).__name__, **dataclasses.asdict(settings)}


def _rate(start: float, chunks: list[tuple[float, int]]) -> str:
    """Pairs a second; the first chunk is left out where it can be, as it compiles."""
    if not chunks:
        return "nothing to match"
    (first_time, first), (last_time, last) = chunks[0], chunks[-1]
    if last > first:
        rate, what = (last - first) / (last_time - first_time), "once compiled"
    else:
        rate, what = last / (last_time - start), "with compilation"
    return f"{last:,} pairs matched, {rate:,.0f} pairs/s {what}"


def _proven_share(stats: "PairStatistics", mirrored: bool) -> str:
    """How close the matched inner products come to what is proven possible."""
    import numpy as np

    value, bound = np.asarray(stats.inner), np.asarray(stats.upper_bound)
    counted = bound > 0
    if mirrored and len(value) > 1:
        # A sample with itself is no achievement.
        counted &= ~np.eye(len(value), dtype=bool)
    if not counted.any():
        return "no pair has a bound above 0"
    share = float(np.mean(value[counted] / bound[counted]))
    return f"{share:.6f} on average (1: proven optimal)"


def _next_step(output: Path, square: bool) -> str:
    name = shlex.quote(str(output))
    if square:
        return f"Next: semrsm compare {name} ANOTHER_RSM"
    return f"Next, in Python: semrsm_jax.store.load_rsm({str(output)!r}).rsm"
