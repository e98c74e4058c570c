"""Retrieval: are images that show the same things found better by semantic RSMs?

    python -m experiments.retrieval                  # minutes, 2 quiet cores
    python -m experiments.retrieval --scale smoke    # everything tiny, seconds
    python -m experiments.retrieval --scale paper --data EgoObjects
    python -m experiments.retrieval --scale paper-cityscapes --data cityscapes

It needs matplotlib, scikit-image and scikit-learn, and writes retrieval.json, .csv and
its figures to results/retrieval. Every query is compared with every image of a
database, by three kernels, with permutation invariance (tokens matched) and without
(tokens at the same place compared), after the database's mean token is subtracted.
F1@1 says how well the most similar image shows what the query shows: instances of each
class that both have, against those that one of them lacks (Eq. 9-12). IoU is of the
classes that are there (Appendix D.4). The gain is the paired difference; its 95 %
interval resamples the scenes that the queries show. The database stays as it was drawn.

Two protocols: the paper's leaves out images of the query's own video, and may retrieve
others of the same scene; the harder one leaves out the whole scene. Classical global
descriptors of the same features stand beside: average pooling, PCA-whitened pooling and
VLAD, compared by cosine.

    bundled            scenes composed of photographs' parts and digits, 4 views each;
                       300 queries, 900 images; two networks trained here on such
                       scenes, at the last hidden layer and at an earlier one
    paper              section 4.2: 2,000 frames of EgoObjects, looked up in 2,500,
                       5,000 and 10,000; five networks with their public checkpoints
    paper-cityscapes   Appendix D.4: 500 validation images, looked up in 2,975

Expected of `bundled`, at the last hidden layer and 450 images: F1@1 gains 0.07 [0.05,
0.09] by cosine and 0.08 [0.05, 0.11] by RBF for the ResNet, 0.05 [0.00, 0.09] and 0.06
[0.02, 0.11] for the transformer, 0.04 [0.00, 0.08] by inner product; for the ResNet
that gains nothing, -0.00 [-0.03, 0.02]: 1 % of the images answer 16 % of its queries.
Over all layers 8 of 12 gains have an interval above zero, and none below.

At `paper` scale features and matchings go to the disk as they are computed, and are
resumed; --cluster matches on many machines. SAM's 4,096 tokens take most of the time.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from experiments._common.intervals import Interval
from experiments._common.session import Session
from experiments._common.study import Study, command
from experiments._retrieval.config import Collection, RetrievalConfig
from experiments._retrieval.datasets import Cityscapes, EgoObjects
from experiments._retrieval.figures import draw_gallery, draw_methods, draw_sizes
from experiments._retrieval.neighbors import (
    KERNELS,
    WITH,
    WITHOUT,
    Found,
    Key,
    find,
)
from experiments._retrieval.scenes import Scenes
from experiments._retrieval.scores import (
    GAIN,
    HUBS,
    LEAD,
    Score,
    hub_share,
    score,
    select,
)
from experiments.data.cityscapes import CITYSCAPES
from experiments.data.egoobjects import EGOOBJECTS
from semrsm_jax.matching import BatchOptimal

# The paper's feature extractors, in the order of Table 2.
_EXTRACTORS = ("clipseg-rd64", "dinov2-giant", "bit-50", "clip-b32", "sam-b")
# Exact up to 512 tokens; SAM alone has more.
_MATCHER = BatchOptimal(window=512)

# Tried for `bundled`: nothing else. Scenes, sizes, networks and layers were chosen
# before the first run.
SCALES = {
    "bundled": RetrievalConfig(Scenes(), networks=("resnet-10", "vit-4")),
    "smoke": RetrievalConfig(
        Scenes(scenes=8, views=3, depths=(-1,)),
        networks=("resnet-10",),
        queries=6,
        sizes=(6, 12),
        k=2,
        resamples=100,
        shown=2,
    ),
    "paper": RetrievalConfig(
        EgoObjects(),
        networks=_EXTRACTORS,
        queries=2000,
        sizes=(2500, 5000, 10000),
        matcher=_MATCHER,
    ),
    "paper-cityscapes": RetrievalConfig(
        Cityscapes(),
        networks=_EXTRACTORS,
        queries=500,
        sizes=(2975,),
        matcher=_MATCHER,
    ),
}


class Result(NamedTuple):
    """What was looked up in what, what was found, and how good it is."""

    config: RetrievalConfig
    collection: Collection
    found: Mapping[str, Found]
    scores: list[Score]


def run(config: RetrievalConfig, session: Session = Session()) -> Result:
    """Finds the neighbours by every network and method, and scores them."""
    collection = config.source.collect(config, session)
    found = {
        network: find(config, collection, network, session)
        for network in config.networks
    }
    session.report("Intervals", 0, None)
    return Result(config, collection, found, score(config, collection, found))


_CELL = (
    "network",
    "layer",
    "tokens",
    "method",
    "protocol",
    "database",
    "measure",
    "k",
)


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each method, protocol, database and measure, as Table 2 has them."""
    cells: dict[tuple[Any, ...], dict[str, Interval]] = {}
    for entry in result.scores:
        cell = tuple(getattr(entry, name) for name in _CELL)
        cells.setdefault(cell, {})[entry.quantity] = entry.interval
    return [
        dict(zip(_CELL, cell, strict=True))
        | {
            f"{quantity}{end}": getattr(found.get(quantity), limit, None)
            for quantity in (WITHOUT, WITH, GAIN, LEAD)
            for end, limit in (("", "value"), (", low", "low"), (", high", "high"))
        }
        for cell, found in cells.items()
    ]


