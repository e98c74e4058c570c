"""Upper bounds on the matched inner product of pairs, and what each of them costs.

All are rounded up, so that they hold for the value as it is computed. They are taken
from what is kept of each sample: its summaries.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.matching.bounds import DualBound
from semrsm_jax.matching.identity import Identity
from semrsm_jax.pairs.chunk_size import pairs_in_flight
from semrsm_jax.pairs.executor import PairInputs, Rule
from semrsm_jax.pairs.norms import squared_norms
from semrsm_jax.pairs.selection import batches, take

# Bytes of tokens, in float64, that are read at a time.
_READ_BYTES = 2**25

# Where C x C matrices are too costly to try: seconds for a pair, measured at C=256, and
# how they grow.
_GELBRICH_SECONDS, _GELBRICH_CHANNELS = 5e-3, 256
_GELBRICH_BYTES = 2**28

# Below this size of affinities the matching costs about what a dual bound costs.
_DUAL_ENTRIES = 2**20
# What compiling a bound takes, in seconds, and how much more must be left to solve.
_COMPILATION, _WORTH = 1.5, 10


class Summaries(NamedTuple):
    """Sums over the tokens of each sample, in float64; masked tokens are left out."""

    total: Float[np.ndarray, "N C"]
    sq_norm: Float[np.ndarray, " N"]  # of all tokens together
    norm_sum: Float[np.ndarray, " N"]  # the sum of the norms of the tokens
    norm_max: Float[np.ndarray, " N"]  # the largest of these norms
    count: Float[np.ndarray, " N"]  # how many tokens take part
    matched_sq_norm: Float[np.ndarray, " N"]  # as `pair_statistics` gives it

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
    """Reads all samples (N, S, C) once, in parts.

    ValueError, with their name: a value is not finite, or a norm out of the dtype's
    range.
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


@dataclass(frozen=True, eq=False)
class SearchBlock:
    """Queries and a part of the database, with summaries of each sample."""

    inputs: PairInputs
    x: Summaries
    y: Summaries

    @property
    def slots(self) -> int:
        """Places for tokens: a matching is a permutation of both sides, with zeros."""
        return int(max(self.x.count.max(), self.y.count.max()))

    def least_distance(
        self, rows: np.ndarray, columns: np.ndarray, bounds: np.ndarray
    ) -> np.ndarray:
        """Bounds the squared distances of pairs from below, by their inner products."""
        if min(self.x.count.min(), self.y.count.min()) < self.slots:
            # Which tokens stay unmatched, and leave the distance, is not known.
            return np.zeros(len(rows))
        squares = self.x.sq_norm[rows] + self.y.sq_norm[columns]
        eps = np.finfo(accumulation_dtype(self.inputs.dtype)).eps
        terms = self.inputs.x.shape[2] + self.inputs.x.shape[1] + 4
        # The norms are rounded too, where the distance follows from them.
        return (1 - terms * eps) * (squares - 2 * bounds) - terms * eps * squares

    def rounding(self, rows: Any, columns: Any) -> np.ndarray:
        """How far a computed value may lie above the true one."""
        eps = np.finfo(accumulation_dtype(self.inputs.dtype)).eps
        # One sum over channels, then one over tokens, in the worst order.
        terms = self.inputs.x.shape[2] + self.inputs.x.shape[1] + 2
        return terms * eps * np.sqrt(self.x.sq_norm[rows] * self.y.sq_norm[columns])


def mean_bound(block: SearchBlock) -> Float[np.ndarray, "n m"]:
    """Bounds all pairs by mean tokens and what is left of the norms, in O(C) a pair.

    A permutation keeps the mean: the value is S <mu_x, mu_y> plus the inner product of
    the centered samples, which Cauchy and Schwarz bound. Samples of different numbers
    of tokens are filled up with zero tokens, which changes no matching's value.
    """
    means = block.x.total @ block.y.total.T / block.slots
    spread = np.outer(block.x.centered(block.slots), block.y.centered(block.slots))
    rows, columns = np.ix_(range(len(block.x.count)), range(len(block.y.count)))
    return means + spread + block.rounding(rows, columns)


