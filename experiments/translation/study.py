"""The study of `experiments.translation`."""

from functools import partial

from experiments import translation
from experiments.data.images import IMAGES
from experiments.frame.study import Study
from experiments.translation.config import SCALES
from experiments.translation.figures import draw_depth, draw_network
from experiments.translation.findings import SECTION, findings, rows, summary
from experiments.translation.measure import run

# Each of the networks has a figure.
_NETWORKS = ("resnet", "resnet-random", "vit", "vit-random")

STUDY = Study(
    name="translation",
    doc=translation.__doc__ or "",
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    findings=findings,
    figures={
        "": draw_depth,
        **{
            name: partial(lambda number, result: draw_network(result[number]), number)
            for number, name in enumerate(_NETWORKS)
        },
    },
    section=SECTION,
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=IMAGES.help,
)
