"""How matching tokens changes what CKA says of layers and networks, Appendix G.

    python -m experiments.cka                  # minutes, 2 quiet cores
    python -m experiments.cka --scale smoke    # everything tiny, seconds
    python -m experiments.cka --scale paper --data FOLDER

It needs matplotlib and scikit-image, and writes cka.json, .csv and its figures to
results/cka. Of the same tokens of each layer it computes spatio-semantic RSMs (position
by position) and semantic ones (tokens matched), and asks three things. How alike are
both kinds of RSMs of a network (Fig. 15, linear and RBF kernel)? What does CKA between
its layers say by the one kind and by the other (Fig. 16)? And between networks that
differ in their seed or in their depth (Fig. 17)? Differences are semantic less
spatio-semantic; intervals are 95 % and resample images.

CKA is estimated without bias. The paper's estimator (Eq. 1) is biased, and high for few
images of many features whatever the networks do; its values stand in the table too.

Expected of `bundled`: CKA of both kinds of RSMs (linear) is 0.72 to 0.74 in the first
layer of the ResNets and 0.82 to 0.84 in the last, lower in the middle; 0.84 to 0.87 and
0.99 for the transformers. Matching changes CKA between layers by -0.10 to 0.18, on
average by 0.00 to 0.05 without bias. By the paper's estimator CKA across networks falls
by 0.10 and 0.11 for the ResNets, as in the paper, and rises by 0.02 for the
transformers.

`bundled` takes the small networks that come with the repository, on composed scenes.
`paper` takes 1,000 images in RSMs of 250 of CIFAR-100, Tiny-ImageNet and ImageNet and
their ResNets 18, 34 and 101, and `paper-cifar100`, `paper-tiny-imagenet` and
`paper-imagenet` one of them; --help says what FOLDER must hold.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments._cka.compare import (
    ACROSS,
    DIFFERENCE,
    KINDS,
    WITHIN,
    Comparison,
    comparisons,
)
from experiments._cka.config import Architecture, CKAConfig, Part
from experiments._cka.datasets import (
    DATA,
    Cifar100Images,
    ImageNetImages,
    TinyImageNetImages,
)
from experiments._cka.figures import draw_kinds, draw_layers
from experiments._cka.sources import OnDataSet, OnScenes
from experiments._common.intervals import Interval
from experiments._common.session import Session
from experiments._common.study import Study, command
from semrsm_jax._kernels import RBF
from semrsm_jax.matching import Exact

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _seeds(name: str, network: str, count: int = 3) -> Architecture:
    return Architecture(name, tuple(f"{network}-seed{seed}" for seed in range(count)))


_RESNETS = ("ResNet18", "ResNet34", "ResNet101")
_PAPER = {
    "paper-cifar100": Part(
        "CIFAR-100",
        OnDataSet(Cifar100Images()),
        tuple(_seeds(name, f"cifar100/{name.lower()}") for name in _RESNETS),
        across=(("ResNet18", "ResNet101"),),
        samples=1000,
        matcher=Exact(),
    ),
    "paper-tiny-imagenet": Part(
        "Tiny-ImageNet",
        OnDataSet(TinyImageNetImages()),
        tuple(_seeds(name, f"tiny-imagenet/{name.lower()}") for name in _RESNETS),
        samples=1000,
    ),
    "paper-imagenet": Part(
        "ImageNet",
        OnDataSet(ImageNetImages(), public=True),
        tuple(
            Architecture(name, (f"microsoft/resnet-{name.removeprefix('ResNet')}",))
            for name in _RESNETS
        ),
        across=(("ResNet18", "ResNet34"), ("ResNet18", "ResNet101")),
        samples=1000,
    ),
}
SCALES = {
    "bundled": CKAConfig(
        (
            Part(
                "scenes",
                OnScenes(),
                (
                    Architecture(
                        "resnet-10", ("resnet-10", "resnet-10-seed1", "resnet-10-seed2")
                    ),
                    Architecture("resnet-18", ("resnet-18",)),
                    Architecture("vit-2", ("vit-2",)),
                    Architecture("vit-4", ("vit-4", "vit-4-seed1", "vit-4-seed2")),
                ),
                across=(("resnet-10", "resnet-18"), ("vit-2", "vit-4")),
                samples=120,
                batch=120,
            ),
        )
    ),
    "smoke": CKAConfig(
        (
            Part(
                "scenes",
                OnScenes(),
                (
                    Architecture("resnet-10", ("resnet-10", "resnet-10-seed1")),
                    Architecture("vit-2", ("vit-2",)),
                ),
                across=(("resnet-10", "vit-2"),),
                samples=16,
                batch=8,
                matcher=Exact(tolerance=1e-2),
            ),
        ),
        resamples=20,
    ),
    "paper": CKAConfig(tuple(_PAPER.values()), rbf=RBF("official")),
    **{name: CKAConfig((part,), rbf=RBF("official")) for name, part in _PAPER.items()},
}


class Result(NamedTuple):
    """What was compared."""

    config: CKAConfig
    comparisons: list[Comparison]


def run(config: CKAConfig, session: Session = Session()) -> Result:
    """Makes all comparisons."""
    return Result(config, comparisons(config, session))


def rows(result: Result) -> list[dict[str, Any]]:
    """A row for each cell of each matrix."""
    table = []
    for each in result.comparisons:
        for kind, estimates in each.cka.items():
            for (row, column), value in np.ndenumerate(estimates["unbiased"]):
                table.append(
                    {
                        "images": each.part,
                        "comparison": each.what,
                        "network": each.titles[0],
                        "other network": each.titles[1],
                        "averaged over": len(each.networks),
                        "kernel": each.kernel,
                        "RSMs": kind,
                        "accuracy": each.accuracy[0],
                        "other accuracy": each.accuracy[1],
                        "layer": each.rows[row],
                        "other layer": each.columns[column],
                        "tokens": each.tokens[0][row],
                        "other tokens": each.tokens[1][column],
                        "CKA": float(value),
                        "CKA, biased": float(estimates["biased"][row, column]),
                    }
                )
    return table


def summary(result: Result) -> dict[str, Any]:
    """First and last layers of both kinds of RSMs, and what changes in CKA."""
    found: dict[str, Any] = {}
    for each in result.comparisons:
        title = f"{each.part}, {' with '.join(dict.fromkeys(each.titles))}"
        if each.what == KINDS:
            intervals = list(each.intervals[each.networks[0]].values())
            what = f"{title}, {each.kernel}: CKA of both kinds of RSMs"
            found[f"{what}, first layer"] = intervals[0]
            found[f"{what}, last layer"] = intervals[-1]
            continue
        what = f"{title}: change of CKA {_WHERE[each.what]} by matching"
        change = _changes(each, "unbiased")
        found[f"{what}, mean"] = float(change.mean())
        found[f"{what}, smallest"] = float(change.min())
        found[f"{what}, largest"] = float(change.max())
        found[f"{what}, mean, biased estimator"] = float(
            _changes(each, "biased").mean()
        )
        found |= _ends(what, each)
    return found


_WHERE = {WITHIN: "between layers", ACROSS: "across networks"}


def _changes(each: Comparison, estimator: str) -> np.ndarray:
    """The differences of all cells that matching may change."""
    change = each.cka[DIFFERENCE][estimator]
    if each.what == ACROSS:
        return change.ravel()
    # A layer is always like itself.
    return change[~np.eye(len(change), dtype=bool)]


def _ends(what: str, each: Comparison) -> dict[str, Interval]:
    """Of the first networks, at the first and the last of their layers."""
    intervals = list(each.intervals[each.networks[0]].items())
    if not intervals:
        return {}
    return {
        f"{what}, {place} {_PLACES[each.what]}": interval
        for place, (_, interval) in (
            ("first", intervals[0]),
            ("last", intervals[-1]),
        )
    }


_PLACES = {WITHIN: "two layers", ACROSS: "layer"}


def _drawer(what: str) -> "Callable[[Result], Figure]":
    draw = draw_kinds if what == KINDS else draw_layers
    return lambda result: draw([c for c in result.comparisons if c.what == what])


STUDY = Study(
    name="cka",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={
        "": _drawer(KINDS),
        "within": _drawer(WITHIN),
        "across": _drawer(ACROSS),
    },
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=DATA.help,
)
app = command(STUDY)

if __name__ == "__main__":
    app()
