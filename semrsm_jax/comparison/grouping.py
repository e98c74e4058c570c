"""Groups of samples that depend on each other, and which pairs of samples count.

Crops of one photograph, frames of one video or images of one class are no independent
samples. Inference draws and exchanges whole groups; here it is said what the pairs
within a group count.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from semrsm_jax import _checks

KEEP, DROP = WITHIN = "keep", "drop"

# A test that cannot give a p-value up to this is not one.
_LEVEL = 0.05
# The fewest units whose signs can give a two-sided p-value below it: 2 / 2^6.
LEAST_SIGNS = 6
# Over fewer units, intervals and tests of a difference miss what they state: simulated
# with 10 and 20, see docs/guide/inference.md.
_FEW = 15


@partial(
    jax.tree_util.register_dataclass, data_fields=["members"], meta_fields=["within"]
)
@dataclass(frozen=True)
class SampleGroups:
    """The group of each sample, and whether pairs within a group count.

    Attributes:
      members: (N,), the group of each sample, numbered from 0.
      within: ``"keep"``: a pair within a group counts as often as its group;
        ``"drop"``: never.
    """

    members: Int[Array, " N"] | Int[np.ndarray, " N"]
    within: str = field(default=DROP)


def check_groups(
    groups: ArrayLike | None, samples: int
) -> tuple[Int[np.ndarray, " n"] | None, int]:
    """The group of each sample, numbered from 0, or None, and how many there are.

    Without groups (n,), each sample is one. TypeError: neither integers nor text;
    ValueError: not one for each sample, or fewer than 2 groups.
    """
    numbers, count = None, samples
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (samples,):
            raise ValueError(
                f"groups must have one entry for each of {samples} samples, got shape "
                f"{groups.shape}"
            )
        # Text as pandas and newer NumPy hold it.
        if groups.dtype.kind in "OT" and all(isinstance(each, str) for each in groups):
            groups = np.array(groups.tolist())
        if groups.dtype.kind not in "iuU":
            raise TypeError(
                f"groups must be integers or text, got dtype {groups.dtype}"
            )
        names, numbers = np.unique(groups, return_inverse=True)
        count = len(names)
    if count < 2:
        raise ValueError(f"at least 2 samples or groups are needed, got {count}")
    return numbers, count


def groups_apart(
    groups: ArrayLike | SampleGroups | None,
    samples: int,
    least: int = 2,
    purpose: str = "",
) -> SampleGroups | None:
    """Groups whose pairs are left out, checked and numbered; None and others stay.

    Raises as `check_groups`; ValueError for fewer than `least`, needed for a `purpose`.
    """
    if groups is None or isinstance(groups, SampleGroups):
        return groups
    members, units = check_groups(groups, samples)
    if units < least:
        raise ValueError(f"groups must be at least {least}{purpose}, got {units}")
    assert members is not None
    return SampleGroups(members, DROP)


def sample_groups(
    groups: ArrayLike | None, samples: int, within: str
) -> SampleGroups | None:
    """Checks and numbers the groups; None where each sample stands alone.

    Raises as `check_groups`; ValueError for an unknown `within`, or "drop" without
    groups.
    """
    _checks.one_of("within_groups", within, WITHIN)
    if groups is None:
        if within == DROP:
            raise ValueError(
                "within_groups='drop' needs groups, one for each sample, got None"
            )
        return None
    members, _ = check_groups(groups, samples)
    assert members is not None
    return SampleGroups(members, within)


def carried_groups(groups: ArrayLike | None, *rsms: Any) -> ArrayLike | None:
    """The groups given, or those of RSMs (``x_groups``); ValueError: they differ."""
    if groups is not None:
        return groups
    carried = [getattr(each, "x_groups", None) for each in rsms]
    carried = [each for each in carried if each is not None]
    if any(each != carried[0] for each in carried):
        raise ValueError(
            "groups must be given where the RSMs carry different ones: their samples "
            "may be others, or in another order"
        )
    return carried[0] if carried else None


def check_testable(units: int, least: float, what: str) -> None:
    """Raises ValueError for a test of so few units whose smallest p-value exceeds 0.05.

    The error states `what` gives the p-value.
    """
    if least > _LEVEL:
        raise ValueError(
            f"groups, or independent samples, must be more for this test, got {units}: "
            f"{what} cannot give p below {least:.3g}; take more groups, or give the "
            "interval without a test"
        )


def least_of_permutations(units: int, two_sided: bool) -> float:
    """The smallest p-value of all orders of so many units."""
    return min(1.0, (1 + two_sided) / math.factorial(min(units, 20)))


def is_few(units: int) -> bool:
    """Whether intervals over so many units may miss what they state."""
    return units < _FEW


def pair_counts(
    counts: Float[Array, " N"], groups: SampleGroups | None
) -> Float[Array, " P"]:
    """How often each pair i < j counts, row by row, P = N (N - 1) / 2.

    The product of how often both samples count (N,), which is the same within a group.
    A group that is drawn twice is there twice, and a pair within it twice, not four
    times: its samples would otherwise be paired with those of their own copy.
    """
    first, second = np.triu_indices(len(counts), 1)
    pairs = counts[first] * counts[second]
    if groups is None:
        return pairs
    same = groups.members[first] == groups.members[second]
    return jnp.where(same, counts[first] if groups.within == KEEP else 0, pairs)
