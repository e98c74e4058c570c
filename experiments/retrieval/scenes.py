"""Scenes composed here, as a collection, and features of the networks trained on them.

What the paper calls a video is a view here: another view of the query's scene, taken
from elsewhere under another light, may be retrieved by the paper's protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from experiments.frame.session import Session
from experiments.retrieval.collection import (
    OTHER_SCENES,
    SAME_SCENE,
    Collection,
    Groups,
    Measure,
)
from experiments.scenes.compose import CLASSES, SceneConfig, compose
from experiments.trained import zoo
from experiments.trained.networks import NETWORKS
from semrsm_jax.retrieval import class_iou, instance_f1

if TYPE_CHECKING:
    from experiments.retrieval.config import RetrievalConfig


@dataclass(frozen=True)
class Scenes:
    """Views of scenes, and the instances of each class of object that they show.

    Attributes:
      scene: how scenes are composed.
      scenes: how many.
      views: of each.
      depths: layers of a network, counted from the end; the last one first.
    """

    scene: SceneConfig = SceneConfig()
    scenes: int = 300
    views: int = 4
    depths: tuple[int, ...] = (-1, -3)

    def collect(self, config: "RetrievalConfig", session: Session) -> Collection:
        """Composes the scenes, and draws queries and database among all views."""
        queries, database = config.draw(self.scenes * self.views)
        drawn = session.step("scenes", partial(self._compose, config.seed, session))

        def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return values[queries], values[database]

        images, scenes = split(drawn["images"]), split(drawn["scene"])
        # Every image has a view of its own, so that no other need be left out.
        views = np.arange(len(queries)), len(queries) + np.arange(len(database))
        return Collection(
            "scenes",
            {
                "F1": Measure(instance_f1, *split(drawn["counts"])),
                "IoU": Measure(class_iou, *split(drawn["present"])),
            },
            {SAME_SCENE: Groups(*views), OTHER_SCENES: Groups(*scenes)},
            scenes[0],
            images[0].__getitem__,
            images[1].__getitem__,
            partial(self._features, images, session),
        )

    def _compose(self, seed: int, session: Session) -> dict[str, np.ndarray]:
        scenes = compose(
            self.scene,
            self.scenes,
            self.views,
            seed,
            progress=lambda done, total: session.report("Scenes", done, total),
        )
        labels = scenes.labels.reshape(len(scenes.labels), -1, 1)
        return {
            "images": np.round(scenes.images * 255).astype(np.uint8),
            "scene": scenes.scene,
            "counts": scenes.counts,
            # The label maps' classes; of the background there is one in every image.
            "present": (labels == 1 + np.arange(len(CLASSES))).any(axis=1),
        }

    def _features(
        self,
        images: tuple[UInt8[np.ndarray, "Q H W 3"], UInt8[np.ndarray, "M H W 3"]],
        session: Session,
        network: str,
    ) -> Mapping[str, tuple[Any, Any]]:
        layers = [NETWORKS[network].layers[depth] for depth in self.depths]

        def compute() -> Mapping[str, Float[np.ndarray, "N S C"]]:
            session.report(f"Features of {network}", 0, None)
            both = np.concatenate(images).astype(np.float32) / 255
            tokens = zoo.tokens(zoo.load(network), both, layers)
            return {layer: np.asarray(tokens[layer]) for layer in layers}

        tokens = session.step(f"{network}/features", compute)
        return {
            layer: (tokens[layer][: len(images[0])], tokens[layer][len(images[0]) :])
            for layer in layers
        }
