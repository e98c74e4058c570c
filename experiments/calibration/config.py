"""What is simulated, at each scale."""

from dataclasses import dataclass

from experiments.frame.checks import check_counts

HEAVY, SPARSE = "t(1.5)", "sparse"
FEATURES = ("gaussian", HEAVY, SPARSE)
NEIGHBORS = "mutual k-NN"
STATISTICS = ("CKA", "RSA", "JSD", NEIGHBORS)
SCORES = ("normal", "exponential", "log-normal", "mostly zero", "t(1.5)")


@dataclass(frozen=True)
class Design:
    """How the samples of a data set hang together.

    Attributes:
      groups: how many; of one sample each they are independent samples.
      size: samples a group.
      share: of the variance that the samples of a group have in common.
    """

    groups: int
    size: int = 1
    share: float = 0.0


@dataclass(frozen=True)
class CalibrationConfig:
    """What is simulated.

    Attributes:
      designs: of the samples.
      features: distributions of them, of `FEATURES`.
      statistics: of `STATISTICS`.
      scores: distributions of differences of scores, of `SCORES`.
      queries: how many scores a data set has.
      data_sets: simulated for each cell.
      resamples: of each interval and test.
      channels: of the features.
      seed: of all that is drawn.
    """

    designs: tuple[Design, ...]
    features: tuple[str, ...] = FEATURES
    statistics: tuple[str, ...] = STATISTICS
    scores: tuple[str, ...] = SCORES
    queries: tuple[int, ...] = (10, 20, 40)
    data_sets: int = 1000
    resamples: int = 199
    channels: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for counts that are not positive integers."""
        check_counts(self, "data_sets", "resamples", "channels")


_CLUSTERED = tuple(
    Design(groups, size, share)
    for groups in (10, 20, 40)
    for size in (4, 6)
    for share in (0.5, 0.9)
)
SCALES = {
    "whole": CalibrationConfig((Design(40), Design(100), *_CLUSTERED)),
    "quick": CalibrationConfig(
        (Design(40), Design(20, 4, 0.9)),
        data_sets=200,
    ),
    "smoke": CalibrationConfig(
        (Design(8, 2, 0.9),),
        ("gaussian",),
        ("CKA",),
        ("normal",),
        (10,),
        data_sets=4,
        resamples=39,
    ),
}
