"""The study of `experiments.retrieval`."""

from experiments import retrieval
from experiments.data.cityscapes import CITYSCAPES
from experiments.data.egoobjects import EGOOBJECTS
from experiments.frame.study import Study
from experiments.retrieval.config import SCALES
from experiments.retrieval.figures import draw_gallery, draw_methods, draw_sizes
from experiments.retrieval.findings import SECTION, findings, rows, summary
from experiments.retrieval.measure import run

STUDY = Study(
    name="retrieval",
    doc=retrieval.__doc__ or "",
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    findings=findings,
    figures={"": draw_methods, "sizes": draw_sizes, "gallery": draw_gallery},
    section=SECTION,
    data=f"For the scales of the paper. {EGOOBJECTS.help} {CITYSCAPES.help}",
    composed=("bundled", "smoke"),
)
