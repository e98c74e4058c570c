"""What the benchmark found: the rows of Table 5, and the paper's claims."""

from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any

from experiments.frame.finding import (
    Finding,
    Number,
    Quantity,
    Section,
    grouped,
    verdict,
)
from experiments.runtime.depth import UNMATCHED
from experiments.runtime.paper import MOST_ERROR_4096, SIZES, SPEEDUP_4096, TABLE_5
from experiments.runtime.sections import Results
from experiments.runtime.table5 import BATCH

_Entry = Mapping[str, Any]
_WINDOW = "BatchOptimal(128)"


def rows(results: Results) -> list[dict[str, Any]]:
    """Table 5, a row a method: times of solvers are without that of the affinity."""
    table = []
    for size in _sizes(results):
        where = {key: size[key] for key in ("network", "tokens", "channels", "pairs")}
        methods = [
            *((m, "affinity", t, 1.0) for m, t in size["solver_seconds"].items()),
            *(
                (row["matcher"], "tokens", row["seconds"], row["quality"])
                for row in size["matchers"]
            ),
        ]
        for method, given, seconds, quality in methods:
            cost = {"milliseconds": 1e3 * seconds, "percent_of_optimum": 100 * quality}
            table.append({**where, "method": method, "given": given, **cost})
    return table


def summary(results: Results) -> dict[str, float]:
    """Of Table 5: time of ours and of the fastest peer, quality without matching."""
    entries: dict[str, float] = {}
    for size in _sizes(results):
        where, times = f"S={size['tokens']}, {size['network']}", size["solver_seconds"]
        peer = size["fastest_peer"]
        entries[f"{where}: exact, ms a pair"] = 1e3 * times[BATCH]
        entries[f"{where}: {peer}, ms a pair"] = 1e3 * times[peer]
        unmatched = _by_matcher(size, "quality")["Identity"]
        entries[f"{where}: share of the optimum, {UNMATCHED}"] = unmatched
    return entries


def _sizes(results: Results) -> Sequence[_Entry]:
    return results.get("table5", {}).get("sizes", ())


def _by_matcher(size: _Entry, field: str) -> dict[str, float]:
    return {row["matcher"]: row[field] for row in size["matchers"]}


def findings(results: Results) -> Iterator[Finding]:
    """The claims of section 4.4, of the sections that ran."""
    sizes = _sizes(results)
    # Of trained features where there are some.
    first = [size for size in sizes if size["network"] == sizes[0]["network"]]
    for size in first:
        if size["tokens"] in SIZES:
            yield from _of_size(size)
    yield from _growth(first)
    layers = results.get("depth", {}).get("layers", ())
    for network, own in grouped(layers, lambda layer: layer["network"]).items():
        yield from _of_depth(network, own)
    if sizes:
        busy = results["table5"]["busy"]
        yield Finding(
            "share of its core that the measuring of times had: below 95 % something "
            "else was running, and times and their ratios are rough",
            "",
            (Quantity("not reported"),),
            (Quantity("", [100 * busy], "%", 0),),
        )


def _of_size(size: _Entry) -> Iterator[Finding]:
    tokens, peer = size["tokens"], size["fastest_peer"]
    quality, seconds = (_by_matcher(size, key) for key in ("quality", "seconds"))
    unmatched, window = (100 * quality[name] for name in ("Identity", _WINDOW))
    windows = [100 * q for name, q in quality.items() if name.startswith("Batch")]
    solvers = {name: 1e3 * t for name, t in size["solver_seconds"].items()}
    spent, exact = (1e3 * seconds[name] for name in (_WINDOW, "Exact"))
    paper = {name: column[tokens] for name, column in TABLE_5.items()}
    window_paper = paper["Batch-Optimal 128"]
    allowed = MOST_ERROR_4096 if tokens == 4096 else 10
    speedup = Quantity("", [SPEEDUP_4096], "times", 0)
    if tokens != 4096:
        fastest = paper["OR-Tools"].milliseconds
        speedup = Quantity("", [fastest / window_paper.milliseconds], "times", 1)
    where = f"S = {tokens} tokens"
    yield Finding(
        f"{where}: similarity without matching, of the best possible",
        "Table 5",
        (
            Quantity("", [paper[UNMATCHED].quality], "%", 1),
            Quantity("below every approximation"),
        ),
        (Quantity("", [unmatched], "%", 1),),
        verdict(unmatched < min(windows)),
        "these images fit each other as they stand.",
    )
    yield Finding(
        f"{where}: with the cheapest approximation, Batch-Optimal in windows of 128",
        f"Table 5, {'section 4.4' if tokens == 4096 else 'Appendix F'}",
        (
            Quantity("", [window_paper.quality], "%", 1),
            Quantity("less than", [allowed], "% missing", 0),
        ),
        (Quantity("", [window], "%", 1),),
        verdict(100 - window < allowed),
        "the order of tokens by norm tells less about these features.",
    )
    yield Finding(
        f"{where}: ms a pair, one core, exact",
        "Table 5",
        tuple(
            Quantity(name, [paper[name].milliseconds], digits=None)
            for name in ("OR-Tools", "SciPy", "lapjv")
        ),
        (
            *(
                Quantity(name, [solvers[name]], digits=None)
                for name in ("OR-Tools", "SciPy", "lapx")
                if name in solvers
            ),
            Quantity("this package", [solvers[BATCH]], digits=None),
        ),
    )
    yield Finding(
        f"{where}: how many times faster than the fastest exact solver is "
        "Batch-Optimal 128",
        "section 4.4" if tokens == 4096 else "Table 5",
        (speedup,),
        (
            Quantity("", [solvers[peer] / spent], f"times faster than {peer}", 1),
            Quantity("", [exact / spent], "times than this package's exact solver", 1),
        ),
        verdict(solvers[peer] > spent),
        "the exact solver is as fast here.",
    )


