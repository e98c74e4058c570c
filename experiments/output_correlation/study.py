"""The study of `experiments.output_correlation`."""

from functools import partial

from experiments import output_correlation
from experiments.data.imagenet import IMAGENET
from experiments.data.photographs import HELP
from experiments.frame.study import Study
from experiments.output_correlation.config import SCALES
from experiments.output_correlation.figures import draw_correlations, draw_pairs
from experiments.output_correlation.findings import SECTION, findings, rows, summary
from experiments.output_correlation.measure import run

STUDY = Study(
    name="output_correlation",
    doc=output_correlation.__doc__ or "",
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    findings=findings,
    figures={
        "": partial(draw_correlations, metric="pearson"),
        "spearman": partial(draw_correlations, metric="spearman"),
        "pairs": partial(draw_pairs, kernel="cosine"),
    },
    section=SECTION,
    needs={"matplotlib": "matplotlib", "skimage": "scikit-image"},
    data=f"{IMAGENET.help} {HELP}",
    composed=("bundled", "smoke"),
)
