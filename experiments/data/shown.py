"""What networks make of images that they are shown: tokens, outputs, accuracy."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from experiments.data.draw import Draw
from experiments.data.photographs import PhotographCrops
from experiments.frame.pretrained import HEAD, WHEELS, load_pretrained, seen
from experiments.frame.session import Session
from experiments.scenes.compose import SceneConfig, compose
from experiments.trained import zoo

_BLOCK = 2**26  # values of tokens that are read at a time for their mean


class Shown(NamedTuple):
    """What a network makes of the images.

    Attributes:
      tokens: name of each layer, by depth -> its tokens (N, S, C); arrays, or rows that
        are read.
      logits: (N, classes), before the softmax.
      accuracy: share of the images whose class it names; NaN where none is known.
      groups: (N,), equal for images that depend on each other; None: all independent.
    """

    tokens: Mapping[str, Any]
    logits: Float[np.ndarray, "N classes"]
    accuracy: float
    groups: Int[np.ndarray, " N"] | None = None


class Source(Protocol):
    """Networks by their names, and images for them; compares by value."""

    def look(self, name: str, network: str, draw: Draw, session: Session) -> Shown:
        """Shows the images to a network; `name` is that of what the session keeps.

        Raises:
          ValueError: the images or the network are not to be had.
        """
        ...


def on_scenes(
    scenes: SceneConfig, network: str, layers: tuple[str, ...], draw: Draw
) -> Shown:
    """A network of `experiments.trained` on composed scenes, one view of each."""
    shown = compose(scenes, draw.samples, 1, draw.seed)
    model = zoo.load(network)
    tokens = zoo.tokens(model, shown.images, layers)
    logits = np.asarray(zoo.outputs(model, shown.images).name_logits)
    accuracy = float(np.mean(logits.argmax(1) == shown.background))
    return Shown(tokens, logits, accuracy)


def on_photographs(network: str, layers: tuple[str, ...], draw: Draw) -> Shown:
    """A network of a wheel on crops of photographs; those of one are one group."""
    model, crops = load_pretrained(network), PhotographCrops(WHEELS[network].side)
    drawn = crops.draw(draw.data, draw.samples, draw.seed)
    outputs = seen(model, drawn.pixels, (*layers, HEAD))
    tokens = {layer: np.asarray(outputs[layer]) for layer in layers}
    logits = np.asarray(outputs[HEAD][:, 0])
    return Shown(tokens, logits, float("nan"), drawn.photographs)


def mean_tokens(tokens: Any) -> Float[np.ndarray, "N 1 C"]:
    """The mean token of each image, float64, of tokens (N, S, C) read in parts."""
    images, places, channels = tokens.shape
    step = max(1, _BLOCK // (places * channels))
    means = [
        np.asarray(tokens[at : at + step]).mean(1, np.float64, keepdims=True)
        for at in range(0, images, step)
    ]
    return np.concatenate(means)
