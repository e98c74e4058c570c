"""Distillation by semantic and by spatio-semantic CKA: what does a student learn?

    python -m experiments.soft.distill                  # minutes, 2 quiet cores
    python -m experiments.soft.distill --scale smoke    # everything tiny, seconds

It needs matplotlib and scikit-learn, and writes soft_distill.json, .csv and .png to
results/soft_distill. A teacher learns to tell scikit-learn's handwritten digits apart,
anywhere in a small image. Two students then see scenes of three digits each, and
nothing but the teacher's tokens of them: one is trained with `semantic_cka_loss`, its
tokens and the teacher's matched softly, the other with the same loss position by
position. Weights at the start, batches, steps and learning rate are the same.

What is asked of both, on scenes of digits that no network was trained on: which three
digits a linear read-out of the mean token finds, and how many of its digits a scene
shares with the one most similar to it, when the digits stay and when all of them have
moved. Intervals are Student's, over seeds; the difference is paired.

Expected, 8 seeds: the student of the semantic loss knows more. Its linear read-out
finds 0.68 of the digits against 0.58, difference 0.10 [0.05, 0.15], and 0.53 against
0.46 after a shift by a token, difference 0.07 [0.04, 0.10]; semantic retrieval is
better by 0.07 [0.04, 0.10] and 0.05 [0.03, 0.07]. What the shift costs does not differ:
the difference of the drops, 0.03 [-0.02, 0.07], includes 0. A shift by half a token
leaves both students near chance (0.3), and the teacher not far above it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.frame.command_line import command
from experiments.frame.figures import (
    draw_intervals,
    draw_legend,
    draw_line,
    styled_figure,
)
from experiments.frame.finding import Number, mean_number
from experiments.frame.session import Session
from experiments.frame.study import Study
from experiments.soft.distillation import DistillConfig, Trial, distill

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCALES = {
    "bundled": DistillConfig(),
    "smoke": DistillConfig(
        seeds=2,
        scenes=64,
        test_scenes=8,
        teacher_channels=16,
        teacher_steps=10,
        student_channels=8,
        steps=4,
        batch=8,
        shifts=(0, 8),
    ),
}
NETWORKS = ("semantic", "spatio-semantic", "teacher")


class Result(NamedTuple):
    """Every network of every seed."""

    config: DistillConfig
    trials: list[Trial]


def run(config: DistillConfig, session: Session = Session()) -> Result:
    """Trains and tests all networks."""
    return Result(config, distill(config, session.report))


def rows(result: Result) -> list[dict[str, Any]]:
    """One row for each score of each network."""
    return [
        {
            "network": trial.network,
            "seed": trial.seed,
            "measure": measure,
            "shift": shift,
            "score": score,
        }
        for trial in result.trials
        for measure, scores in trial.scores.items()
        for shift, score in zip(result.config.shifts, scores, strict=True)
    ]


def summary(result: Result) -> dict[str, Number]:
    """Both students and their difference, unshifted and moved farthest."""
    first, last = 0, len(result.config.shifts) - 1
    entries = {}
    for measure, scores in scores_by_network(result).items():
        for index in (first, last):
            ours, theirs = (scores[name][:, index] for name in NETWORKS[:2])
            where = f"{measure}, shift {result.config.shifts[index]} px"
            entries[f"{where}: semantic"] = mean_number(ours)
            entries[f"{where}: spatio-semantic"] = mean_number(theirs)
            entries[f"{where}: difference"] = mean_number(ours - theirs)
        drops = [scores[n][:, first] - scores[n][:, last] for n in NETWORKS[:2]]
        entries[f"{measure}: drop by the shift, difference"] = mean_number(
            drops[0] - drops[1]
        )
    return entries


def scores_by_network(result: Result) -> dict[str, dict[str, np.ndarray]]:
    """Name of each measure -> of each network -> its scores (seeds, shifts)."""
    return {
        measure: {
            name: np.array(
                [t.scores[measure] for t in result.trials if t.network == name]
            )
            for name in NETWORKS
        }
        for measure in result.trials[0].scores
    }


def draw(result: Result) -> "Figure":
    """The scores of all networks against the shift, a panel a measure."""
    scores = scores_by_network(result)
    shown = [name for name in scores if not name.startswith("own")]
    with styled_figure((2.3 * len(shown) + 0.3, 2.6)) as figure:
        panels = figure.subplots(1, len(shown), sharey=True)
        for ax, measure in zip(panels, shown, strict=True):
            _draw_scores(ax, result.config, scores[measure])
            ax.set_title(measure)
        panels[0].set_ylabel("share of the digits found")
        draw_legend(figure, panels[0], place="lower", ncols=4)
    return figure


def _draw_scores(
    ax: "Axes", config: DistillConfig, scores: Mapping[str, np.ndarray]
) -> None:
    labels = ("student, semantic loss", "student, spatio-semantic loss", "teacher")
    for k, (name, label) in enumerate(zip(NETWORKS, labels, strict=True)):
        intervals = [mean_number(column) for column in scores[name].T]
        # Beside each other, so that their bars do not cover each other.
        shifts = np.array(config.shifts) + (k - 1) * 0.12
        line = "--" if name == "teacher" else "-"
        draw_intervals(ax, shifts, intervals, k, label, line)
    chance = config.objects / 10
    draw_line(ax, chance, label="chance")
    ax.set(xlabel="shift (pixels)", xticks=config.shifts)


STUDY = Study(
    name="soft_distill",
    doc=__doc__ or "",
    scales=SCALES,
    run=run,
    summary=summary,
    rows=rows,
    figures={"": draw},
    needs={"matplotlib": "matplotlib", "sklearn": "scikit-learn"},
    resumable=False,
)
app = command(STUDY)

if __name__ == "__main__":
    app()
