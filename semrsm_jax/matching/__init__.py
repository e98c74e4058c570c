"""Matchers: rules that pair the tokens of two samples, one algorithm a file."""

from semrsm_jax.matching._solvers import device_steps
from semrsm_jax.matching.assignment import Assignment, linear_assignment
from semrsm_jax.matching.base import Matcher, Matching, SoftMatching, match
from semrsm_jax.matching.batch_optimal import BatchOptimal
from semrsm_jax.matching.bounds import DualBound
from semrsm_jax.matching.circular_shift import CircularShift
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.greedy import Greedy
from semrsm_jax.matching.identity import Identity
from semrsm_jax.matching.perturbed import perturbed_permutation
from semrsm_jax.matching.sinkhorn import Sinkhorn, round_plan
from semrsm_jax.matching.straight_through import StraightThrough
from semrsm_jax.matching.topk_greedy import TopKGreedy

__all__ = [
    "Assignment",
    "BatchOptimal",
    "CircularShift",
    "DualBound",
    "Exact",
    "Greedy",
    "Identity",
    "Matcher",
    "Matching",
    "Sinkhorn",
    "SoftMatching",
    "StraightThrough",
    "TopKGreedy",
    "device_steps",
    "linear_assignment",
    "match",
    "perturbed_permutation",
    "round_plan",
]
