"""What the engine's benchmark runs: a frozen config for each scale."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Features (N, S, C), and the goal for the ratio that is measured on them."""

    samples: int
    tokens: int
    channels: int
    goal: float


@dataclass(frozen=True)
class EngineConfig:
    """All that the benchmark's work depends on.

    Attributes:
      has_goals: whether its sizes are those that the goals are set for.
      overhead: runs held against bare solver calls.
      overhead_rounds: turns of both.
      cluster: the run of one worker and of two.
      cluster_rounds: turns of both.
      memory: samples of the small and of the large run; tokens and channels of both.
      memory_rounds: processes for each.
      memory_goal: the largest ratio of their peaks.
      pair_goal: the largest ratio of what a pair takes.
    """

    has_goals: bool = True
    overhead: tuple[Size, ...] = (Size(160, 256, 64, 1.10), Size(64, 1024, 64, 1.05))
    overhead_rounds: int = 5
    cluster: Size = Size(64, 1024, 64, 1.6)
    cluster_rounds: int = 3
    memory: tuple[int, int, int, int] = (100, 400, 256, 64)
    memory_rounds: int = 3
    memory_goal: float = 1.2
    pair_goal: float = 1.1


SCALES = {
    "full": EngineConfig(),
    "smoke": EngineConfig(
        has_goals=False,
        overhead=(Size(8, 16, 4, 1.1),),
        overhead_rounds=2,
        cluster=Size(8, 16, 4, 1.6),
        cluster_rounds=1,
        memory=(6, 12, 16, 4),
        memory_rounds=1,
    ),
}
