"""Batches: any number of leading axes as one, and back."""

import math
from collections.abc import Callable
from typing import Any

import jax


def flatten(tree: Any, axes: int) -> Any:
    """Merges the first `axes` axes of each array into one; NumPy arrays stay NumPy."""
    return jax.tree.map(
        lambda a: a.reshape(math.prod(a.shape[:axes]), *a.shape[axes:]), tree
    )


def unflatten(tree: Any, batch: tuple[int, ...]) -> Any:
    """Splits the first axis of each array into the axes `batch`."""
    return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), tree)


def over_batch(
    function: Callable[..., Any],
    batch: tuple[int, ...],
    *operands: Any,
    mapped: Callable[..., Any] = jax.vmap,
) -> Any:
    """Applies a function of one pair to arrays with the leading axes `batch`.

    Operands may be trees of arrays, or None; mapped by `jax.vmap` or `one_by_one`.
    """
    results = mapped(function)(*flatten(operands, len(batch)))
    return unflatten(results, batch)


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Maps over the first axis as `jax.vmap` does, one entry after the other."""
    return lambda *operands: jax.lax.map(lambda entry: function(*entry), operands)
