"""Order statistics of data too large to sort: read several times, never held."""

from collections.abc import Callable, Iterable

import numpy as np

_DIGIT = 16  # bits of a number that are settled in one reading


def middle_positive(
    blocks: Callable[[], Iterable[np.ndarray]],
) -> tuple[np.floating, np.floating] | None:
    """The lower and the upper median of all positive values, exactly; None without any.

    The bits of positive floats, read as integers, have the order of their values. So
    each reading counts the values by their next 16 bits among those that begin like the
    median, and settles these. Each call of `blocks` goes once through the same float32
    or float64 values: one reading counts them, and two or four select. ValueError: a
    value is NaN.
    """
    dtype, count = np.dtype(np.float32), 0
    for block in blocks():
        dtype = block.dtype
        if np.isnan(block).any():
            raise ValueError("distances must not be NaN, got NaN: no median is known")
        count += int(np.count_nonzero(block > 0))
    if count == 0:
        return None
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    # Rank among the values that begin with the prefix, and that prefix.
    targets = [((count - 1) // 2, 0), (count // 2, 0)]
    for shift in range(8 * dtype.itemsize - _DIGIT, -1, -_DIGIT):
        counts = {prefix: np.zeros(2**_DIGIT, np.int64) for _, prefix in targets}
        for block in blocks():
            heads = block[block > 0].view(bits) >> bits.type(shift)
            for prefix, histogram in counts.items():
                digits = heads - bits.type(prefix << _DIGIT)
                # Unsigned: a smaller prefix wraps around and is too large as well.
                histogram += np.bincount(
                    digits[digits < 2**_DIGIT].astype(np.intp), minlength=2**_DIGIT
                )
        targets = [_descend(rank, prefix, counts[prefix]) for rank, prefix in targets]
    lower, upper = (
        np.array([value], bits).view(dtype)[0].astype(dtype) for _, value in targets
    )
    return lower, upper


def _descend(rank: int, prefix: int, counts: np.ndarray) -> tuple[int, int]:
    """The rank within the next digit's values, and the prefix with that digit."""
    ends = np.cumsum(counts)
    digit = int(np.searchsorted(ends, rank, side="right"))
    before = int(ends[digit - 1]) if digit else 0
    return rank - before, prefix << _DIGIT | digit
