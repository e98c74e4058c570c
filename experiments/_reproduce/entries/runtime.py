"""Section 4.4, Table 5 and Fig. 5 and 6 on the page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import Any

from experiments._reproduce.entry import Comparison, Document, Entry, Experiment
from experiments._reproduce.paper import (
    MOST_ERROR_4096,
    RUNTIME,
    SPEEDUP_4096,
)
from experiments._reproduce.words import number, significant
from semrsm_jax.cli.console import Report

_Size = Mapping[str, Any]
_NAMES = {"Identity": "no matching", "BatchOptimal(128)": "Batch-Optimal 128"}


@dataclass(frozen=True)
class _Benchmark:
    """The benchmark, which is no `Study`: it runs in processes of its own."""

    @property
    def scales(self) -> Collection[str]:
        """As in `Experiment`."""
        from experiments.runtime.config import SCALES

        return tuple(SCALES)

    def run(
        self,
        scale: str,
        data: Path | None,
        folder: Path,
        report: Report,
        overwrite: bool,
    ) -> None:
        """As in `Experiment`."""
        from experiments.runtime.config import SCALES
        from experiments.runtime.files import conduct

        config = SCALES[scale] if data is None else replace(SCALES[scale], data=data)
        conduct(scale, config, folder, report, overwrite=overwrite)


def _load() -> Experiment:
    return _Benchmark()


def _compare(document: Document) -> list[Comparison]:
    # Of some sections alone where only they were run.
    sections = document["sections"]
    sizes = sections.get("table5", {}).get("sizes", ())
    # Of trained features where there are some.
    first = [size for size in sizes if size["network"] == sizes[0]["network"]]
    return [
        *(c for size in first if size["tokens"] in _PAPER_SIZES for c in _size(size)),
        *_scaling(first),
        *_depth(sections.get("depth", {}).get("layers", ())),
    ]


_PAPER_SIZES = (256, 1024, 4096)


def _size(size: _Size) -> list[Comparison]:
    tokens = size["tokens"]
    quality, spent = (
        {row["matcher"]: row[key] for row in size["matchers"]}
        for key in ("quality", "seconds")
    )
    windows = [q for name, q in quality.items() if name.startswith("BatchOptimal")]
    unmatched = 100 * quality["Identity"]
    window = 100 * quality["BatchOptimal(128)"]
    solvers = {name: 1e3 * t for name, t in size["solver_seconds"].items()}
    peer = size["fastest_peer"]
    paper = {name: column[tokens] for name, column in RUNTIME.items()}
    allowed = MOST_ERROR_4096 if tokens == 4096 else 10
    times = ", ".join(
        f"{name} {significant(solvers[name])}"
        for name in ("OR-Tools", "SciPy", "lapx")
        if name in solvers
    )
    here = f"S = {tokens} tokens"
    return [
        Comparison(
            f"{here}: similarity without matching, of the best possible",
            f"{paper['no matching'].quality} %, below every approximation",
            "Table 5",
            f"{number(unmatched, 1)} %",
            unmatched < 100 * min(windows),
            "these images fit each other as they stand.",
        ),
        Comparison(
            f"{here}: with the cheapest approximation, Batch-Optimal in windows of 128",
            f"{paper['Batch-Optimal 128'].quality} %, less than {allowed} % missing",
            "Table 5, " + ("section 4.4" if tokens == 4096 else "Appendix F"),
            f"{number(window, 1)} %",
            100 - window < allowed,
            "sorting tokens by their norm says less of these features.",
        ),
        Comparison(
            f"{here}: ms a pair, one core, exact",
            f"OR-Tools {paper['OR-Tools'].milliseconds:.4g}, "
            f"SciPy {paper['SciPy'].milliseconds:.4g}, "
            f"lapjv {paper['lapjv'].milliseconds:.4g}",
            "Table 5",
            f"{times}; this package {significant(solvers['ours, batch'])}",
            None,
        ),
        Comparison(
            f"{here}: how many times faster than the fastest exact solver is "
            "Batch-Optimal 128",
            _speedup(tokens),
            "section 4.4" if tokens == 4096 else "Table 5",
            f"{solvers[peer] / (1e3 * spent['BatchOptimal(128)']):.1f} times faster "
            f"than {peer}, {spent['Exact'] / spent['BatchOptimal(128)']:.1f} times "
            "than the exact solver of this package",
            solvers[peer] > 1e3 * spent["BatchOptimal(128)"],
            "the exact solver is as fast here.",
        ),
    ]


def _speedup(tokens: int) -> str:
    if tokens == 4096:
        return f"{SPEEDUP_4096} times"
    solver, window = RUNTIME["OR-Tools"][tokens], RUNTIME["Batch-Optimal 128"][tokens]
    return f"{solver.milliseconds / window.milliseconds:.1f} times"


def _scaling(sizes: Sequence[_Size]) -> list[Comparison]:
    """How the time of Batch-Optimal grows, between the smallest and largest size."""
    at = {
        size["tokens"]: row["seconds"]
        for size in sizes
        for row in size["matchers"]
        if row["matcher"] == "BatchOptimal(128)" and size["tokens"] in _PAPER_SIZES
    }
    if len(at) < 2:
        return []
    small, large = min(at), max(at)
    exponent = log(at[large] / at[small]) / log(large / small)
    column = RUNTIME["Batch-Optimal 128"]
    theirs = column[large].milliseconds / column[small].milliseconds
    expected = log(theirs) / log(large / small)
    return [
        Comparison(
            "the time of Batch-Optimal 128 grows linearly with S, that of exact "
            "solvers with its cube at worst",
            f"as S to the power of {number(expected, 2)}",
            "Table 5",
            f"as S to the power of {number(exponent, 2)}",
            exponent < 1.5,
            "the affinities of windows outweigh their matching at these sizes.",
        )
    ]


def _depth(layers: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    found = []
    for network in dict.fromkeys(layer["network"] for layer in layers):
        here = [layer for layer in layers if layer["network"] == network]
        unmatched = [layer["matchers"]["no matching"] for layer in here]
        missing = [100 * (1 - share["mean"]) for share in unmatched]
        worst = unmatched[0]
        found += [
            Comparison(
                f"{network}: what comparing position by position misses, by depth",
                "30 % on average, more than 40 % where there are many tokens",
                "section 4.4, Fig. 5",
                ", ".join(f"{number(m, 0)} %" for m in missing),
                missing[0] > missing[-1],
                "it does not fall with depth here.",
            ),
            Comparison(
                f"{network}: pairs of images are misaligned to different degrees",
                "shown as a picture",
                "Fig. 6",
                f"in the first stage the middle 90 % of pairs reach "
                f"{number(100 * worst['low'], 0)} to "
                f"{number(100 * worst['high'], 0)} % of their best similarity",
                None,
            ),
        ]
    return found


ENTRY = Entry(
    name="runtime",
    title="What matching costs",
    question="How long does it take to pair the tokens of two pictures in the best "
    "way, and how near do cheaper ways come?",
    load=_load,
    compare=_compare,
    differs={
        "bundled": "Features are of a small ResNet trained here (and of a ResNet18 "
        "with random weights, in the figures and files) on crops of photographs; the "
        "paper has a ResNet101 trained on Tiny-ImageNet. Times are of this machine, "
        "and those of matchers include the affinities that they need, which the paper "
        "had computed beforehand. lapx stands for lapjv.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
        "paper": "ResNet101 is the published one for ImageNet, on images of 256 "
        "pixels, which give the paper's numbers of tokens.",
    },
    captions={
        "": "Time of a pair against the share of the best possible similarity; what no "
        "other method beats in both is joined by a line.",
        "quality": "Share of the best possible similarity by depth: mean, and the "
        "middle 90 % of pairs.",
        "isotropy": "Share of the best possible similarity of each pair of images, "
        "compared position by position: some pairs are misaligned more than others.",
    },
    minutes={"bundled": 4, "smoke": 0.7, "paper": 300},
)
