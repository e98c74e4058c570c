"""What matched tokens add up to, on the host: one pass over tokens where they lie."""

from functools import partial

import numpy as np
from numpy import ndarray

from semrsm_jax.matching._augment import jit


# In any order, so that the sums vectorise; NaN and infinity stay what they are.
@partial(jit, fastmath={"reassoc", "contract"})
def matched_sums(
    x: ndarray, y: ndarray, permutation: ndarray
) -> tuple[ndarray, ndarray]:
    """Inner product and squared distance of matched tokens; others add nothing.

    XLA on the CPU gathers the partners into memory first, which takes some five times
    as long.

    Args:
        x: float32 or float64 (B, S, C).
        y: (B, T, C), of the same dtype.
        permutation: int32 (B, S), -1 where a token stays unmatched.

    Returns:
        Both sums, float64 (B,); each token's own are taken in the dtype of x.
    """
    pairs, tokens, channels = x.shape
    inner = np.zeros(pairs)
    sq_dist = np.zeros(pairs)
    zero = x.dtype.type(0)
    for b in range(pairs):
        for s in range(tokens):
            t = permutation[b, s]
            if t < 0:
                continue
            product, square = zero, zero
            for c in range(channels):
                difference = x[b, s, c] - y[b, t, c]
                product += x[b, s, c] * y[b, t, c]
                square += difference * difference
            inner[b] += product
            sq_dist[b] += square
    return inner, sq_dist
