"""The base of all matchers, the rules that pair the tokens of two samples, Eq. 4."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._representations import (
    accumulation_dtype,
    in_range,
    squared_token_norms,
)
from semrsm_jax.matching.results import (
    Matching,
    SoftMatching,
    Statistics,
    Unconverged,
    warn_unconverged,
)

Tokens = Float[Array, "*batch tokens C"]
Mask = Bool[Array, "*batch tokens"] | None
Shape = tuple[int, ...]

# (affinity (B, S, T), row_mask (B, S), column_mask (B, T)) -> permutation (B, S),
# upper bound (B,), prices (B, T). A bound is NaN where the affinity is not finite, and
# infinite, with zero prices, where the solver proves none.
HostSolver = Callable[
    [np.ndarray, np.ndarray | None, np.ndarray | None],
    tuple[np.ndarray, np.ndarray, np.ndarray],
]


M = TypeVar("M", Matching, SoftMatching)
Bounded = TypeVar("Bounded", Matching, SoftMatching, Statistics)


class Matcher(ABC, Generic[M]):
    """Base of the matchers: frozen dataclasses, equal by value, called on token sets.

    A subclass implements `pair`, a soft one `statistics` too, and may override the
    class attributes.

    Attributes:
      symmetric: matching (x, y) and (y, x) has the same value, so that one triangle of
        an RSM is enough.
      self_is_identity: a sample matches with itself token by token, so that the
        diagonal of an RSM needs no matching.
      scale_free: the matching stays the same where all tokens of either sample are
        multiplied by a positive constant.
      by_rows: `pair` also takes one sample x (S, C) with a batch of y, in less time.
      soft: its statistics state the `column_error`.
    """

    symmetric: ClassVar[bool] = False
    self_is_identity: ClassVar[bool] = False
    scale_free: ClassVar[bool] = False
    by_rows: ClassVar[bool] = False
    soft: ClassVar[bool] = False

    @abstractmethod
    def pair(self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask) -> M:
        """Matches checked arrays; the leading axes are a batch of pairs."""

    def statistics(
        self, x: Tokens, y: Tokens, x_mask: Mask, y_mask: Mask
    ) -> Statistics:
        """What an RSM takes from the matching of checked arrays."""
        matching = self.pair(x, y, x_mask, y_mask)
        sq_dist = matched_sq_dist(x, y, matching.permutation)
        return Statistics(matching.value, sq_dist, matching.upper_bound)

    def host_solver(self) -> HostSolver | None:
        """A solver on the host whose answer to the affinity is the matching.

        None, where there is none: pairs are then matched by `pair`, in batches.
        """

    def validate(self, x_shape: Shape, y_shape: Shape) -> None:
        """Raises ValueError where tokens of these shapes cannot be matched."""
        del x_shape, y_shape

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The numbers that matching one pair holds beside the tokens themselves."""
        del channels
        return x_tokens * y_tokens


class Bound(Protocol):
    """A proven upper bound on every matching of a pair, see `DualBound`."""

    def __call__(
        self, x: Tokens, y: Tokens, x_mask: Mask = None, y_mask: Mask = None
    ) -> Float[Array, "*batch"]:
        """The bound (...) of checked arrays; the leading axes are a batch of pairs."""
        ...

    def workspace(self, x_tokens: int, y_tokens: int, channels: int) -> int:
        """The numbers that bounding one pair holds beside the tokens themselves."""
        ...


def match(
    x_i: ArrayLike,
    y_j: ArrayLike,
    *,
    matcher: Matcher[M],
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    bound: Bound | None = None,
) -> M:
    """Matches the tokens of two samples, Eq. 4.

    Args:
      x_i: tokens (..., S, C); leading axes are a batch of pairs.
      y_j: tokens (..., T, C).
      matcher: the rule, for example ``Exact()``.
      x_mask: (..., S), True where a token takes part. None: all do.
      y_mask: (..., T), True where a token takes part. None: all do.
      bound: a further proof of how far the matching can be from the best, for example
        ``DualBound()``; the smaller of its bound and the matcher's is kept.

    Returns:
      The `Matching`, or `SoftMatching` for a soft matcher. Where S and T, or the
      unmasked tokens, differ in number, the surplus tokens of a hard matching stay
      unmatched and add nothing.

    Raises:
      TypeError: an array is not real, a mask not boolean, or `matcher` not a Matcher.
      ValueError: shapes do not fit, an axis is empty, or a value is not finite; or a
        sample's squared norm leaves the range of the dtype, see `pair_statistics`.
        Under jit such a sample gives a NaN value instead.

    Warns:
      RuntimeWarning: pairs of a soft matching did not converge; not under jit.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Exact, match
      >>> x_i, y_j = np.array([[3.0, 0], [0, 2]]), np.array([[0, 1.0], [3, 0]])
      >>> m = match(x_i, y_j, matcher=Exact())
      >>> print(m.permutation, m.value, m.upper_bound)
      [1 0] 11.0 11.0
    """
    matcher, bound = check_matcher(matcher), check_bound(bound)
    pair = checked_pair(matcher, x_i, y_j, x_mask, y_mask)
    matching = matcher.pair(*pair)
    if isinstance(matching, SoftMatching):
        error = jnp.where(matching.converged, 0, matching.column_error)
        warn_unconverged(Unconverged.of(error))
    return bounded(matching, bound, *pair)


