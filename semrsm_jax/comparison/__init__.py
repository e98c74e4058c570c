"""Comparison of representational similarity matrices."""

from semrsm_jax.comparison._cka import CKA, HSIC, cka
from semrsm_jax.comparison._cka_matrix import cka_matrix, hsic_matrix
from semrsm_jax.comparison._hsic import hsic
from semrsm_jax.comparison._linear_cka_matrix import (
    linear_cka_matrix,
    linear_cka_matrix_of_batches,
)
from semrsm_jax.comparison._rsa import RSA, rsa
from semrsm_jax.comparison.alignment import align_tokens
from semrsm_jax.comparison.correlations import PWCCA, SVCCA
from semrsm_jax.comparison.grouping import SampleGroups
from semrsm_jax.comparison.inference import (
    Difference,
    Interval,
    NoiseCeiling,
    PairedTest,
    PermutationTest,
    Statistic,
    benjamini_hochberg,
    bootstrap_interval,
    difference_test,
    holm,
    max_statistic,
    mean_interval,
    measure_matrix,
    median_interval,
    noise_ceiling,
    paired_test,
    permutation_test,
    score_interval,
)
from semrsm_jax.comparison.linear import linear_cka, linear_hsic
from semrsm_jax.comparison.measure import Measure
from semrsm_jax.comparison.minibatch import (
    MinibatchSums,
    minibatch_cka,
    minibatch_compute,
    minibatch_init,
    minibatch_linear_cka,
    minibatch_update,
    minibatch_update_features,
)
from semrsm_jax.comparison.neighborhoods import CKNNA, Jaccard, MutualKNN
from semrsm_jax.comparison.predictivity import LinearPredictivity
from semrsm_jax.comparison.shape import AngularShape, Procrustes

__all__ = [
    "noise_ceiling",
    "align_tokens",
    "NoiseCeiling",
    "linear_cka_matrix",
    "linear_cka_matrix_of_batches",
    "PWCCA",
    "SVCCA",
    "LinearPredictivity",
    "AngularShape",
    "Procrustes",
    "CKA",
    "CKNNA",
    "HSIC",
    "RSA",
    "Difference",
    "Interval",
    "Jaccard",
    "Measure",
    "MinibatchSums",
    "MutualKNN",
    "PairedTest",
    "PermutationTest",
    "SampleGroups",
    "Statistic",
    "benjamini_hochberg",
    "bootstrap_interval",
    "cka",
    "cka_matrix",
    "difference_test",
    "holm",
    "hsic",
    "hsic_matrix",
    "linear_cka",
    "linear_hsic",
    "max_statistic",
    "mean_interval",
    "measure_matrix",
    "median_interval",
    "minibatch_cka",
    "minibatch_compute",
    "minibatch_init",
    "minibatch_linear_cka",
    "minibatch_update",
    "minibatch_update_features",
    "paired_test",
    "permutation_test",
    "rsa",
    "score_interval",
]