def summary(result: Result) -> dict[str, Any]:
    """The paper's question at its database, and how often the answer was yes."""
    config, (first, *_) = result.config, result.scores
    size = config.sizes[len(config.sizes) // 2]
    at = select(result.scores, database=size, k=1)
    of_first = select(at, measure=first.measure, protocol=first.protocol)
    found: dict[str, Any] = {"images": result.collection.title, "database": size}
    for network, of_network in result.found.items():
        layer = next(iter(of_network.tokens))
        here = select(of_first, network=network, layer=layer)
        for method in KERNELS:
            for quantity in (WITHOUT, WITH, GAIN):
                (entry,) = select(here, method=method, quantity=quantity)
                name = f"{first.measure}@1, {network}, {method}: {quantity}"
                found[name] = entry.interval
            for how in (WITHOUT, WITH):
                key = Key(layer, method, how, first.protocol, size)
                share = hub_share(of_network.index[key], size)
                found[f"{network}, {method}: {HUBS}, {how}"] = share
        for method, _ in config.baselines:
            (entry,) = select(here, method=method, quantity=LEAD)
            found[f"{first.measure}@1, {network}: {LEAD} over {method}"] = (
                entry.interval
            )
    for measure, protocol in product(
        result.collection.measures, result.collection.protocols
    ):
        gains = select(at, measure=measure, protocol=protocol, quantity=GAIN)
        above = sum(entry.interval.low > 0 for entry in gains)
        below = sum(entry.interval.high < 0 for entry in gains)
        found[f"gains with an interval above 0, {measure}, {protocol}"] = (
            f"{above} of {len(gains)}, {below} below 0"
        )
    return found


STUDY = Study(
    name="retrieval",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={
        "": lambda result: draw_methods(result.config, result.scores),
        "sizes": lambda result: draw_sizes(result.config, result.scores),
        "gallery": lambda result: draw_gallery(
            result.config, result.collection, result.found
        ),
    },
    data=f"For the scales of the paper. {EGOOBJECTS.help} {CITYSCAPES.help}",
)
app = command(STUDY)

if __name__ == "__main__":
    app()
