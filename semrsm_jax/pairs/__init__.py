"""Pairs of samples: which are matched, in what order, and what is kept of each."""

from semrsm_jax.pairs.statistics import PairStatistics, pair_statistics

__all__ = ["PairStatistics", "pair_statistics"]
