"""The study of `experiments.cka`."""

from experiments import cka
from experiments.cka.compare import ACROSS, KINDS, WITHIN, comparisons
from experiments.cka.config import SCALES
from experiments.cka.datasets import DATA
from experiments.cka.figures import draw_kinds, draw_layers
from experiments.cka.findings import SECTION, findings, rows, summary
from experiments.data.photographs import HELP
from experiments.frame.study import Study

STUDY = Study(
    name="cka",
    doc=cka.__doc__ or "",
    scales=SCALES,
    run=comparisons,
    rows=rows,
    summary=summary,
    findings=findings,
    figures={
        "": lambda result: draw_kinds([c for c in result if c.what == KINDS]),
        "within": lambda result: draw_layers([c for c in result if c.what == WITHIN]),
        "across": lambda result: draw_layers([c for c in result if c.what == ACROSS]),
    },
    section=SECTION,
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=f"{DATA.help} {HELP}",
    composed=("bundled", "smoke"),
)
