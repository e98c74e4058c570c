"""What is kept of each sample so that pairs can be bounded without their tokens."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from semrsm_jax import _checks
from semrsm_jax.pairs.selection import batches
from semrsm_jax.pairs.statistics import squared_norms

# Bytes of tokens, in float64, that are read at a time.
_READ_BYTES = 2**25


class Summaries(NamedTuple):
    """Sums over the tokens of each sample, in float64; masked tokens are left out.

    Attributes:
      total: (N, C), the sum of the tokens.
      sq_norm: (N,), the squared norm of all of them.
      norm_sum: (N,), the sum of the norms of the tokens.
      norm_max: (N,), the largest of these norms.
      count: (N,), how many tokens take part.
      matched_sq_norm: (N,), the squared norm as `pair_statistics` gives it.
    """

    total: Float[np.ndarray, "N C"]
    sq_norm: Float[np.ndarray, " N"]
    norm_sum: Float[np.ndarray, " N"]
    norm_max: Float[np.ndarray, " N"]
    count: Float[np.ndarray, " N"]
    matched_sq_norm: Float[np.ndarray, " N"]

    def part(self, rows: slice) -> "Summaries":
        """The summaries of some samples."""
        return Summaries(*(values[rows] for values in self))

    def centered(self, slots: int) -> Float[np.ndarray, " N"]:
        """The norm of each sample less its mean token, filled up with zeros to `slots`.

        Rounded up.
        """
        mean = np.einsum("nc,nc->n", self.total, self.total) / slots
        return np.sqrt(np.maximum(self.sq_norm - mean, 0) + 1e-13 * self.sq_norm)


def summarize(name: str, rows: Any, mask: Any, dtype: np.dtype) -> Summaries:
    """Reads all samples (N, S, C) once, in parts; errors call them `name`.

    Raises:
      ValueError: a value is not finite, or a norm leaves the range of the dtype.
    """
    mask = None if mask is None else np.asarray(mask)
    samples, tokens, channels = rows.shape
    parts = []
    for part in batches(samples, max(1, _READ_BYTES // (8 * tokens * channels))):
        read = np.asarray(rows[part])
        where = f"{name}, samples {part.start} to {part.stop - 1},"
        _checks.finite(where, read)
        kept = None if mask is None else jnp.asarray(mask[part])
        values = present(read, None if mask is None else mask[part], dtype)
        squares = np.einsum("nsc,nsc->ns", values, values)
        norms = np.sqrt(squares)
        count = np.full(len(read), tokens) if mask is None else mask[part].sum(-1)
        parts.append(
            Summaries(
                values.sum(1),
                squares.sum(1),
                norms.sum(1),
                norms.max(1),
                count.astype(np.float64),
                np.asarray(squared_norms(where, read, kept, dtype)),
            )
        )
    return Summaries(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def present(
    tokens: np.ndarray, mask: np.ndarray | None, dtype: np.dtype
) -> Float[np.ndarray, "N S C"]:
    """Tokens as they are matched, in float64, masked ones zero."""
    values = tokens.astype(dtype).astype(np.float64)
    return values if mask is None else values * mask[..., None]