@dataclass(frozen=True, eq=False)
class Gelbrich:
    """Bounds a pair by its second moments, C x C, for any number of tokens.

    The value is at most S <mu_x, mu_y> plus the nuclear norm of Cx^(1/2) Cy^(1/2), with
    C the centered second moments: the bound of Gelbrich (1990) on the Wasserstein
    distance.
    """

    block: SearchBlock
    roots: dict[int, np.ndarray] = field(default_factory=dict)
    moments: dict[int, np.ndarray] = field(default_factory=dict)

    name: ClassVar[str] = "second moments"

    def worth_trying(self, solving: float, pairs: int) -> bool:
        """Whether a trial may pay, at `solving` seconds for each pair: by C."""
        channels = self.block.inputs.x.shape[2]
        cost = _GELBRICH_SECONDS * (channels / _GELBRICH_CHANNELS) ** 2
        held = len(self.block.x.count) + len(self.block.y.count)
        fits = held * channels**2 * 8 <= _GELBRICH_BYTES
        # The moments of each sample take some pairs' time.
        return fits and cost < solving / 4 and pairs > held / 4

    def chunk(self) -> int:
        """How many pairs are bounded at once: few, so that a trial costs little."""
        return 16

    def __call__(
        self, rows: Int[np.ndarray, " P"], columns: Int[np.ndarray, " P"]
    ) -> Float[np.ndarray, " P"]:
        """In float64, on the host."""
        block = self.block
        for row in set(rows.tolist()) - set(self.roots):
            values, vectors = np.linalg.eigh(self._moments("x", row))
            root = vectors * np.sqrt(np.maximum(values, 0))
            self.roots[row] = root @ vectors.T
        for column in set(columns.tolist()) - set(self.moments):
            self.moments[column] = self._moments("y", column)
        roots = np.stack([self.roots[row] for row in rows.tolist()])
        moments = np.stack([self.moments[column] for column in columns.tolist()])
        values = np.linalg.eigvalsh(roots @ moments @ roots)
        # An eigenvalue is as exact as the largest of them.
        least = 1e-14 * values.shape[-1] * np.abs(values).max(-1, keepdims=True)
        nuclear = np.sqrt(np.maximum(values, 0) + least).sum(-1)
        total_x, total_y = block.x.total[rows], block.y.total[columns]
        means = np.einsum("pc,pc->p", total_x, total_y) / block.slots
        return means + nuclear + block.rounding(rows, columns)

    def _moments(self, side: str, number: int) -> Float[np.ndarray, "C C"]:
        """Centered second moments, times S, of a sample; rounded up."""
        inputs, summaries = self.block.inputs, getattr(self.block, side)
        mask = getattr(inputs, f"{side}_mask")
        part = slice(number, number + 1)
        (tokens,) = present(
            np.asarray(getattr(inputs, side)[part]),
            None if mask is None else np.asarray(mask[part]),
            inputs.dtype,
        )
        moments = tokens.T @ tokens
        moments -= np.outer(*2 * [summaries.total[number]]) / self.block.slots
        # What rounding may have taken away is given back in every direction.
        slack = 1e-14 * len(tokens) * summaries.sq_norm[number]
        return moments + slack * np.eye(len(moments))


@dataclass(frozen=True, eq=False)
class Dual:
    """Bounds a pair by the prices that a sub-sample of its tokens sets: `DualBound`."""

    block: SearchBlock
    bound: DualBound

    name: ClassVar[str] = "sub-sampled dual"

    def worth_trying(self, solving: float, pairs: int) -> bool:
        """By the size of the affinity, and what is left to do beside compiling."""
        tokens = self.block.inputs.x.shape[1] * self.block.inputs.y.shape[1]
        return tokens >= _DUAL_ENTRIES and pairs * solving > _WORTH * _COMPILATION

    def chunk(self) -> int:
        """As many pairs as an approximate matching has in flight."""
        inputs = self.block.inputs
        x_shape, y_shape = inputs.x.shape, inputs.y.shape
        rule = Rule(Identity(), self.bound)
        return min(64, pairs_in_flight(x_shape, y_shape, inputs.dtype, rule))

    def __call__(
        self, rows: Int[np.ndarray, " P"], columns: Int[np.ndarray, " P"]
    ) -> Float[np.ndarray, " P"]:
        """The profits and prices are added up in float64, on the host."""
        block, inputs = self.block, self.block.inputs
        x, y = take(inputs.x, rows, inputs.dtype), take(inputs.y, columns, inputs.dtype)
        masks = [
            None if mask is None else mask[index]
            for mask, index in zip(inputs[2:], (rows, columns), strict=True)
        ]
        terms = self.bound.terms(x, y, *masks)
        count = np.minimum(block.x.count[rows], block.y.count[columns])
        bounds = np.zeros(len(rows))
        for values, mask in zip(terms, masks, strict=True):
            values = np.asarray(values).astype(np.float64)
            if mask is not None:
                values = np.where(mask, values, -np.inf)
            values = -np.sort(-values, axis=-1)
            kept = np.arange(values.shape[-1]) < count[:, None]
            bounds += np.where(kept, values, 0).sum(-1)
        # A profit, an entry of the affinity and its difference to a price are rounded.
        eps = np.finfo(accumulation_dtype(inputs.dtype)).eps
        largest = block.x.norm_sum[rows] * block.y.norm_max[columns]
        profits = np.abs(np.asarray(terms[0], np.float64))
        profits = np.where(np.isfinite(profits), profits, 0).sum(-1)
        error = eps * ((inputs.x.shape[2] + 2) * largest + profits)
        return bounds + error + block.rounding(rows, columns)


# A bound on some pairs of a block.
PairBound = Gelbrich | Dual
