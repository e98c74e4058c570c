"""What the question of windows runs: layers, matchers and how often, at each scale."""

from dataclasses import dataclass
from pathlib import Path

from experiments.data.photographs import PhotographCrops
from experiments.frame.networks import Network, Published
from experiments.frame.pretrained import WHEELS, Pretrained
from experiments.open_questions.networks import last_layer
from experiments.scenes.compose import SceneConfig
from semrsm_jax.matching import BatchOptimal


@dataclass(frozen=True)
class Layer:
    """The last hidden layer of a network, for images of a side in pixels."""

    network: Network
    side: int


@dataclass(frozen=True)
class WindowsConfig:
    """All that the study depends on.

    Attributes:
      layers: where tokens come from; their number follows from the side.
      matchers: those compared with `Exact`; at each number of tokens only those whose
        window is smaller, as the others are exact.
      rounds: turns that every matcher takes, each with pairs of its own.
      tokens_a_round: a round has as many pairs as have so many tokens together, but at
        least two, one for each of two cores.
      scenes: what the images show, or how photographs are cropped; the side is the
        layer's.
      seed: of the scenes.
      good: the quality, as a share of the exact value, that an answer must have.
      data: folder of photographs instead of scenes.
    """

    layers: tuple[Layer, ...]
    matchers: tuple[BatchOptimal, ...] = (
        *(BatchOptimal(2**k) for k in range(6, 12)),
        *(BatchOptimal(window, sweeps=4) for window in (128, 512)),
    )
    rounds: int = 7
    tokens_a_round: int = 4096
    scenes: SceneConfig | PhotographCrops = SceneConfig()
    seed: int = 0
    good: float = 0.99
    data: Path | None = None

    def smaller(self, tokens: int) -> list[BatchOptimal]:
        """The matchers whose window is smaller than the number of tokens."""
        return [matcher for matcher in self.matchers if matcher.window < tokens]


def _at(sides: tuple[int, ...], *networks: Network) -> tuple[Layer, ...]:
    return tuple(Layer(network, side) for network in networks for side in sides)


SCALES = {
    "bundled": WindowsConfig(
        _at((128, 256, 512), last_layer("resnet-10"), last_layer("vit-4"))
    ),
    "smoke": WindowsConfig(
        _at((64,), last_layer("vit-2")),
        matchers=(BatchOptimal(16), BatchOptimal(32, sweeps=1)),
        rounds=6,
        tokens_a_round=128,
    ),
    "pretrained": WindowsConfig(
        tuple(
            Layer(Pretrained("efficientnet-lite0", (stage,), 256), 256)
            for stage in WHEELS["efficientnet-lite0"].stages[2::-1]
        ),
        scenes=PhotographCrops(),
    ),
    "paper": WindowsConfig(
        (
            *_at((224, 448, 896), Published("dinov2-giant", ("dinov2.layernorm",))),
            *_at((512, 1024), Published("resnet18", ("resnet.encoder.stages.3",))),
            *_at((1024,), Published("sam-b", ("vision_encoder.neck",))),
        ),
        matchers=(
            *(BatchOptimal(2**k) for k in range(5, 12)),
            *(BatchOptimal(2**k, sweeps=4) for k in (7, 9, 11)),
        ),
        rounds=15,
    ),
}
