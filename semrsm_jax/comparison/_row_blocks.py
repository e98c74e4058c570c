"""RSMs read by blocks of rows: their centring, and inner products of many at once.

On the host, in NumPy: a block is read once for each of two passes and every pass is
bound by memory, so there is nothing for an accelerator to gain. A block is small enough
to stay in the processor's cache between its few operations.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from semrsm_jax._representations import accumulation_dtype
from semrsm_jax._resources import cores

# Bytes that the blocks of all RSMs take together, about; and where one of them is not
# symmetric, so that each of its blocks costs a reading of the whole.
_CACHE = 4 * 2**20
_ROOM = 256 * 2**20
# Multiplications up to which BLAS keeps a matrix product on one core.
_SERIAL = 2**18


class RowSliced(Protocol):
    """What an RSM must offer to be read by rows: NumPy, memmap, Zarr, JAX and such."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, N)."""
        ...

    @property
    def dtype(self) -> Any:
        """A real dtype."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:
        """The rows of a slice with step 1."""
        ...


class Centring(NamedTuple):
    """What the first pass over an RSM finds, and the second takes off it.

    Attributes:
      offset: near every entry; taken off before anything else, so that a large constant
        in the RSM costs no digits.
      scale: largest |entry - offset|, or 1; divided by, lest products overflow.
      rows: (N,) the row effects, in the units of entries / scale.
      columns: (N,) the column effects.
      noise: up to which a centred entry / scale is rounding.
      symmetric: whether it is, up to rounding.
    """

    offset: float
    scale: float
    rows: Float[np.ndarray, " N"]
    columns: Float[np.ndarray, " N"]
    noise: float
    symmetric: bool


class Centred(NamedTuple):
    """An RSM with its centring: reads blocks of the centred rows."""

    rsm: RowSliced
    centring: Centring
    diagonal: bool

    def rows(self, start: int, stop: int) -> Float[np.ndarray, "b N"]:
        """Rows start to stop, centred, of order 1; zero on the diagonal if unbiased."""
        offset, scale, rows, columns, *_ = self.centring
        block = _read(self.rsm, start, stop, offset)
        block *= 1 / scale
        block -= rows[start:stop, None].astype(block.dtype)
        block -= columns.astype(block.dtype)
        if not self.diagonal:
            _zero_diagonal(block, start)
        return block

    def columns(self, start: int, stop: int) -> Float[np.ndarray, "b N"]:
        """The same columns, transposed.

        Only rows can be read: of an RSM that is not symmetric that is all of them.
        """
        if self.centring.symmetric:
            return self.rows(start, stop)
        n = self.rsm.shape[0]
        return np.concatenate(
            [self.rows(a, b)[:, start:stop] for a, b in blocks(n, stop - start)]
        ).T


def centred(name: str, rsm: RowSliced, diagonal: bool) -> Centred:
    """Passes over an RSM once for its centring.

    Args:
      name: the RSM's name, for the error.
      rsm: read by rows.
      diagonal: whether the diagonal takes part, as in the biased estimator.

    Raises:
      ValueError: NaN or infinity.
    """
    n = rsm.shape[0]
    offset = float(np.mean(_read(rsm, 0, 1, 0)))
    # Symmetric is what K v = K' v says of a random v, with probability 1.
    probe = np.random.default_rng(0).choice([-1.0, 1.0], n)
    rows, along, columns, across = np.zeros((4, n))
    reach = size = 0.0
    eps = np.finfo(np.float64).eps
    for start, stop in blocks(n, block_rows(1, n, rsm, _CACHE)):
        block = _read(rsm, start, stop, offset)
        eps = float(np.finfo(block.dtype).eps)
        low, high = float(block.min()), float(block.max())
        if not np.isfinite(high - low):
            bad = int(np.sum(~np.isfinite(block)))
            raise ValueError(
                f"{name} must be finite in {block.dtype}, got {bad} NaN or infinite of "
                f"{block.size} values in rows {start} to {stop - 1}"
            )
        reach = max(reach, high, -low)
        size = max(size, abs(high + offset), abs(low + offset))
        if not diagonal:
            _zero_diagonal(block, start)
        signs = probe.astype(block.dtype)
        rows[start:stop] = block.sum(1)
        columns += block.sum(0)
        along[start:stop] = np.einsum("bx,x->b", block, signs)
        across += np.einsum("bx,b->x", block, signs[start:stop])
    scale = reach if reach > 0 else 1.0
    # What is not symmetric by less than this adds its square: nothing.
    tolerance = 8 * eps * n * scale
    symmetric = bool(np.max(np.abs(along - across)) <= tolerance)
    width = n if diagonal else n - 2
    total = rows.sum() / (n if diagonal else n - 1)
    rows, columns = ((sums - total / 2) / width / scale for sums in (rows, columns))
    noise = 8 * eps * size / scale
    found = Centring(offset, scale, rows, columns, noise, symmetric)
    return Centred(rsm, found, diagonal)


class Products(NamedTuple):
    """Inner products <K~, L~'> of centred RSMs, each divided by its scale.

    Attributes:
      cross: (R, Q) of each of R with each of Q.
      left: (R,) of each of R with itself.
      right: (Q,) of each of Q with itself.
    """

    cross: Float[np.ndarray, "R Q"]
    left: Float[np.ndarray, " R"]
    right: Float[np.ndarray, " Q"]


def inner_products(
    left: Sequence[Centred], right: Sequence[Centred] | None = None
) -> Products:
    """Takes all inner products in one pass; exactly 0 with an RSM without structure.

    Args:
      left: R RSMs.
      right: Q others, or None for `left` again.
    """
    every = [*left, *(right or ())]
    count, n = len(left), every[0].rsm.shape[0]
    split = 0 if right is None else count
    mirrored = [k for k, each in enumerate(every) if not each.centring.symmetric]
    dtype = np.result_type(*(_dtype(each.rsm) for each in every))
    room = _ROOM if mirrored else _CACHE
    step = min(block_rows(len(every), n, each.rsm, room) for each in every)

    def of_rows(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each with each; each entry squared; each with its own transpose."""
        start, stop = rows
        block = np.empty((len(every), stop - start, n), dtype)
        for k, each in enumerate(every):
            block[k] = each.rows(start, stop)
        turned = block
        if mirrored:
            turned = block.copy()
            for k in mirrored:
                turned[k] = every[k].columns(start, stop)
        own = np.zeros(len(every))
        for k in mirrored:
            own[k] = np.einsum("bx,bx->b", block[k], turned[k]).sum(dtype=float)
        squares = np.einsum("kbx,kbx->kb", block, block).sum(1, dtype=float)
        return _products(block[:count], turned[split:]), squares, own

    cross, squares, own = np.zeros((count, len(every) - split)), 0.0, 0.0
    # Blocks at once on all cores, unless they are large; summed in their order.
    with ThreadPoolExecutor(1 if mirrored else cores()) as pool:
        for part in pool.map(of_rows, blocks(n, step)):
            cross, squares, own = cross + part[0], squares + part[1], own + part[2]
    noise = np.array([each.centring.noise for each in every])
    # What centring left of an RSM without structure is rounding.
    structured = squares > (n * noise) ** 2
    symmetric = np.array([each.centring.symmetric for each in every])
    own = np.where(structured, np.where(symmetric, squares, own), 0)
    cross *= structured[:count, None]
    cross *= structured[split:]
    return Products(cross, own[:count], own[split:])


