"""What networks are trained for: examples to learn from, a loss, and accuracies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float
from PIL import Image

from experiments.frame.session import Arrays, Session, fingerprint
from experiments.scenes.compose import SceneConfig, compose
from experiments.scenes.parts import Split, crop, photograph, relight
from experiments.trained import zoo
from experiments.trained.networks import MOST_COUNTED, split_outputs
from experiments.trained.training import Lesson, Loss
from semrsm_jax.cli.console import Report
from semrsm_jax.demo.photographs import SCENES as PHOTOGRAPHED
from semrsm_jax.retrieval import instance_f1


class Draw(NamedTuple):
    """Which examples to draw.

    Attributes:
      settings: of the examples, a frozen dataclass.
      count: how many, for one of training or test.
    """

    settings: Any
    count: int


class Plan(NamedTuple):
    """A lesson before its examples are drawn; see `Lesson`."""

    draw: Draw
    share: float
    batch: int


@dataclass(frozen=True)
class Task:
    """A task; compares by value.

    Attributes:
      plans: of the lessons, on examples of the split ``"train"``.
      test: what is asked in the end, of the split ``"test"``.
      draw: called as ``draw(settings, count, split, report)``; returns arrays with the
        examples along their first axis: ``"images"``, (N, H, W, 3) from 0 to 255, and
        what is to be said of them.
      loss: from logits and such arrays, a batch of them, to a scalar.
      accuracy: from logits and such arrays to shares in [0, 1].
    """

    plans: tuple[Plan, ...]
    test: Draw
    draw: Callable[[Any, int, Split, Report], Arrays]
    loss: Loss
    accuracy: Callable[[Float[Array, "N O"], Arrays], dict[str, float]]

    def lessons(self, session: Session) -> list[Lesson]:
        """The lessons with their examples, which the session keeps."""

        def examples(draw: Draw) -> Arrays:
            return session.step(
                f"examples-{fingerprint(*draw)}",
                lambda: self.draw(*draw, "train", session.report),
            )

        return [
            Lesson(examples(plan.draw), plan.share, plan.batch) for plan in self.plans
        ]

    def evaluate(self, model: nnx.Module, report: Report) -> dict[str, float]:
        """The accuracies of a network in evaluation mode, and of how many images.

        Args:
          model: the network.
          report: called as ``report(description, done, total)``.
        """
        results = self.draw(*self.test, "test", report)
        images = results["images"].astype(np.float32) / 255
        shares = self.accuracy(zoo.logits(model, images), results)
        return {**shares, "images": len(images)}


# --- naming the photograph behind a scene, and counting the objects ------------------

_VIEWS = 4  # of a training scene; a test scene has one
_SEED = 0


def _draw_scenes(
    config: SceneConfig, count: int, split: Split, report: Report
) -> Arrays:
    views = _VIEWS if split == "train" else 1
    scenes = compose(
        config,
        count // views,
        views,
        _SEED,
        split,
        lambda done, total: report(f"Composing {split} scenes", done, total),
    )
    return {
        "images": np.round(255 * scenes.images).astype(np.uint8),
        "name": scenes.background,
        "count": np.minimum(scenes.counts, MOST_COUNTED),
    }


def _scene_loss(
    logits: Float[Array, "N O"], batch: Mapping[str, Array]
) -> Float[Array, ""]:
    """Cross entropy of the name, plus that of each class's count."""
    said = split_outputs(logits)
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    count = cross_entropy(said.count_logits, batch["count"]).sum(1).mean()
    return cross_entropy(said.name_logits, batch["name"]).mean() + count


def _scene_accuracy(logits: Float[Array, "N O"], examples: Arrays) -> dict[str, float]:
    """Of names and counts; most classes are absent from most scenes.

    So `count` is to be read beside `count_if_none`, what it is for one who says that
    there is never any object. `f1` is the mean instance F1 (Eq. 12) of the counts.
    """
    said, truth = split_outputs(logits), examples["count"]
    counts = np.asarray(said.count_logits).argmax(-1)
    f1 = instance_f1(truth, counts, zero_division=1.0)
    return {
        "name": _right(said.name_logits, examples["name"]),
        "count": float((counts == truth).mean()),
        "count_if_none": float((truth == 0).mean()),
        "f1": float(np.mean(f1)),
    }


_SCENES = SceneConfig(objects=(1, 6), scale=(0.2, 0.5), shift=0.15, zoom=0.3)
# The same objects in quarters of such scenes: few are learned sooner than many.
_QUARTERS = replace(_SCENES, side=32, objects=(1, 2), scale=(0.45, 0.9), shift=0.1)

SCENES = Task(
    (Plan(Draw(_QUARTERS, 24_000), 0.6, 96), Plan(Draw(_SCENES, 12_000), 0.4, 32)),
    Draw(_SCENES, 1000),
    _draw_scenes,
    _scene_loss,
    _scene_accuracy,
)

# --- naming the photograph that a crop comes from, for the network of the demo --------


@dataclass(frozen=True)
class CropConfig:
    """Crops of photographs without any object.

    Attributes:
      side: rows and columns, in pixels.
      least: smallest side of what a crop shows, as a share of its tile.
      lighting: as in `SceneConfig`.
    """

    side: int = 32
    least: float = 0.4
    lighting: float = 0.3


def _draw_crops(config: CropConfig, count: int, split: Split, report: Report) -> Arrays:
    images = np.zeros((count, config.side, config.side, 3), np.uint8)
    names = np.zeros(count, int)
    for index in range(count):
        rng = np.random.default_rng((_SEED, split == "test", index))
        names[index] = rng.integers(len(PHOTOGRAPHED))
        name = PHOTOGRAPHED[names[index]]
        box = crop(name, split, rng.uniform(config.least, 1.0), rng)
        small = photograph(name).resize(
            (config.side, config.side), Image.Resampling.BILINEAR, box
        )
        lit = relight(np.asarray(small, np.float32) / 255, config.lighting, rng)
        images[index] = np.round(255 * lit)
        report(f"Cropping {split} photographs", index + 1, count)
    return {"images": images, "name": names}


def _naming_loss(
    logits: Float[Array, "N O"], batch: Mapping[str, Array]
) -> Float[Array, ""]:
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    return cross_entropy(logits, batch["name"]).mean()


def _naming_accuracy(logits: Float[Array, "N O"], examples: Arrays) -> dict[str, float]:
    return {"name": _right(logits, examples["name"])}


CROPS = Task(
    (Plan(Draw(CropConfig(), 12_000), 1.0, 32),),
    Draw(CropConfig(), 1000),
    _draw_crops,
    _naming_loss,
    _naming_accuracy,
)


def _right(logits: Float[Array, "N P"], truth: np.ndarray) -> float:
    return float((np.asarray(logits).argmax(-1) == truth).mean())
