"""What matched tokens add up to, on the host, for a stack of affinities."""

from functools import partial

from numpy import ndarray

from semrsm_jax.matching._augment import jit

# A squared distance below this share of the norms is taken from the difference: from
# norms and inner product, float32 would leave it fewer than five digits.
CANCELLATION = 1 / 16


# In any order, so that the sums vectorise; NaN and infinity stay what they are.
@partial(jit, fastmath={"reassoc", "contract"})
def matched_statistics(
    affinity: ndarray,
    permutation: ndarray,
    x: ndarray,
    y: ndarray,
    rows: ndarray,
    columns: ndarray,
    x_norm: ndarray,
    y_norm: ndarray,
    complete: bool,
    inner: ndarray,
    sq_dist: ndarray,
) -> None:
    """Fills inner product and squared distance (B,) of pairs; the unmatched add none.

    Where all tokens are matched (`complete`), the distance follows from the norms,
    unless it cancels to noise; else it is that of the matched tokens. Pair b is of
    sample rows[b] of x (N, S, C) and columns[b] of y (M, T, C), of the dtype of the
    affinity (B, S, T); its permutation (B, S) is -1 where a token stays unmatched. The
    squared norms of all samples, (N,) and (M,) in float64, are filled in where
    negative.
    """
    for b in range(len(affinity)):
        i, j = rows[b], columns[b]
        product = 0.0
        for s in range(affinity.shape[1]):
            t = permutation[b, s]
            if t >= 0:
                product += affinity[b, s, t]
        inner[b] = product
        if complete and permutation[b, 0] >= 0:
            norms = _sq_norm(x, x_norm, i) + _sq_norm(y, y_norm, j)
            sq_dist[b] = norms - 2 * product
            if sq_dist[b] > CANCELLATION * norms:
                continue
        sq_dist[b] = 0.0
        for s in range(affinity.shape[1]):
            t = permutation[b, s]
            if t < 0:
                continue
            square = x.dtype.type(0)
            for c in range(x.shape[2]):
                difference = x[i, s, c] - y[j, t, c]
                square += difference * difference
            sq_dist[b] += square


@partial(jit, fastmath={"reassoc", "contract"})
def _sq_norm(x: ndarray, norms: ndarray, number: int) -> float:
    if norms[number] < 0:
        total = 0.0
        for s in range(x.shape[1]):
            square = x.dtype.type(0)
            for c in range(x.shape[2]):
                square += x[number, s, c] * x[number, s, c]
            total += square
        norms[number] = total
    return norms[number]