def _products(
    left: Float[np.ndarray, "R b N"], right: Float[np.ndarray, "Q b N"]
) -> Float[np.ndarray, "R Q"]:
    """Inner products over rows and columns, those of each row summed in float64.

    As many small matrix products: a large one is dealt out to all cores, which then
    wait for each other, longer than they work where other processes keep them busy.
    """
    width = max(256, _SERIAL // (len(left) * len(right)))
    total = np.zeros((len(left), len(right)))
    for start, stop in blocks(left.shape[-1], width):
        a, b = (m[..., start:stop] for m in (left, right))
        total += np.sum(a.swapaxes(0, 1) @ b.transpose(1, 2, 0), 0, dtype=float)
    return total


def blocks(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each block of so many rows; the last may be short."""
    for start in range(0, n, rows):
        yield start, min(start + rows, n)


def block_rows(rsms: int, n: int, rsm: RowSliced, room: int) -> int:
    """Rows in a block, so that the blocks of `rsms` RSMs take about so many bytes."""
    chunks = getattr(rsm, "chunks", None)
    # A compressed chunk is decoded whole: reading less of it would decode it again.
    least = chunks[0] if chunks else 1
    return min(n, max(least, room // (rsms * n * _dtype(rsm).itemsize), 1))


def _read(rsm: RowSliced, start: int, stop: int, offset: float) -> np.ndarray:
    """A copy of some rows, less the offset, in the dtype to compute in."""
    block = np.array(rsm[start:stop], _dtype(rsm))
    block -= offset
    return block


def _dtype(rsm: RowSliced) -> np.dtype:
    """float64 for itself and integers, else float32."""
    dtype = np.dtype(rsm.dtype)
    return np.dtype(float if dtype.kind in "iu" else accumulation_dtype(dtype))


def _zero_diagonal(block: np.ndarray, start: int) -> None:
    index = np.arange(len(block))
    block[index, start + index] = 0
