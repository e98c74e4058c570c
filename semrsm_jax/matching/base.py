"""What every matcher is: a rule that pairs the tokens of two samples, Eq. 4."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from semrsm_jax import _checks
from semrsm_jax.representations import accumulation_dtype, squared_token_norms

Tokens = Float[Array, "*batch tokens C"]
Mask = Bool[Array, "*batch tokens"] | None
Shape = tuple[int, ...]


class Matching(NamedTuple):
    """A matching of the tokens of two samples, batched over any leading axes.

    Attributes:
      permutation: (..., S) int32, the token of the second sample matched with each
        token of the first; -1 where it stays unmatched.
      value: (...), the matched inner product; differentiable in the tokens, the
        matching held fixed (envelope gradient).
      upper_bound: (...), a proven bound on the value of every matching, up to
        rounding; it carries no gradient.
    """

    permutation: Int[Array, "*batch S"]
    value: Float[Array, "*batch"]
    upper_bound: Float[Array, "*batch"]


class Matcher(ABC):
    """Base of the matchers: frozen dataclasses, equal by value, called on token sets.

    A subclass implements `pair` and may override the class attributes.

    Attributes:
      symmetric: matching (x, y) and (y, x) has the same value, so that one triangle of
        an RSM is enough.
      self_is_identity: a sample matches with itself token by token, so that the
        diagonal of an RSM needs no matching.
    """

    symmetric: ClassVar[bool] = False
    self_is_identity: ClassVar[bool] = False

    @abstractmethod
    def pair(
        self,
        x: Tokens,
        y: Tokens,
        x_mask: Mask,
        y_mask: Mask,
    ) -> Matching:
        """Matches checked arrays; the leading axes are a batch of pairs."""

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
        self,
        x: Tokens,
        y: Tokens,
        x_mask: Mask = None,
        y_mask: Mask = None,
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
    matcher: Matcher,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    bound: Bound | None = None,
) -> Matching:
    """Matches the tokens of two samples.

    Args:
      x_i: tokens (..., S, C); leading axes are a batch of pairs.
      y_j: tokens (..., T, C).
      matcher: the rule, for example ``Exact()``.
      x_mask: (..., S), True where a token takes part. None: all do.
      y_mask: (..., T), likewise.
      bound: a further proof of how far the matching can be from the best, for example
        ``DualBound()``; the smaller of its bound and the matcher's is kept.

    Returns:
      The `Matching`. Where S and T, or the unmasked tokens, differ in number, the
      surplus tokens stay unmatched and add nothing.

    Raises:
      TypeError: an array is not real, a mask not boolean, or `matcher` no Matcher.
      ValueError: shapes do not fit, an axis is empty, or a value is not finite. Under
        jit, values that are not finite give a NaN value instead.
    """
    matcher = check_matcher(matcher)
    x, y = _checks.real_array("x_i", x_i), _checks.real_array("y_j", y_j)
    _checks.pair_of_tokens(x, y)
    dtype = jnp.promote_types(x.dtype, y.dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    matcher.validate(x.shape, y.shape)
    return pair_with_bound(
        matcher,
        check_bound(bound),
        x,
        y,
        _checks.token_mask("x_mask", x_mask, x.shape[:-1]),
        _checks.token_mask("y_mask", y_mask, y.shape[:-1]),
    )


def check_bound(bound: Bound | None) -> Bound | None:
    """Returns the bound.

    Raises:
      TypeError: it is none; a class instead of an instance is the usual slip.
    """
    if bound is not None and (isinstance(bound, type) or not callable(bound)):
        raise TypeError(f"bound must be a bound such as DualBound(), got {bound!r}")
    return bound


def pair_with_bound(
    matcher: Matcher,
    bound: Bound | None,
    x: Tokens,
    y: Tokens,
    x_mask: Mask,
    y_mask: Mask,
) -> Matching:
    """Matches checked arrays and keeps the smaller of two upper bounds."""
    matching = matcher.pair(x, y, x_mask, y_mask)
    if bound is None:
        return matching
    # A rounded bound may fall below the value that it bounds.
    value = jax.lax.stop_gradient(matching.value)
    proven = jnp.maximum(bound(x, y, x_mask, y_mask), value)
    return matching._replace(upper_bound=jnp.minimum(matching.upper_bound, proven))


def check_matcher(matcher: Matcher) -> Matcher:
    """Returns the matcher.

    Raises:
      TypeError: it is none; a class instead of an instance is the usual slip.
    """
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
    return Matching(
        jnp.where(wins[..., None], first.permutation, second.permutation),
        value,
        jnp.minimum(first.upper_bound, second.upper_bound),
    )


def matched_tokens(
    y: Float[Array, "*batch T C"], permutation: Int[Array, "*batch S"]
) -> Float[Array, "*batch S C"]:
    """The partner of each token of the first sample; zero where there is none."""
    partner = jnp.take_along_axis(y, jnp.maximum(permutation, 0)[..., None], axis=-2)
    return jnp.where(permutation[..., None] < 0, jnp.zeros((), y.dtype), partner)


@jax.jit
def norm_bound(
    x: Float[Array, "*batch S C"],
    y: Float[Array, "*batch T C"],
    x_mask: Bool[Array, "*batch S"] | None,
    y_mask: Bool[Array, "*batch T"] | None,
) -> Float[Array, "*batch"]:
    """Bounds every matching by the norms alone, in O(S log S).

    A matched pair adds at most the product of its norms (Cauchy-Schwarz), and sorting
    both sides alike makes the sum of products largest (rearrangement inequality).
    """
    x, y = jax.lax.stop_gradient((x, y))
    norms = [
        jnp.sort(jnp.sqrt(squared_token_norms(tokens, mask)), axis=-1, descending=True)
        for tokens, mask in ((x, x_mask), (y, y_mask))
    ]
    count = min(x.shape[-2], y.shape[-2])
    return jnp.sum(norms[0][..., :count] * norms[1][..., :count], axis=-1)
