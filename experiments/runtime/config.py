"""What the benchmark runs, and how often: a frozen config for each scale."""

from dataclasses import dataclass
from pathlib import Path

from experiments.frame.networks import Network, Published, Shipped, Untrained
from experiments.frame.pretrained import WHEELS, Pretrained
from semrsm_jax.models import variant

UNTRAINED = Untrained()
_SLOW = ("SciPy", "lapx")  # a minute and half a minute for a matrix at S=4096


@dataclass(frozen=True)
class Layer:
    """A stage of a network on square images.

    Attributes:
      side: of the images, in pixels.
      stage: 0 to 3; each halves the rows and columns of tokens.
      network: whose stage it is.
    """

    side: int
    stage: int = 0
    network: Network = UNTRAINED


@dataclass(frozen=True)
class TableSize:
    """One column of Table 5.

    Attributes:
      layer: where the features come from.
      pairs: matrices in a batch of ours, and pairs that the quality is the mean of.
      rounds: turns of all solvers; in round r a peer gets pair r, ours the batch too.
      matcher_rounds: turns of all matchers, on the batch.
      centered: whether the quality on centered features is taken as well.
      without: peers that are not timed.
    """

    layer: Layer
    pairs: int
    rounds: int
    matcher_rounds: int = 3
    centered: bool = False
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class ThreadsSize:
    """Affinities of `pairs` pairs, solved with one thread and with two."""

    layer: Layer
    pairs: int
    rounds: int


@dataclass(frozen=True)
class RSMSize:
    """A whole RSM, and the largest ratios aimed at.

    Attributes:
      layer: where the features come from.
      samples: N.
      rounds: turns of all sides.
      goal: to the loop over OR-Tools; None: there is none.
      products_goal: to the matrix products alone.
    """

    layer: Layer
    samples: int
    rounds: int
    goal: float | None = None
    products_goal: float | None = None


# Of (S, C) = (49, 512), (64, 512), (256, 256), (1024, 128) and (4096, 64).
_WHOLE = (
    RSMSize(Layer(56, 3), samples=24, rounds=15, products_goal=3),
    RSMSize(Layer(64, 3), samples=24, rounds=15, products_goal=3),
    RSMSize(Layer(64, 2), samples=24, rounds=5, goal=0.15, products_goal=3),
    RSMSize(Layer(64, 1), samples=16, rounds=3, goal=0.1, products_goal=3),
    RSMSize(Layer(64, 0), samples=4, rounds=3, products_goal=6.5),
)


