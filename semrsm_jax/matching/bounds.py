"""Proven bounds on any matching of a pair, from dual prices, streamed over rows."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax._affinity import token_products
from semrsm_jax._representations import squared_token_norms
from semrsm_jax.matching._batch import one_by_one, over_batch
from semrsm_jax.matching.assignment import check_solver, solve
from semrsm_jax.matching.base import Mask, Tokens


@dataclass(frozen=True)
class DualBound:
    """Bounds every matching by prices that an exact matching of a sub-sample sets.

    Every `stride`-th token of each side, in norm order, is matched exactly. The profits
    u_i of its rows set prices for all columns, p_j = max_i (A_ij - u_i), and any prices
    bound the value of every matching by weak duality: with k matched pairs, by the k
    largest max_j (A_ij - p_j) plus the k largest p_j. Both passes go over blocks of
    rows: memory is linear in the number of tokens, and the cost that of the affinity.

    On features of CNNs the bound lies 1 to 3 % above the optimum at stride 8, and below
    2 % at stride 4.

    Attributes:
      stride: one token in this many is in the sub-sample; 1 gives the exact optimum.
      block: rows of the affinity held at a time.
      tolerance: of the matching of the sub-sample, as in `Exact`.
      solver: of the matching of the sub-sample, as in `Exact`.

    References:
      Kuhn, "The Hungarian method for the assignment problem", 1955 (prices and
      duality).

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import BatchOptimal, DualBound, match
      >>> x, y = np.random.default_rng(0).normal(size=(2, 256, 8)).astype("float32")
      >>> m = match(x, y, matcher=BatchOptimal(window=64, sweeps=8), bound=DualBound(4))
      >>> bool(0.8 < m.value / m.upper_bound <= 1)  # so much of the optimum is proven
      True
    """

    stride: int = 8
    block: int = 512
    tolerance: float = 1e-6
    solver: str = "auction"

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of range."""
        _checks.at_least("stride", self.stride, 1)
        _checks.at_least("block", self.block, 1)
        tolerance = check_solver(self.solver, self.tolerance)
        object.__setattr__(self, "tolerance", tolerance)

    def __call__(
        self, x: Tokens, y: Tokens, x_mask: Mask = None, y_mask: Mask = None
    ) -> Float[Array, "*batch"]:
        """The bound (...) on the matched inner product of tokens x and y."""
        profits, prices = self.terms(x, y, x_mask, y_mask)
        x_mask, y_mask = _present(x, x_mask), _present(y, y_mask)
        count = jnp.minimum(x_mask.sum(-1), y_mask.sum(-1))
        return top_sum(profits, x_mask, count) + top_sum(prices, y_mask, count)

    def terms(
        self, x: Tokens, y: Tokens, x_mask: Mask = None, y_mask: Mask = None
    ) -> tuple[Float[Array, "*batch S"], Float[Array, "*batch T"]]:
        """The profits of the rows and prices of the columns that the bound adds up.

        The sum of the k largest of each bounds every matching of k pairs, up to the
        rounding of the profits. Those of masked tokens mean nothing.
        """
        x, y = jax.lax.stop_gradient((x, y))
        x_sub, x_sub_mask = _subsample(x, x_mask, self.stride)
        y_sub, y_sub_mask = _subsample(y, y_mask, self.stride)
        sub = token_products(x_sub, y_sub)
        _, bound, prices = solve(
            sub, x_sub_mask, y_sub_mask, tolerance=self.tolerance, solver=self.solver
        )
        profits = _profits(sub, prices, y_sub_mask)
        del sub
        profits, prices = _streamed_terms(
            x,
            y,
            _present(y, y_mask),
            x_sub,
            jnp.where(_present(x_sub, x_sub_mask), profits, jnp.inf),
            self.block,
        )
        return jnp.where(jnp.isnan(bound)[..., None], jnp.nan, profits), prices

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The affinity of the sub-sample, a block of rows, and the sub-samples."""
        x_sub, y_sub = -(-x_tokens // self.stride), -(-y_tokens // self.stride)
        block = self.block * max(x_tokens, y_tokens)
        return x_sub * y_sub + block + (x_sub + y_sub) * channels


@partial(jax.jit, static_argnames="stride")
def _subsample(
    tokens: Array, mask: Array | None, stride: int
) -> tuple[Array, Array | None]:
    norms = squared_token_norms(tokens)
    if mask is not None:
        # Masked tokens last, as in the windows of BatchOptimal.
        norms = jnp.where(mask, norms, jnp.inf)
    chosen = jnp.argsort(norms, axis=-1, stable=True)[..., ::stride]
    sub_mask = None if mask is None else jnp.take_along_axis(mask, chosen, axis=-1)
    return jnp.take_along_axis(tokens, chosen[..., None], axis=-2), sub_mask


@jax.jit
def _profits(sub: Array, prices: Array, column_mask: Array | None) -> Array:
    scores = sub - prices[..., None, :]
    if column_mask is not None:
        scores = jnp.where(column_mask[..., None, :], scores, -jnp.inf)
    return jnp.max(scores, axis=-1)


def _present(tokens: Array, mask: Array | None) -> Array:
    return jnp.ones(tokens.shape[:-1], bool) if mask is None else mask


@partial(jax.jit, static_argnames="block")
def _streamed_terms(
    x: Array, y: Array, y_mask: Array, x_sub: Array, profits: Array, block: int
) -> tuple[Array, Array]:
    """The profits and prices that the profits of some rows set, infinite if masked."""

    def one(x, y, y_mask, x_sub, profits):
        def highest_bid(prices, rows):
            tokens, profit = rows
            bids = token_products(tokens, y) - profit[:, None]
            return jnp.maximum(prices, bids.max(0)), None

        start = jnp.full(y.shape[0], -jnp.inf, profits.dtype)
        rows = row_blocks(x_sub, block, 0), row_blocks(profits, block, jnp.inf)
        prices, _ = jax.lax.scan(highest_bid, start, rows)
        # A price may be any number: a column that no bid reaches (all rows masked) gets
        # 0.
        prices = jnp.where(jnp.isfinite(prices), prices, 0)
        taxed = jnp.where(y_mask, prices, jnp.inf)

        def best(tokens):
            return (token_products(tokens, y) - taxed).max(1)

        profit = jax.lax.map(best, row_blocks(x, block, 0)).ravel()[: x.shape[0]]
        return profit, prices

    operands = (x, y, y_mask, x_sub, profits)
    return over_batch(one, x.shape[:-2], *operands, mapped=one_by_one)


def row_blocks(array: Array, size: int, fill: float) -> Array:
    """Cuts the first axis into blocks, the last one filled up."""
    size = min(size, array.shape[0])
    short = -array.shape[0] % size
    pad = [(0, short)] + [(0, 0)] * (array.ndim - 1)
    padded = jnp.pad(array, pad, constant_values=fill)
    return padded.reshape(-1, size, *array.shape[1:])


def top_sum(
    values: Float[Array, "*batch S"],
    mask: Bool[Array, "*batch S"],
    count: Int[Array, "*batch"],
) -> Float[Array, "*batch"]:
    """The sum of the `count` largest values present."""
    ranked = jnp.sort(jnp.where(mask, values, -jnp.inf), axis=-1, descending=True)
    chosen = jnp.arange(values.shape[-1]) < count[..., None]
    return jnp.sum(jnp.where(chosen, ranked, 0), axis=-1)
