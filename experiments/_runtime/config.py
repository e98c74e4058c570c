"""What the benchmark runs, and how often: a frozen config for each scale."""

from dataclasses import dataclass, field

from semrsm_jax.models.resnet import ResNetConfig


@dataclass(frozen=True)
class Layer:
    """A stage of the network on square images, as the CIFAR stem lays it out.

    Attributes:
      side: of the images, in pixels.
      stage: 0 to 3; it gives ``side / 2**stage`` rows and columns of tokens.
    """

    side: int
    stage: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the token grid."""
        return self.side >> self.stage, self.side >> self.stage

    @property
    def tokens(self) -> int:
        """S, the number of tokens."""
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class TableSize:
    """One column of Table 5.

    Attributes:
      layer: where the features come from.
      pairs: matrices in a batch of ours, and pairs that the quality is the mean of.
      rounds: turns of all solvers; in round r a peer gets pair r, ours the batch too.
      matcher_rounds: turns of all matchers, on the batch.
      centred: whether the quality on centred features is taken as well.
    """

    layer: Layer
    pairs: int
    rounds: int
    matcher_rounds: int = 3
    centred: bool = False


@dataclass(frozen=True)
class ThreadsSize:
    """Affinities of `pairs` pairs, solved with one thread and with two."""

    layer: Layer
    pairs: int
    rounds: int


@dataclass(frozen=True)
class RSMSize:
    """A whole RSM of `samples` samples, and the least ratio to the loop aimed at."""

    layer: Layer
    samples: int
    rounds: int
    goal: float


@dataclass(frozen=True)
class RuntimeConfig:
    """All that the benchmark's work depends on; its times depend on the machine.

    Attributes:
      scale: the name of this config.
      has_goals: whether its sizes are those that the goals are set for.
      seed: of crops, weights and adversarial matrices.
      network: randomly initialised; its batch-norm statistics are those of the crops.
      batches: of photograph crops of each size; those of a batch show other scenes.
      crops: crops a batch.
      table: the columns of Table 5.
      windows: of Batch-Optimal.
      sweeps: of refined Batch-Optimal.
      refined_window: its window.
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
    """

    scale: str = "bundled"
    has_goals: bool = True
    seed: int = 0
    network: ResNetConfig = field(default=ResNetConfig(18, "cifar", None))
    batches: int = 2
    crops: int = 12
    table: tuple[TableSize, ...] = (
        TableSize(Layer(64, 3), pairs=64, rounds=64, matcher_rounds=9),
        TableSize(Layer(56, 2), pairs=32, rounds=32, matcher_rounds=7),
        TableSize(Layer(64, 2), pairs=32, rounds=32, matcher_rounds=7),
        TableSize(Layer(64, 1), pairs=16, rounds=12, centred=True),
        TableSize(Layer(64, 0), pairs=4, rounds=2, matcher_rounds=3, centred=True),
    )
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
    rsm: tuple[RSMSize, ...] = (
        RSMSize(Layer(64, 2), samples=24, rounds=5, goal=0.15),
        RSMSize(Layer(64, 1), samples=16, rounds=3, goal=0.1),
    )
    scaling: tuple[Layer, ...] = tuple(map(Layer, (32, 48, 64, 96, 128)))
    scaling_rounds: int = 5
    quality: Layer = Layer(64)
    quality_pairs: int = 8
    large: Layer = Layer(256)
    large_sweeps: int = 16
    large_samples: int = 3
    large_exact: Layer = Layer(128)


SCALES = {
    "bundled": RuntimeConfig(),
    # The smallest sizes at which every part still has something to do.
    "smoke": RuntimeConfig(
        scale="smoke",
        has_goals=False,
        network=ResNetConfig(18, "cifar", None, width=8),
        batches=1,
        crops=4,
        table=(TableSize(Layer(8), 4, rounds=2, matcher_rounds=1, centred=True),),
        windows=(16, 32),
        sweeps=(1, 2),
        refined_window=16,
        top_k=8,
        stride=4,
        adversarial=(32,),
        adversarial_rounds=1,
        threads=(ThreadsSize(Layer(8), pairs=4, rounds=1),),
        rsm=(RSMSize(Layer(8), samples=4, rounds=1, goal=0.15),),
        scaling=(Layer(8, 1), Layer(8)),
        scaling_rounds=1,
        quality=Layer(8),
        quality_pairs=2,
        large=Layer(8),
        large_sweeps=1,
        large_samples=2,
        large_exact=Layer(8),
    ),
}