@dataclass(frozen=True)
class RuntimeConfig:
    """All that the benchmark's work depends on; its times depend on the machine.

    Attributes:
      table: the columns of Table 5.
      depth: the layers of Fig. 5 and 6, network by network, each by depth.
      sections: those that are run, of `experiments.runtime.sections.SECTIONS`.
      photographs: whether trained networks see crops of whole photographs, those of
        `data` or scikit-image's, each crop of another where there are enough.
      has_goals: whether its sizes are those that the goals are set for.
      seed: of crops and adversarial matrices.
      batches: of photograph crops of each size; those of a batch show other scenes.
      crops: crops a batch.
      depth_samples: of which all pairs are compared in Fig. 5 and 6.
      windows: of Batch-Optimal.
      sweeps: of refined Batch-Optimal.
      refined_window: window of refined Batch-Optimal.
      top_k: of TopK-Greedy.
      stride: of the dual bound.
      adversarial: sizes S of the adversarial matrices.
      adversarial_rounds: turns of both solvers on each.
      threads: batches solved with one and with two threads.
      rsm: whole RSMs.
      scaling: layers over which Batch-Optimal with the first of `sweeps` is timed.
      scaling_rounds: turns of all sizes.
      quality: the layer at which the sweeps are held to the optimum.
      quality_pairs: pairs that this is the mean of.
      large: the layer of a pair that no exact solver could take on.
      large_sweeps: of its refinement.
      large_samples: in an RSM of the same layer.
      large_exact: the layer of the largest pair solved exactly.
      data: folder of images for the trained networks; None: crops of photographs.
    """

    table: tuple[TableSize, ...]
    depth: tuple[Layer, ...]
    sections: tuple[str, ...] = (
        *("table5", "depth", "adversarial", "threads", "rsm", "scaling", "large"),
    )
    photographs: bool = False
    has_goals: bool = False
    seed: int = 0
    batches: int = 2
    crops: int = 12
    depth_samples: int = 10
    windows: tuple[int, ...] = (128, 256, 512, 1024)
    sweeps: tuple[int, ...] = (4, 12)
    refined_window: int = 512
    top_k: int = 128
    stride: int = 8
    adversarial: tuple[int, ...] = (1024, 2048)
    adversarial_rounds: int = 3
    threads: tuple[ThreadsSize, ...] = (
        ThreadsSize(Layer(64, 2), pairs=128, rounds=15),
        ThreadsSize(Layer(64, 1), pairs=32, rounds=9),
    )
    rsm: tuple[RSMSize, ...] = _WHOLE
    scaling: tuple[Layer, ...] = tuple(map(Layer, (32, 48, 64, 96, 128)))
    scaling_rounds: int = 5
    quality: Layer = Layer(64)
    quality_pairs: int = 8
    large: Layer = Layer(256)
    large_sweeps: int = 16
    large_samples: int = 3
    large_exact: Layer = Layer(128)
    data: Path | None = None


def _stages(side: int, network: Network) -> tuple[Layer, ...]:
    return tuple(Layer(side, stage, network) for stage in range(len(network.layers)))


_RESNET_STAGES = tuple(f"resnet.encoder.stages.{stage}" for stage in range(4))
# Its first stage has 4096 tokens for images of 128 pixels, and the others 1024 and 256.
_TRAINED = Shipped("resnet-18", _RESNET_STAGES[:3])
_RESNET18 = Published("resnet18", _RESNET_STAGES)
_RESNET101 = Published("resnet101", _RESNET_STAGES)
_TINY = Untrained(width=8)
# The last layers of two of the paper's networks, with random weights: (49, 2048) and
# (196, 768).
_MANY_CHANNELS = RSMSize(
    Layer(224, 0, Published("resnet50", _RESNET_STAGES[3:], seed=0)),
    *(24, 15),
    products_goal=3,
)
_TRANSFORMER = RSMSize(
    Layer(224, 0, Published("vit-b16", (variant("vit-b16").tap,), seed=0)),
    *(24, 5),
    products_goal=2.5,
)
# Its last blocks at each resolution have 4096, 1024, 256 and 64 tokens for 256 pixels.
_LITE0 = Pretrained("efficientnet-lite0", WHEELS["efficientnet-lite0"].stages, 256)

