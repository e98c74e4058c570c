"""Inference: p-values and intervals for what RSMs and retrieval scores suggest.

Pairs share samples and so are not independent: everything here permutes or resamples
*samples*. Keys are explicit: the same key gives the same numbers.
"""

from semrsm_jax.comparison.inference._noise_ceiling import NoiseCeiling, noise_ceiling
from semrsm_jax.comparison.inference.bootstrap import bootstrap_interval
from semrsm_jax.comparison.inference.correction import (
    benjamini_hochberg,
    holm,
    max_statistic,
)
from semrsm_jax.comparison.inference.difference import Difference, difference_test
from semrsm_jax.comparison.inference.each_pair import (
    PairInference,
    infer_each_pair,
    measure_matrix,
)
from semrsm_jax.comparison.inference.interval import Interval
from semrsm_jax.comparison.inference.paired import PairedTest, paired_test
from semrsm_jax.comparison.inference.permutation import (
    PermutationTest,
    permutation_test,
)
from semrsm_jax.comparison.inference.scores import (
    mean_interval,
    median_interval,
    score_interval,
)
from semrsm_jax.comparison.inference.statistic import Statistic

__all__ = [
    "NoiseCeiling",
    "noise_ceiling",
    "Difference",
    "Interval",
    "PairInference",
    "PairedTest",
    "infer_each_pair",
    "PermutationTest",
    "Statistic",
    "benjamini_hochberg",
    "bootstrap_interval",
    "difference_test",
    "holm",
    "max_statistic",
    "mean_interval",
    "measure_matrix",
    "median_interval",
    "paired_test",
    "permutation_test",
    "score_interval",
]
