"""The classifiers that are asked: shipped ones on scenes, published ones on ImageNet.

Of each come the tokens of its last hidden layer and its outputs, of the same images.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from experiments.data.draw import Draw
from experiments.data.imagenet import IMAGENET, Split, open_imagenet
from experiments.data.photographs import PhotographCrops
from experiments.frame.pretrained import HEAD, WHEELS, load_pretrained, seen
from experiments.frame.session import Session
from experiments.scenes.compose import SceneConfig, compose
from experiments.trained import zoo
from experiments.trained.networks import NETWORKS
from semrsm_jax.features import load_network
from semrsm_jax.models import VARIANTS

_HEAD = "classifier"  # the layer that gives the logits, in all of the paper's networks


class Answers(NamedTuple):
    """What a classifier makes of the images.

    Attributes:
      tokens: (N, S, C) of its last hidden layer; an array, or rows that are read.
      logits: (N, classes), before the softmax.
      accuracy: share of the images whose class it names; NaN where none is known.
      groups: (N,), equal for images that depend on each other; None: all independent.
    """

    tokens: Any
    logits: Float[np.ndarray, "N classes"]
    accuracy: float
    groups: Int[np.ndarray, " N"] | None = None


class Classifiers(Protocol):
    """Networks by their names, and images for them; compares by value."""

    def title(self, network: str) -> str:
        """What figures call a network."""
        ...

    def answers(self, network: str, draw: Draw, session: Session) -> Answers:
        """Shows it the images, unless it has seen them in an earlier run.

        Raises:
          ValueError: the images or the network are not to be had.
        """
        ...


@dataclass(frozen=True)
class OnScenes:
    """The shipped networks, which name the photograph behind a composed scene.

    One view of each scene, so that images are independent of each other.

    Attributes:
      scenes: how they are composed.
    """

    scenes: SceneConfig = SceneConfig()

    def title(self, network: str) -> str:
        """As in `Classifiers`."""
        return network

    def answers(self, network: str, draw: Draw, session: Session) -> Answers:
        """As in `Classifiers`."""
        last = NETWORKS[network].last

        def compute() -> dict[str, Any]:
            shown = compose(self.scenes, draw.samples, 1, draw.seed)
            model = zoo.load(network)
            logits = np.asarray(zoo.outputs(model, shown.images).name_logits)
            return {
                "tokens": zoo.tokens(model, shown.images, (last,))[last],
                "logits": logits,
                "accuracy": np.mean(logits.argmax(1) == shown.background),
            }

        stored = session.step(f"{network}/answers", compute)
        return Answers(stored["tokens"], stored["logits"], float(stored["accuracy"]))


@dataclass(frozen=True)
class OnPhotographs:
    """Networks that ImageNet trained, from wheels, on crops of photographs."""

    def title(self, network: str) -> str:
        """As in `Classifiers`."""
        return WHEELS[network].title

    def answers(self, network: str, draw: Draw, session: Session) -> Answers:
        """As in `Classifiers`; crops of one photograph are one group."""
        wheel = WHEELS[network]
        last = wheel.stages[-1]

        def compute() -> dict[str, Any]:
            model = load_pretrained(network)
            crops = PhotographCrops(wheel.side)
            drawn = crops.draw(draw.data, draw.samples, draw.seed)
            session.report(f"Showing photographs to {wheel.title}", 0, None)
            outputs = seen(model, drawn.pixels, (last, HEAD))
            return {
                "tokens": outputs[last],
                "logits": outputs[HEAD][:, 0],
                "groups": drawn.photographs,
            }

        stored = session.step(f"{network}/answers", compute)
        return Answers(
            stored["tokens"], stored["logits"], float("nan"), stored["groups"]
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

    def title(self, network: str) -> str:
        """As in `Classifiers`."""
        return VARIANTS[network].title if network in VARIANTS else network

    def answers(self, network: str, draw: Draw, session: Session) -> Answers:
        """As in `Classifiers`; tokens stay on the disk."""
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
            f"{network}/answers",
            loaded.model,
            images,
            (loaded.last, _HEAD),
            self.batch_size,
        )
        logits = np.asarray(store.layers[_HEAD])[:, 0]
        return Answers(store.layers[loaded.last], logits, float("nan"))
