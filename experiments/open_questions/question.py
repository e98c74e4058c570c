"""What the studies of all questions have in common.

Both kinds of RSM come from the same features, kernel and database, so that what differs
is the matching alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from experiments.data.images import draw_files, read_squares
from experiments.data.photographs import PhotographCrops
from experiments.frame.finding import Finding, Number, Quantity, Section
from experiments.frame.session import Session
from experiments.frame.study import Study
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax import Kernel
from semrsm_jax.comparison.inference import paired_test
from semrsm_jax.matching import Exact, Identity, Matcher
from semrsm_jax.retrieval import nearest, scores_at_k
from semrsm_jax.store import open_similarity

_C = TypeVar("_C")
_E = TypeVar("_E")
SEMANTIC, SPATIAL = "semantic", "spatio-semantic"
# What an RSM is called -> the matching behind it.
RSMS: Mapping[str, Matcher] = {SPATIAL: Identity(), SEMANTIC: Exact()}
_DIFFERS = {
    "bundled": "The paper did not try this. Networks are small ones trained here, and "
    "images are scenes composed of photographs' parts and handwritten digits, in which "
    "one thing can be changed at a time.",
    "smoke": "Everything is tiny: the numbers mean nothing.",
    "pretrained": "The paper did not try this. Networks are EfficientNet-Lite as "
    "ImageNet trained them; images are crops of photographs where the window is asked "
    "for, with intervals over photographs, and composed scenes in other questions.",
    "paper": "The paper did not try this. Networks are those of its retrieval and "
    "output experiments; images are composed scenes unless a folder is given.",
}


class Result(NamedTuple, Generic[_C, _E]):
    """The config of a study, and an entry for each thing that it measured."""

    config: _C
    entries: list[_E]


# Images in [0, 1], and the number of the photograph behind each, if known.
DrawnImages = tuple[Float[np.ndarray, "N side side 3"], Int[np.ndarray, " N"] | None]


def draw_images(
    scenes: SceneConfig | PhotographCrops, count: int, seed: int, data: Path | None
) -> DrawnImages:
    """Images in [0, 1], and the number of the photograph behind each, if known.

    Args:
      scenes: what the images show, no two the same scene, or how photographs are
        cropped; `side` holds in any case.
      count: how many images, N.
      seed: of the draws.
      data: folder of photographs, which are read in place of scenes, or cropped.

    Raises:
      ValueError: the folder does not hold so many images.
    """
    if isinstance(scenes, PhotographCrops):
        crops = scenes.draw(data, count, seed)
        return crops.pixels, crops.photographs
    if data is not None:
        files = draw_files(data, count, np.random.default_rng(seed))
        return read_squares(data, files, scenes.side), None
    composed = compose(scenes, count, 1, seed)
    return composed.images, composed.background


def both(
    session: Session, name: str, kernel: Kernel, x: Any, y: Any = None
) -> dict[str, Float[np.ndarray, "N M"]]:
    """Both RSMs of tokens (N, S, C) with tokens (M, T, C), or with themselves."""
    stores = {kind: session.run(f"{name}/{kind}", x, y, m) for kind, m in RSMS.items()}
    return {kind: open_similarity(s.path, kernel)[:] for kind, s in stores.items()}


def f1_at_1(
    K: Float[np.ndarray, "N M"],
    query_counts: Int[np.ndarray, "N K"],
    database_counts: Int[np.ndarray, "M K"],
    exclude: Any = None,
) -> Float[np.ndarray, " N"]:
    """F1 of each query's nearest neighbor, Eq. 12."""
    index = nearest(K, 1, exclude).index
    return np.asarray(scores_at_k(index, query_counts, database_counts).mean[:, 0])


def gain(
    scores: Mapping[str, Float[np.ndarray, " N"]],
    seed: int = 0,
    than: Mapping[str, Float[np.ndarray, " N"]] | None = None,
) -> Number:
    """Mean semantic less spatio-semantic score, paired, with its 95 % interval.

    Args:
      scores: of each kind of RSM, one for each scene; scenes are what is resampled.
      seed: of the bootstrap.
      than: scores of the same scenes under another condition, whose gain is subtracted.
    """
    ours, theirs = (np.asarray(scores[k], np.float32) for k in (SEMANTIC, SPATIAL))
    if than is not None:
        # (a - b) - (c - d), in the two arguments of a paired test.
        ours, theirs = ours + than[SPATIAL], theirs + than[SEMANTIC]
    results = paired_test(ours, theirs, key=seed)
    return Number(*map(float, (results.difference, results.low, results.high)))


def score_columns(
    scores: Mapping[str, Float[np.ndarray, " N"]], seed: int, name: str = ""
) -> dict[str, float]:
    """The mean scores of both RSMs and the gain, in columns named after the score."""
    means = {k: float(scores[k].mean()) for k in (SEMANTIC, SPATIAL)}
    named = {f"{name}, {k}" if name else k: mean for k, mean in means.items()}
    return {**named, **gain(scores, seed).columns("gain")}


def question(
    module: ModuleType,
    *,
    title: str,
    asks: str,
    caption: str,
    minutes: float,
    data: str = "",
) -> Study[Any, Result[Any, Any]]:
    """The study of a question that the paper leaves open.

    Each entry of its summary is a finding, which the paper has no number for.

    Args:
      module: of the question, named like it. Its docstring is the help, and it has
        ``SCALES``, name of each scale -> its config; ``run(config, session)``, which
        computes the `Result`; and three functions of that: ``summary``, name ->
        number, interval or text, the few that answer the question; ``rows``, the table
        behind the figure; and ``draw``, the figure.
      title: of its section on the results page.
      asks: the question in words that do not need the paper.
      caption: of the figure.
      minutes: that it takes at the scales bundled and pretrained.
      data: what the folder given as ``--data`` must hold; empty: there is no option.
    """

    def findings(result: Result[Any, Any]) -> Iterator[Finding]:
        for statement, value in module.summary(result).items():
            text = isinstance(value, str)
            count = isinstance(value, int)
            ours = (
                Quantity(value)
                if text
                else Quantity("", [value], digits=0 if count else 3)
            )
            yield Finding(statement, "", (Quantity("left open"),), (ours,))

    return Study(
        name=f"open_questions_{module.__name__.rpartition('.')[2]}",
        doc=module.__doc__ or "",
        scales=module.SCALES,
        run=module.run,
        rows=module.rows,
        summary=module.summary,
        findings=findings,
        figures={"": module.draw},
        section=Section(
            title,
            asks,
            _DIFFERS,
            {"": caption},
            {"bundled": minutes, "smoke": 0.3, "pretrained": minutes},
        ),
        data=data,
        folder="open_questions",
    )
