"""The additive fit to an RSM: row and column effects from weighted sums alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax.comparison.grouping import KEEP, SampleGroups

Vector = Float[Array, " N"] | Float[np.ndarray, " N"]


def effects(
    rows: Vector,
    columns: Vector,
    counts: Vector,
    estimator: str,
    groups: SampleGroups | None = None,
) -> tuple[Vector, Vector]:
    """Row and column effects, (N,) each, of the additive fit; of JAX arrays or NumPy's.

    The sum of each row (column) weighs its entries by how often their pair counts,
    divided by how often the row (column) does. Groups are for the unbiased estimator.
    """
    total = counts.sum()
    if estimator == "biased":
        row, column = (
            (sums - (counts * sums).sum() / (2 * total)) / total
            for sums in (rows, columns)
        )
        return row, column
    # A symmetric RSM has the first part alone.
    even, odd = (rows + columns) / 2, (rows - columns) / 2
    if groups is None:
        spread = total - 2 * counts
        shares = counts / spread
        even = (even - (shares * even).sum() / (1 + shares.sum())) / spread
        odd = odd / total
    else:
        even, odd = _effects_by_groups(even, odd, counts, groups)
    return even + odd, even - odd


def _effects_by_groups(
    even: Vector, odd: Vector, counts: Vector, groups: SampleGroups
) -> tuple[Vector, Vector]:
    """The fit to the pairs that count, solved for the sums over groups first."""
    keep, members = groups.within == KEEP, groups.members

    def sums(values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return np.bincount(members, values, len(values))
        return jax.ops.segment_sum(values, members, len(values))

    total, weight, size = counts.sum(), sums(counts), sums(0 * counts + 1)
    spread = total - 2 * weight + 2 * keep * (size - 1)
    weighted = sums(counts * even)
    mean = (weighted / spread).sum() / (1 + (weight / spread).sum())
    others = mean - ((weighted - weight * mean) / spread)[members]
    odd_others = (sums(counts * odd) / total)[members]
    if keep:
        others = others + ((sums(even) - size * mean) / spread)[members]
        odd_others = odd_others - (sums(odd) / total)[members]
    weight, size = weight[members], size[members]
    even = (even - others) / (total - weight + keep * (size - 2))
    return even, (odd - odd_others) / (total - weight + keep * size)


def product_of_sums(
    cross: Float[Array, ""],
    sums_p: tuple[Vector, Vector],
    sums_q: tuple[Vector, Vector],
    counts: Float[Array, " N"],
    estimator: str,
    groups: SampleGroups | None = None,
) -> Float[Array, ""]:
    """<P~, Q~> from <P, Q> and the weighted sums of the rows and columns of both.

    The fit is a projection, so that <P~, Q~> = <P, Q> - <fit of P, Q>.
    """
    for p, q in zip(effects(*sums_p, counts, estimator, groups), sums_q, strict=True):
        cross = cross - jnp.sum(counts * p * q)
    return cross
