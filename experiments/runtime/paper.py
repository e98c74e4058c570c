"""Table 5 and section 4.4 of the paper, as printed (arXiv 2410.23107)."""

from types import MappingProxyType
from typing import NamedTuple


class Cost(NamedTuple):
    """The share of the optimal similarity in percent, and milliseconds a pair."""

    quality: float
    milliseconds: float


SIZES = (256, 1024, 4096)
_TABLE_5 = """
OR-Tools:           100 4.26     | 100 69.6     | 100 1520
SciPy:              100 5.10     | 100 148      | 100 8750
lapjv:              100 5.73     | 100 97.5     | 100 6120
no matching:        68.9 0.00140 | 67.0 0.00249 | 57.9 0.00436
Batch-Optimal 128:  97.6 2.41    | 94.5 9.08    | 92.8 43.4
Batch-Optimal 256:  100 4.56     | 96.8 16.9    | 95.0 95.9
Batch-Optimal 512:  100 4.57     | 98.6 37.1    | 96.8 171
Batch-Optimal 1024: 100 4.57     | 100 79.5     | 98.2 391
"""
# One core, ResNet101 trained on Tiny-ImageNet; method -> S -> cost.
TABLE_5 = MappingProxyType(
    {
        name: {
            size: Cost(*map(float, cost.split()))
            for size, cost in zip(SIZES, costs.split("|"), strict=True)
        }
        for name, costs in (line.split(":") for line in _TABLE_5.strip().splitlines())
    }
)

# Section 4.4, at S=4096: speed of the fastest Batch-Optimal over the fastest exact
# solver, and the most that it loses of the optimum, in percent.
SPEEDUP_4096 = 36
MOST_ERROR_4096 = 8
