"""A function of thousands of random keys, computed in batches."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from semrsm_jax import _checks

# Entries of RSMs, or of scores, of the resamples that are computed in one call: tenths
# of a second.
_PART = 2**22


def over_keys(
    one: Callable[..., Array],
    settings: tuple[Any, ...],
    data: Any,
    keys: jax.Array,
    entries: int,
) -> Array:
    """``one(data, key, *settings)`` of all keys, part by part, so that Ctrl-C ends it.

    `one` is a function of a module, compiled for its hashable `settings`, that computes
    with so many entries.
    """
    traced = _checks.is_traced(keys, *jax.tree.leaves(data))
    count, largest = len(keys), max(1, entries)
    parts = 1 if traced else -(-count // max(1, _PART // largest))
    batches = -(-count // (parts * max(1, _batch_entries() // largest)))
    size = batches, -(-count // (parts * batches))
    if traced:
        return _of_part(data, keys, 0, one, settings, size)[:count]
    # Read at once: else the next parts would wait in a queue that Ctrl-C does not end.
    values = [
        np.asarray(_of_part(data, keys, part, one, settings, size))
        for part in range(parts)
    ]
    return jnp.asarray(np.concatenate(values)[:count])


@partial(jax.jit, static_argnums=(3, 4, 5))
def _of_part(
    data: Any,
    keys: jax.Array,
    part: int,
    one: Callable[..., Array],
    settings: tuple[Any, ...],
    size: tuple[int, int],
) -> Array:
    """Of a part of the keys, of so many batches of so many keys."""
    places = part * math.prod(size) + jnp.arange(math.prod(size)).reshape(size)
    # The last key again where there are no more, so that one program does for all.
    grid = keys[jnp.minimum(places, len(keys) - 1)]
    values = jax.lax.map(jax.vmap(lambda key: one(data, key, *settings)), grid)
    return values.reshape(-1, *values.shape[2:])


def _batch_entries() -> int:
    """Entries of the resamples that are computed side by side.

    A CPU takes up to 5 times as long where they do not stay in its cache.
    """
    return 2**18 if jax.default_backend() == "cpu" else _PART
