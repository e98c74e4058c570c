"""The loop over pairs under a transformation, where values are not known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from semrsm_jax.pairs.executor import PairInputs, Rule, match_pairs
from semrsm_jax.pairs.selection import Pairs


def match_traced(
    inputs: PairInputs, rule: Rule, pairs: Pairs, size: int
) -> tuple[Array, ...]:
    """The matrices of `match_block`, by one loop that jit, vmap and grad go through."""
    inputs = inputs._replace(x=jnp.asarray(inputs.x), y=jnp.asarray(inputs.y))
    tokens, channels = max(inputs.x.shape[1], inputs.y.shape[1]), inputs.x.shape[2]
    # Of fewer channels, the product gains less than the turning of its result costs.
    by_rows = rule.matcher.by_rows and rule.bound is None and channels >= 2 * tokens
    rows, columns = pairs.chunks(size, by_rows)
    # The backward pass matches nothing again: it keeps permutations and bounds.
    kept = jax.checkpoint_policies.save_only_these_names("matching")

    @partial(jax.checkpoint, policy=kept)
    def chunk(inputs, rows, columns):
        return match_pairs(inputs, rows, columns, rule)

    values = jax.lax.map(lambda index: chunk(inputs, *index), (rows, columns))
    # One row stands for all of its chunk; pairs that fill up a chunk are there twice.
    rows = rows if rows.ndim == 2 else rows[:, None]
    first, second = (a.ravel() for a in np.broadcast_arrays(rows, columns))
    if pairs.triangle:
        first, second = np.minimum(first, second), np.maximum(first, second)
    _, once = np.unique(first * pairs.columns + second, return_index=True)
    first, second = first[once], second[once]

    def fill(value):
        value = value.ravel()[once]
        full = jnp.zeros((pairs.rows, pairs.columns), value.dtype)
        full = full.at[first, second].set(value)
        return full.at[second, first].set(value) if pairs.triangle else full

    return tuple(fill(value) for value in values if value is not None)