def _growth(sizes: Sequence[_Entry]) -> Iterator[Finding]:
    """How the time of Batch-Optimal grows, between the smallest and largest size."""
    seconds = {
        size["tokens"]: _by_matcher(size, "seconds")[_WINDOW]
        for size in sizes
        if size["tokens"] in SIZES
    }
    if len(seconds) < 2:
        return
    small, large = min(seconds), max(seconds)
    paper = {s: TABLE_5["Batch-Optimal 128"][s].milliseconds for s in (small, large)}
    ours, theirs = (
        log(times[large] / times[small]) / log(large / small)
        for times in (seconds, paper)
    )
    yield Finding(
        "the time of Batch-Optimal 128 grows linearly with S, that of exact solvers "
        "with its cube at worst",
        "Table 5",
        (Quantity("as S to the power of", [theirs], digits=2),),
        (Quantity("as S to the power of", [ours], digits=2),),
        verdict(ours < 1.5),
        "the affinities of windows outweigh their matching at these sizes.",
    )


def _of_depth(network: str, layers: Sequence[_Entry]) -> Iterator[Finding]:
    shares = [layer["matchers"][UNMATCHED] for layer in layers]
    missing = [100 * (1 - share["mean"]) for share in shares]
    yield Finding(
        f"{network}: share that comparing position by position misses, by depth",
        "section 4.4, Fig. 5",
        (
            Quantity("on average", [30], "%", 0),
            Quantity("more than", [40], "% where there are many tokens", 0),
        ),
        (Quantity("", missing, "%", 0),),
        verdict(missing[0] > missing[-1]),
        "it does not fall with depth here.",
    )
    yield Finding(
        f"{network}: pairs of images are misaligned to different degrees",
        "section 4.4, Fig. 6",
        (Quantity("shown as a picture"),),
        (
            Quantity(
                "in the first stage, share of the best similarity: mean and middle "
                "90 % of pairs",
                [Number(*(100 * shares[0][key] for key in ("mean", "low", "high")))],
                "%",
                0,
            ),
        ),
    )


SECTION = Section(
    title="What matching costs",
    question="How long does it take to pair the tokens of two pictures in the best "
    "way, and how near do cheaper ways come?",
    differs={
        "bundled": "Features are of a small ResNet trained here (and of a ResNet18 "
        "with random weights, in the figures and files) on crops of photographs; the "
        "paper has a ResNet101 trained on Tiny-ImageNet. Times are of this machine, "
        "and those of matchers include the affinities that they need, which the paper "
        "had computed beforehand. lapx stands for lapjv.",
        "smoke": "Everything is tiny: the numbers mean nothing.",
        "pretrained": "Features are of EfficientNet-Lite0 as ImageNet trained it, on "
        "crops of photographs of 256 pixels, whose tokens are as many as the paper's "
        "but have fewer channels; the paper has a ResNet101 trained on Tiny-ImageNet. "
        "Times are of this machine, and those of matchers include the affinities that "
        "they need. SciPy and lapx (which stands for lapjv), about a minute a matrix, "
        "are not timed at the largest size.",
        "paper": "ResNet101 is the published one for ImageNet, on images of 256 "
        "pixels, which give the paper's numbers of tokens.",
    },
    captions={
        "": "Time of a pair against the share of the best possible similarity; methods "
        "that no other beats in both are joined by a line.",
        "quality": "Share of the best possible similarity by depth: mean, and the "
        "middle 90 % of pairs.",
        "isotropy": "Share of the best possible similarity of each pair of images, "
        "compared position by position: some pairs are misaligned more than others.",
    },
    minutes={"bundled": 4, "smoke": 0.7, "pretrained": 2.5, "paper": 300},
)
