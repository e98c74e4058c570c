"""Comparison of representational similarity matrices."""

from semrsm_jax.comparison._cka import cka
from semrsm_jax.comparison._cka_matrix import cka_matrix, hsic_matrix
from semrsm_jax.comparison._hsic import hsic
from semrsm_jax.comparison._rsa import rsa
from semrsm_jax.comparison.inference import (
    CKA,
    RSA,
    Difference,
    Interval,
    PairedTest,
    PermutationTest,
    Statistic,
    benjamini_hochberg,
    bootstrap_interval,
    difference_test,
    holm,
    max_statistic,
    mean_interval,
    median_interval,
    paired_test,
    permutation_test,
    score_interval,
)
from semrsm_jax.comparison.linear import linear_cka, linear_hsic
from semrsm_jax.comparison.minibatch import (
    MinibatchSums,
    minibatch_cka,
    minibatch_compute,
    minibatch_init,
    minibatch_linear_cka,
    minibatch_update,
    minibatch_update_features,
)

__all__ = [
    "CKA",
    "RSA",
    "Difference",
    "Interval",
    "MinibatchSums",
    "PairedTest",
    "PermutationTest",
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
