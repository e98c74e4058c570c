"""The study of `experiments.translation`."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from experiments import translation
from experiments.data.images import IMAGES
from experiments.data.photographs import HELP
from experiments.frame.study import Study
from experiments.translation.config import SCALES
from experiments.translation.figures import draw_depth, draw_network
from experiments.translation.findings import SECTION, findings, rows, summary
from experiments.translation.measure import Measured, run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _draw(name: str, networks: Sequence[Measured]) -> "Figure | None":
    """The figure of a network; None where it is not of this scale."""
    for each in networks:
        if name == each.case.name + ("" if each.network.trained else "-random"):
            return draw_network(each)
    return None


STUDY = Study(
    name="translation",
    doc=translation.__doc__ or "",
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    findings=findings,
    figures={
        name: partial(_draw, name) if name else draw_depth for name in SECTION.captions
    },
    section=SECTION,
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=f"{IMAGES.help} {HELP}",
    composed=("bundled", "smoke"),
)
