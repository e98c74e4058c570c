"""RSMs read by blocks of rows: their centering, and inner products of many at once.

On the host, in NumPy: a block is read once for each of two passes and every pass is
bound by memory, so an accelerator would gain nothing. A block is small enough to stay
in the processor's cache between its few operations.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import cores
from semrsm_jax.comparison._effects import effects
from semrsm_jax.comparison._hsic import transposed_share
from semrsm_jax.comparison.grouping import SampleGroups

# Bytes that the blocks of all RSMs take together, about; and where one of them is not
# symmetric, so that for each of its blocks all of it is read.
_CACHE = 4 * 2**20
_ROOM = 256 * 2**20
# Multiplications up to which BLAS keeps a matrix product on one core.
_SERIAL = 2**18


class CenteredRows(NamedTuple):
    """An RSM that is read as blocks of centered rows, each entry of order 1."""

    rsm: Any
    estimator: str  # of HSIC; for the unbiased one the diagonal is zero
    # Near every entry; subtracted before anything else, so that a large constant in the
    # RSM costs no digits.
    offset: float
    scale: float  # largest |entry - offset|, or 1; so that products stay finite
    row_effects: Float[np.ndarray, " N"]  # in the units of entries / scale
    column_effects: Float[np.ndarray, " N"]
    noise: float  # up to this size, a centered entry / scale is rounding
    symmetric: bool  # whether it is, up to rounding
    groups: SampleGroups | None = None  # whose pairs are left out

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "b N"]:
        """Rows start to stop."""
        block = _read(self.rsm, start, stop, self.offset)
        block *= 1 / self.scale
        block -= self.row_effects[start:stop, None].astype(block.dtype)
        block -= self.column_effects.astype(block.dtype)
        if self.estimator == "unbiased":
            _leave_out(block, start, self.groups)
        return block

    def columns(self, start: int, stop: int) -> Float[np.ndarray, "b N"]:
        """Columns start to stop, transposed; all rows are read if not symmetric."""
        if self.symmetric:
            return self.rows(start, stop)
        n = self.rsm.shape[0]
        return np.concatenate(
            [self.rows(a, b)[:, start:stop] for a, b in blocks(n, stop - start)]
        ).T


def centered_rows(
    name: str, rsm: Any, estimator: str, groups: SampleGroups | None = None
) -> CenteredRows:
    """Reads an RSM once for its centering; ValueError names one that is not finite."""
    n = rsm.shape[0]
    members = np.arange(n) if groups is None else np.asarray(groups.members)
    counted = (members != members[0]) | (estimator == "biased")
    offset = float(np.mean(_read(rsm, 0, 1, 0)[0], dtype=float, where=counted))
    offset = offset if np.isfinite(offset) else 0.0  # an error is raised below
    # K v = K' v for a random v only where K is symmetric, with probability 1.
    probe = np.random.default_rng(0).choice([-1.0, 1.0], n)
    rows, along, columns, across = np.zeros((4, n))
    reach = size = 0.0
    eps = np.finfo(np.float64).eps
    for start, stop in blocks(n, block_rows(1, n, rsm, _CACHE)):
        block = _read(rsm, start, stop, offset)
        eps = float(np.finfo(block.dtype).eps)
        bad = int(np.sum(~np.isfinite(block)))
        if bad:
            raise ValueError(
                f"{name} must be finite in {block.dtype}, got {bad} NaN or infinite of "
                f"{block.size} values in rows {start} to {stop - 1}"
            )
        if estimator == "unbiased":
            _leave_out(block, start, groups)
        low, high = float(block.min()), float(block.max())
        reach = max(reach, high, -low)
        size = max(size, abs(high + offset), abs(low + offset))
        signs = probe.astype(block.dtype)
        rows[start:stop] = block.sum(1)
        columns += block.sum(0)
        along[start:stop] = np.einsum("bx,x->b", block, signs)
        across += np.einsum("bx,b->x", block, signs[start:stop])
    scale = reach if reach > 0 else 1.0
    # An RSM that is less asymmetric than this adds the square of it, which is rounding.
    tolerance = 8 * eps * n * scale
    symmetric = bool(np.max(np.abs(along - across)) <= tolerance)
    noise = 8 * eps * size / scale
    rows, columns = map(
        np.asarray,
        effects(rows / scale, columns / scale, np.ones(n), estimator, groups),
    )
    return CenteredRows(
        rsm, estimator, offset, scale, rows, columns, noise, symmetric, groups
    )


class Products(NamedTuple):
    """Inner products <K~, L~'> of centered RSMs, each divided by its scale."""

    cross: Float[np.ndarray, "R Q"]
    left: Float[np.ndarray, " R"]  # of each of R with itself
    right: Float[np.ndarray, " Q"]