def checked_pair(
    matcher: Matcher,
    x_i: ArrayLike,
    y_j: ArrayLike,
    x_mask: ArrayLike | None,
    y_mask: ArrayLike | None,
) -> tuple[Array, Array, Mask, Mask]:
    """Tokens of one dtype that the matcher can match, and their masks.

    Raises and warns as `match`; a traced sample out of range is NaN.
    """
    for name, tokens in (("x_i", x_i), ("y_j", y_j)):
        warn_of_lost_variation(name, tokens)
    x, y = _checks.real_array("x_i", x_i), _checks.real_array("y_j", y_j)
    _checks.pair_of_tokens(x, y)
    dtype = jnp.promote_types(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    matcher.validate(x.shape, y.shape)
    x_mask = _checks.token_mask("x_mask", x_mask, x.shape[:-1])
    y_mask = _checks.token_mask("y_mask", y_mask, y.shape[:-1])
    x = in_range("x_i", x, x_mask, dtype)
    return x, in_range("y_j", y, y_mask, dtype), x_mask, y_mask


def check_bound(bound: Bound | None) -> Bound | None:
    """The bound; TypeError: not one, as where a class was given, not an instance."""
    if bound is not None and (isinstance(bound, type) or not callable(bound)):
        raise TypeError(f"bound must be a bound such as DualBound(), got {bound!r}")
    return bound


def bounded(
    result: Bounded,
    bound: Bound | None,
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
) -> Bounded:
    """Keeps the smaller of two upper bounds on the matchings of checked arrays."""
    if bound is None:
        return result
    # A rounded bound may fall below the value that it bounds.
    value = jax.lax.stop_gradient(result.value)
    proven = jnp.maximum(bound(x, y, x_mask, y_mask), value)
    return result._replace(upper_bound=jnp.minimum(result.upper_bound, proven))


def check_matcher(matcher: Matcher) -> Matcher:
    """The matcher; TypeError: not one, as where a class was given, not an instance."""
    if not isinstance(matcher, Matcher):
        raise TypeError(
            f"matcher must be a Matcher instance such as Exact(), got {matcher!r}"
        )
    return matcher


@jax.jit
def hard_matching(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    permutation: Int[Array, "*batch S"],
    upper_bound: Float[Array, "*batch"],
) -> Matching:
    """The `Matching` of a permutation; its value is the inner product it matches."""
    dtype = accumulation_dtype(x.dtype)
    # Named, so that a backward pass which recomputes the rest keeps the matching.
    permutation, upper_bound = checkpoint_name((permutation, upper_bound), "matching")
    partner = matched_tokens(y, permutation).astype(dtype)
    # Summed over channels, then over tokens: the rounding error of float32 grows with
    # the length of one sum, not with that of both.
    value = jnp.sum(jnp.sum(x.astype(dtype) * partner, axis=-1), axis=-1)
    value = jnp.where(jnp.isnan(upper_bound), jnp.nan, value)
    upper_bound = jnp.maximum(upper_bound, jax.lax.stop_gradient(value))
    return Matching(permutation, value, upper_bound)


def better_of(first: Matching, second: Matching) -> Matching:
    """The matching of higher value, pair by pair; both bounds hold for it."""
    wins = first.value >= second.value
    value = jnp.where(wins, first.value, second.value)
    upper_bound = jnp.minimum(first.upper_bound, second.upper_bound)
    # A rounded bound of one may fall below the value of the other.
    upper_bound = jnp.maximum(upper_bound, jax.lax.stop_gradient(value))
    permutation = jnp.where(wins[..., None], first.permutation, second.permutation)
    return Matching(permutation, value, upper_bound)


@jax.jit
def matched_sq_dist(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    permutation: Int[Array, "*batch S"],
) -> Float[Array, "*batch"]:
    """The squared distance of matched representations; the unmatched add nothing."""
    dtype = accumulation_dtype(x.dtype)
    partner = matched_tokens(y, permutation).astype(dtype)
    # From the difference: |x|^2 + |y|^2 - 2 <x, y> cancels to noise in float32.
    squares = jnp.sum((x.astype(dtype) - partner) ** 2, axis=-1)
    return jnp.sum(jnp.where(permutation < 0, 0, squares), axis=-1)


def matched_tokens(
    y: Float[Array, "*batch T C"], permutation: Int[Array, "*batch S"]
) -> Float[Array, "*batch S C"]:
    """The partner of each token of the first sample; zero where it has none."""
    partner = jnp.take_along_axis(y, jnp.maximum(permutation, 0)[..., None], axis=-2)
    return jnp.where(permutation[..., None] < 0, jnp.zeros((), y.dtype), partner)


def placed(array: Array, index: Int[Array, "*batch K"], values: Array | bool) -> Array:
    """The array (..., S) with values at places of its last axis; index -1: at none."""
    index = jnp.where(index < 0, array.shape[-1], index)
    return jnp.put_along_axis(array, index, values, axis=-1, inplace=False, mode="drop")


@jax.jit
def norm_bound(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
) -> Float[Array, "*batch"]:
    """Bounds every matching by the norms alone, in O(S log S).

    A matched pair adds at most the product of its norms (Cauchy-Schwarz), and the
    sum of products is largest where both sides are sorted (rearrangement inequality).
    """
    x, y = jax.lax.stop_gradient((x, y))
    norms = [
        jnp.sort(jnp.sqrt(squared_token_norms(tokens, mask)), axis=-1, descending=True)
        for tokens, mask in ((x, x_mask), (y, y_mask))
    ]
    count = min(x.shape[-2], y.shape[-2])
    return jnp.sum(norms[0][..., :count] * norms[1][..., :count], axis=-1)
