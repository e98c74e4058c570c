"""The study of `experiments.runtime`."""

from experiments import runtime
from experiments.data.images import IMAGES
from experiments.data.photographs import HELP
from experiments.frame.study import Study
from experiments.runtime.config import SCALES
from experiments.runtime.figures import draw_isotropy, draw_pareto, draw_quality
from experiments.runtime.findings import SECTION, findings, rows, summary
from experiments.runtime.goals import measurements
from experiments.runtime.sections import SECTIONS, run
from experiments.runtime.tables import tables

STUDY = Study(
    name="runtime",
    doc=runtime.__doc__ or "",
    scales=SCALES,
    run=run,
    rows=rows,
    summary=summary,
    findings=findings,
    measurements=measurements,
    details=lambda results: {"sections": results},
    figures={"": draw_pareto, "quality": draw_quality, "isotropy": draw_isotropy},
    show=tables,
    section=SECTION,
    needs={"skimage": "scikit-image", "matplotlib": "matplotlib", "lap": "lapx"},
    data=f"{IMAGES.help} {HELP}",
    parts=tuple(SECTIONS),
    packages=(
        *("semrsm_jax", "jax", "jaxlib", "flax", "numpy", "numba", "scipy"),
        "ortools",
    ),
)