def inner_products(
    left: Sequence[CenteredRows], right: Sequence[CenteredRows] | None = None
) -> Products:
    """Takes all inner products in one pass; exactly 0 with an RSM without structure.

    Of all on the left with those on the right, or with each other.
    """
    rsms = [*left, *(right or ())]
    count, n = len(left), rsms[0].rsm.shape[0]
    split = 0 if right is None else count
    asymmetric = [k for k, each in enumerate(rsms) if not each.symmetric]
    dtype = np.result_type(*(compute_dtype(each.rsm) for each in rsms))
    unbiased = rsms[0].estimator == "unbiased"
    share = transposed_share(n) if unbiased else 0.0
    room = _ROOM if asymmetric else _CACHE
    step = min(block_rows(len(rsms), n, each.rsm, room) for each in rsms)

    def of_rows(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each with each; each entry squared; each with its own transpose."""
        start, stop = rows
        block = np.empty((len(rsms), stop - start, n), dtype)
        for k, each in enumerate(rsms):
            block[k] = each.rows(start, stop)
        transposed = block.copy() if asymmetric else block
        own = np.zeros(len(rsms))
        for k in asymmetric:
            transposed[k] = rsms[k].columns(start, stop)
            own[k] = np.einsum("bx,bx->b", block[k], transposed[k]).sum(dtype=float)
        squares = np.einsum("kbx,kbx->kb", block, block).sum(1, dtype=float)
        cross = block_products(block[:count], transposed[split:])
        if asymmetric and unbiased:
            cross += share * (block_products(block[:count], block[split:]) - cross)
        return cross, squares, own

    cross, squares, own = np.zeros((count, len(rsms) - split)), 0.0, 0.0
    # Blocks at once on all cores, unless they are large; summed in their order.
    with ThreadPoolExecutor(1 if asymmetric else cores()) as pool:
        for part in pool.map(of_rows, blocks(n, step)):
            cross, squares, own = cross + part[0], squares + part[1], own + part[2]
    # What centering left of an RSM without structure is rounding.
    structured = squares > (n * np.array([each.noise for each in rsms])) ** 2
    symmetric = np.array([each.symmetric for each in rsms])
    own = own + share * (squares - own)
    own = np.where(structured, np.where(symmetric, squares, own), 0)
    cross *= structured[:count, None]
    cross *= structured[split:]
    return Products(cross, own[:count], own[split:])


def block_products(
    left: Float[np.ndarray, "R b N"], right: Float[np.ndarray, "Q b N"]
) -> Float[np.ndarray, "R Q"]:
    """Inner products over rows and columns, those of each row summed in float64.

    As many small matrix products: BLAS splits a large one over all cores, which then
    wait for each other, longer than they work where other processes use them.
    """
    width = max(256, _SERIAL // (len(left) * len(right)))
    total = np.zeros((len(left), len(right)))
    for start, stop in blocks(left.shape[-1], width):
        a, b = (m[..., start:stop] for m in (left, right))
        total += np.sum(a.swapaxes(0, 1) @ b.transpose(1, 2, 0), 0, dtype=float)
    return total


def named(
    argument: str, values: Sequence[Any] | Mapping[str, Any], what: str
) -> dict[str, Any]:
    """Each RSM, or layer, by the name that an error calls it."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    result = {f"{argument}[{key!r}]": value for key, value in items}
    if not result:
        raise ValueError(f"{argument} must hold at least one {what}, got none")
    return result


def blocks(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each block of so many rows; the last may be short."""
    for start in range(0, n, rows):
        yield start, min(start + rows, n)


def block_rows(rsms: int, n: int, rsm: Any, room: int) -> int:
    """Rows in a block, so that the blocks of `rsms` RSMs take about so many bytes."""
    chunks = getattr(rsm, "chunks", None)
    # A compressed chunk is decoded as a whole: reading less would decode it again.
    least = chunks[0] if chunks else 1
    return min(n, max(least, room // (rsms * n * compute_dtype(rsm).itemsize), 1))


def _read(rsm: Any, start: int, stop: int, offset: float) -> np.ndarray:
    """A copy of some rows, less the offset, in the dtype to compute in."""
    block = np.array(rsm[start:stop], compute_dtype(rsm))
    block -= offset
    return block


def compute_dtype(rsm: Any) -> np.dtype:
    """float64 for itself and integers, else float32."""
    dtype = np.dtype(rsm.dtype)
    return np.dtype(float if dtype.kind in "iu" else accumulation_dtype(dtype))


def _leave_out(block: np.ndarray, start: int, groups: SampleGroups | None) -> None:
    """Zero for pairs of a sample with itself, or within a group."""
    if groups is None:
        index = np.arange(len(block))
        block[index, start + index] = 0
    else:
        members = np.asarray(groups.members)
        block[members[start : start + len(block), None] == members] = 0
