"""``semrsm rsm`` into a file: everything in memory, the RSM at the end."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semrsm_jax.cli._inputs import centered, load_tokens
from semrsm_jax.cli.console import progress_bar, say, say_fields
from semrsm_jax.cli.options import CenterName, LayoutName

if TYPE_CHECKING:
    from semrsm_jax import Kernel, Matcher, PairStatistics
    from semrsm_jax.matching.base import Bound


def write_file(
    inputs: Sequence[Path],
    output: Path,
    rule: "Matcher",
    proof: "Bound | None",
    similarity: "Kernel",
    *,
    center: CenterName,
    layout: LayoutName | None,
    key: str | None,
    budget: int | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Checks all input, computes, writes, and says what came out."""
    from semrsm_jax import RBF, pair_statistics
    from semrsm_jax.store import check_output, save_rsm
    from semrsm_jax.store.manifest import described

    check_output(output, overwrite, inputs=inputs)
    x, source = load_tokens(inputs[0], key, layout)
    sources, y = [source], None
    if len(inputs) == 2:
        y, source = load_tokens(inputs[1], key, layout)
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
        "matcher": described(rule),
        "bound": None if proof is None else described(proof),
        "kernel": described(similarity),
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
