"""The most similar samples of a database, section 4.2."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax._ids import matrix_of
from semrsm_jax.pairs.selection import batches
from semrsm_jax.retrieval.exclusion import Exclusion

# What of an RSM is read at a time.
_BLOCK_BYTES = 16 * 2**20


class _IndexAndSimilarity(NamedTuple):
    index: Int[Array, "N k"] | Int[np.ndarray, "N k"]
    similarity: Float[Array, "N k"] | Float[np.ndarray, "N k"]


class Neighbors(_IndexAndSimilarity):
    """The most similar samples of each query, most similar first: a pair of arrays.

    Attributes:
      index: (N, k) int32, columns of the RSM; -1 where fewer than k were allowed.
      similarity: (N, k), their entries; NaN where the index is -1.
      query_ids: names of the N queries; None where they have none.
      database_ids: names of the M columns; None where they have none.
    """

    query_ids: tuple[str, ...] | None = None
    database_ids: tuple[str, ...] | None = None

    def of(
        self, query_ids: Sequence[str] | None, database_ids: Sequence[str] | None
    ) -> Self:
        """The same neighbors, with the ids of queries and database."""
        named = type(self)(*self)
        named.query_ids = None if query_ids is None else tuple(query_ids)
        named.database_ids = None if database_ids is None else tuple(database_ids)
        return named


def nearest(
    K: Any,
    k: int = 5,
    exclude: ArrayLike | Exclusion | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbors:
    """Finds the k most similar columns of each row of an RSM.

    The RSM is read some rows at a time, so that it may be larger than memory. Of equal
    similarities, the lower column comes first. Section 4.2 retrieves images so.

    Args:
      K: RSM (N, M), queries by database: anything with ``shape``, ``dtype`` and rows by
        slices, such as an array of NumPy, JAX or zarr, a memory map, or what
        `load_rsm` and `open_similarity` of `semrsm_jax.store` give, whose ids the
        neighbors then have. It must fit in memory under `jax.jit`.
      k: how many neighbors, at least 1.
      exclude: which are not allowed. None: none, so that each sample of an RSM of x
        with itself has itself as a neighbor. `same_sample` leaves it out;
        ``same_group(videos)`` all of its video. A mask (N, M), True where a column may
        not be a neighbor; or any function of row numbers (n,) that gives their rows of
        such a mask.
      progress: called as ``progress(done, total)``, in rows.

    Returns:
      The `Neighbors`, as NumPy arrays, or JAX arrays under `jax.jit` and `jax.vmap`
      (where a NaN, which cannot be rejected there, is never a neighbor).

    Raises:
      TypeError: `K` is not real, `k` is not an integer, or the mask not boolean.
      ValueError: `K` has other than two axes, an empty one, NaN or infinity; `k` is
        below 1; or the mask has another shape.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import nearest, same_sample
      >>> K = np.array([[9.0, 1, 5], [1, 9, 2], [5, 2, 9]])
      >>> print(nearest(K, k=2, exclude=same_sample(3)).index)
      [[2 1]
       [2 0]
       [0 1]]
    """
    k = _checks.at_least("k", k, 1)
    ids = [getattr(K, name, None) for name in ("x_ids", "y_ids")]
    K = _checks.with_shape(matrix_of(K))
    if len(K.shape) != 2:
        raise ValueError(f"K must have 2 axes (N, M), got shape {tuple(K.shape)}")
    _checks.non_empty("K", K, "N M")
    rule = checked_rule(exclude, tuple(K.shape))
    if _checks.is_traced(K, exclude):
        K = _checks.real_array("K", K)
        return _of_rows(K, rule(np.arange(len(K))), k)
    count, columns = K.shape
    parts = []
    for rows in batches(count, max(1, _BLOCK_BYTES // (8 * columns))):
        block = np.asarray(_checks.real_array_on_host("K", K[rows]))
        excluded = rule(np.arange(rows.start, rows.stop))
        # Similarities of 64 bits are ordered as such, whatever JAX's default.
        with jax.enable_x64(True):
            _checks.finite("K", block)
            parts.append(jax.device_get(_of_rows(jnp.asarray(block), excluded, k)))
        if progress is not None:
            progress(rows.stop, count)
    index, similarity = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Neighbors(index, similarity).of(*ids)


def same_sample(samples: int) -> Exclusion:
    """The rule that no sample of an RSM (N, N) is its own neighbor.

    Args:
      samples: N.

    Returns:
      What `nearest` takes as `exclude`.
    """
    return same_group(np.arange(samples))


def same_group(rows: ArrayLike, columns: ArrayLike | None = None) -> Exclusion:
    """The rule that samples of one group, such as a video, are not neighbors.

    Args:
      rows: the group of each query, (N,), of numbers or text.
      columns: the group of each sample of the database, (M,), of the same type; None:
        the queries are the database.

    Returns:
      What `nearest` takes as `exclude`.

    Raises:
      ValueError: other than one axis.
    """
    labels = [np.asarray(rows), np.asarray(rows if columns is None else columns)]
    for name, values in zip(("rows", "columns"), labels, strict=True):
        if values.ndim != 1:
            raise ValueError(
                f"{name} must hold one group a sample, got shape {values.shape}"
            )
    _, codes = np.unique(np.concatenate(labels), return_inverse=True)
    return _SameGroup(*np.split(codes, [len(labels[0])]))


@dataclass(frozen=True, eq=False)
class _SameGroup:
    """The rule of `same_group`, with the groups numbered."""

    rows: Int[np.ndarray, " N"]
    columns: Int[np.ndarray, " M"]

    def __call__(self, numbers: np.ndarray) -> Bool[np.ndarray, "n M"]:
        return self.rows[numbers][:, None] == self.columns


def checked_rule(
    exclude: ArrayLike | Exclusion | None, shape: tuple[int, ...]
) -> Exclusion:
    """The exclusion as a function of row numbers, its results checked."""
    if exclude is None:
        return lambda numbers: np.zeros((len(numbers), shape[1]), bool)
    rule = exclude if callable(exclude) else _of_mask(exclude, shape)
    if isinstance(rule, _SameGroup) and len(rule.rows) != shape[0]:
        raise ValueError(
            f"exclude must have a group for each of {shape[0]} rows of K, got groups "
            f"for {len(rule.rows)} rows"
        )

    def checked(numbers: np.ndarray) -> Any:
        excluded = rule(numbers)
        if not isinstance(excluded, jax.Array):
            excluded = np.asarray(excluded)
        if excluded.dtype != bool:
            raise TypeError(f"exclude must be boolean, got dtype {excluded.dtype}")
        if excluded.shape != (len(numbers), shape[1]):
            raise ValueError(
                f"exclude must give a mask of shape {(len(numbers), shape[1])} for "
                f"{len(numbers)} rows, got {excluded.shape}"
            )
        return excluded

    return checked


def _of_mask(mask: Any, shape: tuple[int, ...]) -> Exclusion:
    mask = _checks.with_shape(mask)
    if tuple(mask.shape) != shape:
        raise ValueError(
            f"exclude must be a mask of shape {shape}, as K, got {tuple(mask.shape)}"
        )
    return lambda numbers: mask[numbers[0] : numbers[-1] + 1]


@partial(jax.jit, static_argnames="k")
def _of_rows(
    similarity: Float[Array, "n M"], excluded: Bool[Array, "n M"], k: int
) -> Neighbors:
    rows, columns = similarity.shape
    allowed = ~excluded & ~jnp.isnan(similarity)
    # One zero only, or -0 would come after 0.
    similarity = jnp.where(similarity == 0, 0, similarity)
    ranked = jnp.where(allowed, similarity, -jnp.inf)
    value, index = jax.lax.top_k(ranked, min(k, columns))
    index = jnp.where(value > -jnp.inf, index, -1).astype(jnp.int32)
    value = jnp.where(value > -jnp.inf, value, jnp.nan)
    missing = ((0, 0), (0, max(0, k - columns)))
    return Neighbors(
        jnp.pad(index, missing, constant_values=-1),
        jnp.pad(value, missing, constant_values=jnp.nan),
    )
