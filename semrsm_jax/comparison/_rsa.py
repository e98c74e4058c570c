"""Representational similarity analysis: correlations of two RSMs' off-diagonals."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison import correlation
from semrsm_jax.comparison._cka import counted_cka
from semrsm_jax.comparison._hsic import centered, check_counts, check_rsms
from semrsm_jax.comparison.grouping import DROP, SampleGroups, groups_apart, pair_counts
from semrsm_jax.comparison.measure import GroupedMeasure
from semrsm_jax.comparison.narrowing import where_known

# Of two symmetric RSMs (N, N), how often each sample counts (N,), and its group.
Method = Callable[[Array, Array, Array | None, SampleGroups | None], Float[Array, ""]]


def rsa(
    K: ArrayLike,
    L: ArrayLike,
    method: str = "spearman",
    *,
    counts: ArrayLike | None = None,
    groups: ArrayLike | SampleGroups | None = None,
) -> Float[Array, ""]:
    """How similarly two RSMs order or scale the pairs of different samples.

    The measure is taken over the pairs i < j, without the diagonal. Where an RSM is not
    symmetric, as with Greedy matching, a pair's entry is the mean of both directions.

    Args:
      K: RSM (N, N), or a matrix of dissimilarities.
      L: RSM (N, N), or a matrix of dissimilarities, of the same samples in the same
        order.
      method: ``"pearson"``, ``"spearman"`` (mean ranks for ties), ``"kendall_tau_a"``,
        ``"kendall_tau_b"`` (corrected for ties), ``"cosine"``; or ``"whitened_cosine"``
        and ``"whitened_pearson"``, which weigh the entries by the inverse of the
        covariance that noise gives to squared distances: pairs that share a sample are
        not independent. They are meant for squared distances; a similarity that is one
        up to sign and offset, as the cosine of unit vectors is, has the same
        ``"whitened_pearson"``.
      counts: (N,), how often each sample counts, as in a bootstrap; a pair counts with
        the product of both. A sample paired with a copy of itself is left out, except
        by the whitened methods, in which it has distance 0.
      groups: (N,) integers or text, equal for samples that depend on each other, as
        crops of one photograph do: pairs within a group are left out, which the
        whitened methods cannot. None: each sample is alone. Resamples give a
        `SampleGroups`.

    Returns:
      A scalar in [-1, 1] up to rounding. NaN where an RSM has equal entries throughout
      and so orders nothing, as in SciPy; ``"kendall_tau_a"`` is 0 then. ``"cosine"``
      and ``"whitened_cosine"`` are NaN only where they are all zero.

    Raises:
      TypeError: an array is not real, or groups are neither integers nor text.
      ValueError: shapes that are not square or differ, fewer than 3 samples, NaN or
        infinity, an unknown method, counts that are negative or of another shape, or
        groups of another shape, fewer than 3, or with a whitened method.

    References:
      Kriegeskorte et al., "Representational similarity analysis", 2008; Nili et al.,
      "A toolbox for representational similarity analysis", 2014 (tau-a); Diedrichsen et
      al., "Comparing representational geometries using whitened unbiased-distance-
      matrix similarity", 2021.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import rsa
      >>> K = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
      >>> print(rsa(K, K**3, "spearman"), rsa(K, -K, "pearson"))
      1.0 -1.0
    """
    _checks.one_of("method", method, tuple(METHODS))
    K, L = check_rsms(K, L, shift=method not in OF_ORIGIN, scale=True)
    if len(K) < 3:
        raise ValueError(
            f"rsa needs at least 3 samples, for pairs to differ, got {len(K)}"
        )
    groups = groups_apart(groups, len(K), 3)
    if groups is not None and isinstance(METHODS[method], partial):
        if groups.within == DROP:
            raise ValueError(
                f"method {method!r} weighs all pairs together, and so cannot leave out "
                "those within groups; take 'pearson' or 'cosine'"
            )
        groups = None
    return _rsa(K, L, check_counts(counts, K), groups, METHODS[method])


@partial(jax.jit, static_argnames="measure")
def _rsa(
    K: Array,
    L: Array,
    counts: Array | None,
    groups: SampleGroups | None,
    measure: Method,
) -> Float[Array, ""]:
    value = measure(0.5 * K + 0.5 * K.T, 0.5 * L + 0.5 * L.T, counts, groups)
    return where_known(value, K, L)


class OrderedPairs(NamedTuple):
    """An RSM, and the order of its pairs where a method needs it."""

    values: Float[Array, "N N"]
    order: correlation.Order | None


@dataclass(frozen=True)
class RSA(GroupedMeasure):
    """A correlation of the off-diagonals, see `rsa` (Kriegeskorte et al. 2008).

    With a matrix of Jensen-Shannon divergences as L and ``"pearson"`` it is the
    correlation of similarity with output similarity.

    Attributes:
      method: ``"pearson"``, ``"spearman"``, ``"kendall_tau_a"``, ``"kendall_tau_b"``,
        ``"cosine"``, ``"whitened_cosine"`` or ``"whitened_pearson"``, see `rsa`.
    """

    method: str = "spearman"

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown method."""
        _checks.one_of("method", self.method, tuple(METHODS))

    def __call__(
        self,
        K: ArrayLike,
        L: ArrayLike,
        *,
        counts: ArrayLike | None = None,
        groups: ArrayLike | SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The correlation of K and L."""
        return rsa(K, L, self.method, counts=counts, groups=groups)

    @property
    def shifts(self) -> bool:  # type: ignore[override]
        """Whether the method does not depend on a constant added to an RSM."""
        return self.method not in OF_ORIGIN

    def before_counts(
        self, K: Float[Array, "N N"], groups: SampleGroups | None = None
    ) -> OrderedPairs:
        """The RSM, and for Spearman's correlation the order of its pairs."""
        del groups
        ordered = self.method == "spearman"
        return OrderedPairs(
            K, correlation.order_of(symmetric_pairs(K)) if ordered else None
        )

    def prepared(
        self,
        K: OrderedPairs,
        counts: Float[Array, " N"] | None = None,
        groups: SampleGroups | None = None,
    ) -> Any:
        """Of norm 1 where the correlation is a product and each sample counts once."""
        if counts is not None and K.order is not None:
            return K.order
        if counts is not None or self.method not in UNIT_METHODS:
            return K.values
        weights = pair_counts(jnp.ones(len(K.values), K.values.dtype), groups)
        unit = weights * UNIT_METHODS[self.method](symmetric_pairs(K.values), weights)
        return symmetric(unit, len(K.values)) / math.sqrt(2)

    def between(
        self,
        P: Any,
        Q: Any,
        counts: Float[Array, " N"] | None = None,
        groups: SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The correlation."""
        if counts is None and self.method in UNIT_METHODS:
            return jnp.sum(P * Q)
        if counts is not None and self.method == "spearman":
            return correlation.spearman_of_orders(P, Q, pair_counts(counts, groups))
        return self(P, Q, counts=counts, groups=groups)


def symmetric_pairs(K: Float[Array, "N N"]) -> Float[Array, " P"]:
    """The mean of both directions of each pair."""
    # Halved first: the sum of two entries could overflow.
    return off_diagonal(0.5 * K + 0.5 * K.T)


def symmetric(pairs: Float[Array, " P"], n: int) -> Float[Array, "N N"]:
    """The matrix with these entries off its diagonal, which is zero."""
    K = jnp.zeros((n, n), pairs.dtype).at[np.triu_indices(n, 1)].set(pairs)
    return K + K.T


def off_diagonal(K: Float[Array, "N N"]) -> Float[Array, " P"]:
    """The entries above the diagonal, row by row, P = N (N - 1) / 2."""
    return K[np.triu_indices(len(K), 1)]


def _of_pairs(of_vectors: Callable[..., Float[Array, ""]]) -> Method:
    """The measure that a correlation of vectors is, over the pairs i < j."""

    def measure(
        K: Array, L: Array, counts: Array | None, groups: SampleGroups | None
    ) -> Float[Array, ""]:
        weights = None
        if counts is not None or groups is not None:
            once = jnp.ones(len(K), K.dtype)
            weights = pair_counts(once if counts is None else counts, groups)
        return of_vectors(off_diagonal(K), off_diagonal(L), weights)

    return measure


def _whitened(
    K: Array, L: Array, counts: Array | None, groups: SampleGroups | None, offset: bool
) -> Array:
    """Cosine of v' V^-1 v with V the noise covariance of squared distances.

    That is the cosine of both doubly centered matrices with zero on the diagonal, so
    that V, of N^4 / 4 entries, is never needed (Diedrichsen et al. 2021).
    """
    K, L = (centered(_distances(m, offset), "biased") for m in (K, L))
    counts = jnp.ones(len(K), K.dtype) if counts is None else counts
    return counted_cka(K, L, counts, None, "biased")


def _distances(K: Array, offset: bool) -> Array:
    """Largest entry 1, zero on the diagonal, less the mean of the others if asked."""
    different = ~jnp.eye(len(K), dtype=bool)
    K = jnp.where(different, K, 0)
    if offset:
        raw = jnp.max(jnp.abs(K))
        K = jnp.where(different, K - jnp.sum(K) / jnp.sum(different), 0)
        constant = jnp.max(jnp.abs(K)) <= 8 * jnp.finfo(K.dtype).eps * raw
        K = jnp.where(constant, jnp.nan, K)
    return K / jax.lax.stop_gradient(jnp.max(jnp.abs(K)))


# Methods for which it matters where zero is.
OF_ORIGIN = ("cosine", "whitened_cosine")

# Those that are the product of two vectors, each of one RSM.
UNIT_METHODS: Mapping[str, Callable[[Array, Array | None], Array]] = MappingProxyType(
    {
        "pearson": correlation.of_pearson,
        "spearman": correlation.of_spearman,
        "cosine": correlation.of_cosine,
    }
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "pearson": _of_pairs(correlation.pearson),
        "spearman": _of_pairs(correlation.spearman),
        "kendall_tau_a": _of_pairs(correlation.kendall_tau_a),
        "kendall_tau_b": _of_pairs(correlation.kendall_tau_b),
        "cosine": _of_pairs(correlation.cosine),
        "whitened_cosine": partial(_whitened, offset=False),
        "whitened_pearson": partial(_whitened, offset=True),
    }
)
