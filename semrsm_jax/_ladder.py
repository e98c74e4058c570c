"""The invariance ladder: what each invariance adds to the similarity, section 4.4."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.matching.base import Matcher
from semrsm_jax.matching.batch_optimal import BatchOptimal
from semrsm_jax.matching.circular_shift import CircularShift
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.identity import Identity
from semrsm_jax.pairs import pair_statistics


class Ladder(NamedTuple):
    """The similarity that each matcher reaches; R matchers, the rungs.

    Attributes:
      matchers: the R rungs, least invariant first.
      value: (R, N, M), or (R,) for a pair: the matched inner product.
      share: (R, N, M), or (R,): `value` over `attainable`; NaN where nothing above 0 is
        attainable.
      attainable: (N, M), or a scalar: the least proven upper bound of any rung.
      two_sets: whether y was given, so that pairs (i, i) are pairs like others.
    """

    matchers: tuple[Matcher, ...]
    value: Float[Array, "R *pairs"]
    share: Float[Array, "R *pairs"]
    attainable: Float[Array, "*pairs"]
    two_sets: bool = False


def invariance_ladder(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    grid: tuple[int, int] | None = None,
    matchers: Sequence[Matcher] | None = None,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ladder:
    """How much of the attainable similarity each invariance reaches, Fig. 5 and 6.

    Args:
      x: representations (N, S, C), or the tokens (S, C) of one sample.
      y: representations (M, T, C), or tokens (T, C); None compares x with itself, which
        for one sample says nothing.
      grid: (H, W) of the token grid; with it the default ladder has `CircularShift`.
      matchers: the rungs; None: Identity, CircularShift (where `grid` is given),
        BatchOptimal and Exact.
      x_mask: (N, S) or (S,), True where a token takes part. None: all do.
      y_mask: (M, T) or (T,), True where a token takes part. None: all do.
      memory_budget: as in `pair_statistics`.
      progress: called as ``progress(done, total)``, in pairs of each rung.

    Returns:
      The `Ladder`.

    Raises:
      TypeError: as `pair_statistics`.
      ValueError: as `pair_statistics`, or no matchers, or a single sample without y.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import invariance_ladder
      >>> image = np.random.default_rng(0).normal(size=(1, 16, 8)).astype("float32")
      >>> moved = np.roll(image.reshape(4, 4, 8), 1, axis=1).reshape(1, 16, 8)
      >>> ladder = invariance_ladder(image[0], moved[0], grid=(4, 4))
      >>> for matcher, share in zip(ladder.matchers, ladder.share, strict=True):
      ...     print(f"{type(matcher).__name__:15}{share:5.2f}")
      Identity        0.03
      CircularShift   1.00
      BatchOptimal    1.00
      Exact           1.00
    """
    if matchers is None:
        shift = () if grid is None else (CircularShift(grid),)
        matchers = (Identity(), *shift, BatchOptimal(), Exact())
    if not matchers:
        raise ValueError("matchers must name at least one matcher, got none")
    single = jnp.ndim(x) == 2
    if single:
        if y is None:
            raise ValueError("y must be given where x is one sample (S, C), got None")
        x = _checks.real_array_on_host("x", x)[None]
        y = _checks.real_array_on_host("y", y)[None]
        x_mask = None if x_mask is None else jnp.asarray(x_mask)[None]
        y_mask = None if y_mask is None else jnp.asarray(y_mask)[None]
    rungs = [
        pair_statistics(
            x,
            y,
            matcher,
            x_mask=x_mask,
            y_mask=y_mask,
            memory_budget=memory_budget,
            progress=progress,
        )
        for matcher in matchers
    ]
    value = jnp.stack([stats.inner for stats in rungs])
    attainable = jnp.min(jnp.stack([stats.upper_bound for stats in rungs]), axis=0)
    if single:
        value, attainable = value[:, 0, 0], attainable[0, 0]
    positive = attainable > 0
    share = jnp.where(positive, value / jnp.where(positive, attainable, 1), jnp.nan)
    return Ladder(tuple(matchers), value, share, attainable, y is not None)