SCALES = {
    "bundled": RuntimeConfig(
        table=(
            TableSize(Layer(128, 2, _TRAINED), pairs=32, rounds=16),
            TableSize(Layer(128, 1, _TRAINED), pairs=16, rounds=6),
            TableSize(Layer(128, 0, _TRAINED), pairs=4, rounds=1),
            TableSize(Layer(64, 2), pairs=32, rounds=16),
            TableSize(Layer(64, 1), pairs=16, rounds=6),
            TableSize(Layer(64, 0), pairs=4, rounds=1, without=_SLOW),
        ),
        depth=(*_stages(128, _TRAINED), *_stages(64, UNTRAINED)),
        adversarial=(1024,),
        adversarial_rounds=1,
        rsm=(
            RSMSize(Layer(64, 2), samples=16, rounds=3, goal=0.15),
            RSMSize(Layer(64, 1), samples=10, rounds=1, goal=0.1),
        ),
        scaling_rounds=3,
        quality_pairs=4,
        large=Layer(128),
        large_exact=Layer(96),
    ),
    "full": RuntimeConfig(
        table=(
            TableSize(Layer(64, 3), pairs=64, rounds=64, matcher_rounds=9),
            TableSize(Layer(56, 2), pairs=32, rounds=32, matcher_rounds=7),
            TableSize(Layer(64, 2), pairs=32, rounds=32, matcher_rounds=7),
            TableSize(Layer(64, 1), pairs=16, rounds=12, centered=True),
            TableSize(Layer(64, 0), pairs=4, rounds=2, matcher_rounds=3, centered=True),
            TableSize(Layer(128, 2, _TRAINED), pairs=32, rounds=32, matcher_rounds=7),
            TableSize(Layer(128, 1, _TRAINED), pairs=16, rounds=12, centered=True),
            TableSize(Layer(128, 0, _TRAINED), pairs=4, rounds=1, centered=True),
        ),
        depth=(*_stages(128, _TRAINED), *_stages(64, UNTRAINED)),
        has_goals=True,
        rsm=(*_WHOLE, _MANY_CHANNELS, _TRANSFORMER),
    ),
    # One crop of each of scikit-image's photographs.
    "pretrained": RuntimeConfig(
        table=(
            TableSize(Layer(256, 2, _LITE0), pairs=32, rounds=16, centered=True),
            TableSize(Layer(256, 1, _LITE0), pairs=16, rounds=6, centered=True),
            TableSize(*(Layer(256, 0, _LITE0), 4, 1, 1), centered=True, without=_SLOW),
        ),
        depth=_stages(256, _LITE0),
        sections=("table5", "depth", "threads", "rsm"),
        photographs=True,
        batches=1,
        crops=18,
        threads=(
            ThreadsSize(Layer(256, 2, _LITE0), pairs=128, rounds=15),
            ThreadsSize(Layer(256, 1, _LITE0), pairs=32, rounds=9),
        ),
        rsm=(
            RSMSize(Layer(256, 2, _LITE0), samples=16, rounds=3, goal=0.15),
            RSMSize(Layer(256, 1, _LITE0), samples=10, rounds=1, goal=0.1),
        ),
    ),
    # The network and the sizes of Table 5, and those of Fig. 5, on the user's images:
    # at 256 pixels the stages of a ResNet have 4096, 1024, 256 and 64 tokens.
    "paper": RuntimeConfig(
        table=(
            TableSize(Layer(256, 2, _RESNET101), pairs=256, rounds=1000),
            TableSize(Layer(256, 1, _RESNET101), pairs=64, rounds=100),
            TableSize(Layer(256, 0, _RESNET101), pairs=4, rounds=10),
        ),
        depth=(*_stages(256, _RESNET18), *_stages(256, _RESNET101)),
        crops=24,
        depth_samples=46,  # 1,035 pairs; the paper has 1,000
    ),
    # The smallest sizes at which every part still has something to do.
    "smoke": RuntimeConfig(
        table=(
            TableSize(Layer(8, 0, _TINY), 4, rounds=2, matcher_rounds=1, centered=True),
        ),
        depth=(Layer(8, 0, _TINY), Layer(8, 1, _TINY)),
        batches=1,
        crops=4,
        depth_samples=3,
        windows=(16, 32),
        sweeps=(1, 2),
        refined_window=16,
        top_k=8,
        stride=4,
        adversarial=(32,),
        adversarial_rounds=1,
        threads=(ThreadsSize(Layer(8, 0, _TINY), pairs=4, rounds=1),),
        rsm=(RSMSize(Layer(8, 0, _TINY), samples=4, rounds=1, goal=0.15),),
        scaling=(Layer(8, 1, _TINY), Layer(8, 0, _TINY)),
        scaling_rounds=1,
        quality=Layer(8, 0, _TINY),
        quality_pairs=2,
        large=Layer(8, 0, _TINY),
        large_sweeps=1,
        large_samples=2,
        large_exact=Layer(8, 0, _TINY),
    ),
}
