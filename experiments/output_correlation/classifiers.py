"""The classifiers that are asked: shipped ones on scenes, published ones on ImageNet.

Of each come the tokens of its last hidden layer and its outputs, of the same images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from experiments.data.draw import Draw
from experiments.data.imagenet import IMAGENET, Split, open_imagenet
from experiments.data.shown import Shown, on_photographs, on_scenes
from experiments.frame.pretrained import WHEELS
from experiments.frame.session import Session
from experiments.scenes.compose import SceneConfig
from experiments.trained.networks import NETWORKS
from semrsm_jax.features import load_network
from semrsm_jax.models import VARIANTS

_HEAD = "classifier"  # the layer that gives the logits, in all of the paper's networks


def title(network: str) -> str:
    """What figures call a network."""
    for known in (WHEELS, VARIANTS):
        if network in known:
            return known[network].title
    return network


@dataclass(frozen=True)
class OnScenes:
    """The shipped networks, which name the photograph behind a composed scene.

    One view of each scene, so that images are independent of each other.

    Attributes:
      scenes: how they are composed.
    """

    scenes: SceneConfig = SceneConfig()

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`."""
        last = NETWORKS[network].last
        show = partial(on_scenes, self.scenes, network, (last,), draw)
        return _kept(session, name, network, show)


@dataclass(frozen=True)
class OnPhotographs:
    """Networks that ImageNet trained, from wheels, on crops of photographs."""

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`; crops of one photograph are one group."""
        last = WHEELS[network].stages[-1]
        show = partial(on_photographs, network, (last,), draw)
        return _kept(session, name, network, show)


def _kept(
    session: Session, name: str, network: str, show: Callable[[], Shown]
) -> Shown:
    """What a network makes of the images, of one layer; kept as a step."""

    def compute() -> dict[str, Any]:
        session.report(f"Showing images to {network}", 0, None)
        shown = show()
        (tokens,) = shown.tokens.values()
        arrays = {"tokens": tokens, "logits": shown.logits}
        if shown.groups is None:
            return arrays | {"accuracy": shown.accuracy}
        return arrays | {"groups": shown.groups}

    stored = session.step(name, compute)
    return Shown(
        {"last": stored["tokens"]},
        stored["logits"],
        float(stored.get("accuracy", np.nan)),
        stored.get("groups"),
    )


@dataclass(frozen=True)
class OnImageNet:
    """Published classifiers of ImageNet, on the user's copy of its images.

    Attributes:
      split: of the images. The paper takes the test set; its images have no public
        labels, nor are any needed.
      batch_size: images a pass.
    """

    split: Split = "val"
    batch_size: int = 32

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """As in `Source`; tokens stay on the disk."""
        # A wrong folder is told before a network is fetched from the hub.
        folder = IMAGENET.folder(draw.data)
        loaded = load_network(network, "float32")
        if _HEAD not in loaded.layers:
            raise ValueError(
                f"networks must be classifiers, got {network}, which has no layer "
                f"{_HEAD!r}"
            )
        images = open_imagenet(
            folder,
            loaded.preprocessing(),
            draw.samples,
            draw.seed,
            self.split,
            session.report,
        )
        store = session.features(
            name,
            loaded.model,
            images,
            (loaded.last, _HEAD),
            self.batch_size,
        )
        logits = np.asarray(store.layers[_HEAD])[:, 0]
        return Shown({"last": store.layers[loaded.last]}, logits, float("nan"))
