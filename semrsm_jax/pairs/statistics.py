"""One pass over all pairs of samples: what every kernel and every sweep then reads."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax._narrowed import warn_of_lost_variation
from semrsm_jax._rows import Rows
from semrsm_jax.matching.base import Bound, Matcher, check_bound, check_matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.results import Unconverged, warn_unconverged
from semrsm_jax.pairs.chunk_size import pairs_in_flight
from semrsm_jax.pairs.executor import PairInputs, Rule, match_block, match_traced
from semrsm_jax.pairs.norms import in_range, squared_norms
from semrsm_jax.pairs.selection import Pairs


class PairStatistics(NamedTuple):
    """What a kernel needs to know of every pair of samples.

    Attributes:
      inner: (N, M), the matched inner product <z_i, P_ij z_j>, a sum over tokens.
      sq_dist: (N, M), the squared Euclidean distance of the matched representations,
        taken from their difference.
      upper_bound: (N, M), a proven bound on `inner` for any matching of the pair.
      x_sq_norm: (N,), squared norms of the flattened representations of x.
      y_sq_norm: (M,), squared norms of the flattened representations of y.
      column_error: (N, M), of a soft matching that did not converge, the total error of
        the plan's column sums as a share of its mass; 0 where it converged. None of a
        hard matching.
    """

    inner: Float[Array, "N M"]
    sq_dist: Float[Array, "N M"]
    upper_bound: Float[Array, "N M"]
    x_sq_norm: Float[Array, " N"]
    y_sq_norm: Float[Array, " M"]
    column_error: Float[Array, "N M"] | None = None

    @property
    def converged(self) -> Bool[Array, "N M"]:
        """Whether each matching converged; a hard one always has."""
        if self.column_error is None:
            return jnp.ones(self.inner.shape, bool)
        return self.column_error == 0


def pair_statistics(
    x: ArrayLike | Rows,
    y: ArrayLike | Rows | None = None,
    matcher: Matcher = Exact(),
    *,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    bound: Bound | None = None,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PairStatistics:
    """Matches every sample of x with every sample of y, chunk by chunk, Algorithm 1.

    Peak memory is that of a chunk of pairs, beside inputs and outputs. Where `y` is
    None and the matcher symmetric, each pair is matched once; where a sample matches
    itself token by token, the diagonal is not matched at all.

    Args:
      x: representations (N, S, C). A `Rows`, as `load_features` gives them of files
        larger than memory, is read chunk by chunk.
      y: representations (M, T, C); None compares x with itself.
      matcher: the rule that pairs the tokens.
      x_mask: (N, S), True where a token takes part. None: all do.
      y_mask: (M, T), True where a token of y takes part. None: all do. Only with `y`.
      bound: a further proof for approximate matchers, for example ``DualBound()``; the
        smaller of its bound and the matcher's is kept.
      memory_budget: bytes that the pairs in flight may take, at least one pair. None:
        what keeps the processor's cache and cores busy, 32 MiB and four pairs a core,
        but no more than an eighth of the memory that is free; on an accelerator, that
        eighth. Where memory runs out all the same, half as many pairs go on.
      progress: called as ``progress(done, total)``, in pairs, after each chunk; not
        under jit.

    Returns:
      The `PairStatistics`, in float32, or float64 for float64 input. Under jit and grad
      gradients are those of the fixed matching (envelope), and the backward pass holds
      one chunk at a time.

    Raises:
      TypeError: an array is not real, a mask not boolean, or `matcher` no Matcher.
      ValueError: shapes do not fit, an axis is empty, a value is not finite, or
        `memory_budget` is below 1; or a sample's squared norm is neither 0 nor in the
        range where the dtype holds its products, 1e-31 to 4e31 in float32 and 1e-292
        to 4e292 in float64. Under jit the statistics of such a sample are NaN, as
        those of one that is not finite.

    Warns:
      RuntimeWarning: pairs of a soft matching did not converge; not under jit.

    Examples:
      Match once, then apply any kernel:

      >>> import numpy as np
      >>> from semrsm_jax import RBF, Cosine, pair_statistics
      >>> x = np.array([[[3.0, 0], [0, 2]], [[0, 1], [3, 0]]])
      >>> stats = pair_statistics(x)
      >>> print(stats.inner)
      [[13. 11.]
       [11. 10.]]
      >>> print(stats.sq_dist)
      [[0. 1.]
       [1. 0.]]
      >>> print(Cosine()(stats))
      [[1.    0.965]
       [0.965 1.   ]]
      >>> print(RBF(bandwidth=1.0)(stats))
      [[1.    0.607]
       [0.607 1.   ]]
    """
    statistics, unconverged = statistics_up_to_scale(
        None,
        x,
        y,
        matcher,
        x_mask=x_mask,
        y_mask=y_mask,
        bound=bound,
        memory_budget=memory_budget,
        progress=progress,
    )
    warn_unconverged(unconverged)
    return statistics


def statistics_up_to_scale(
    scale_free: str | None,
    x: ArrayLike | Rows,
    y: ArrayLike | Rows | None,
    matcher: Matcher,
    *,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    bound: Bound | None = None,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PairStatistics, Unconverged]:
    """`pair_statistics`, for a kernel that gives the same whatever the scale.

    With ``scale_free="each"`` (``"all"``) each sample (all of them) may be multiplied
    by a power of two: where their norms would leave the range of the dtype. The caller
    warns of the matchings that did not converge.
    """
    rule = Rule(check_matcher(matcher), check_bound(bound))
    if memory_budget is not None:
        memory_budget = _checks.at_least("memory_budget", memory_budget, 1)
    x, x_mask = _samples("x", x, x_mask)
    mirrored = y is None
    if y is None:
        if y_mask is not None:
            raise ValueError("y_mask was given without y")
        y, y_mask = x, x_mask
    else:
        y, y_mask = _samples("y", y, y_mask)
    _checks.same_channels("x and y", x, y)
    matcher.validate(x.shape, y.shape)
    pairs = Pairs(
        x.shape[0],
        y.shape[0],
        triangle=mirrored and matcher.symmetric,
        diagonal=not (mirrored and matcher.self_is_identity),
    )
    inputs = PairInputs(x, y, x_mask, y_mask)
    if scale_free and matcher.scale_free:
        inputs = in_range(inputs, mirrored, scale_free == "each")
        x, y, _, _ = inputs
    x_sq_norm = squared_norms("x", x, x_mask, inputs.dtype)
    y_sq_norm = x_sq_norm
    if not mirrored:
        y_sq_norm = squared_norms("y", y, y_mask, inputs.dtype)
    traced = _checks.is_traced(*inputs)
    most = pairs_in_flight(
        x.shape, y.shape, inputs.dtype, rule, memory_budget, long=not traced
    )
    size = pairs.chunk_size(most)
    if traced:
        outside = jnp.isnan(x_sq_norm)[:, None] | jnp.isnan(y_sq_norm)
        inner, sq_dist, upper, *error = (
            jnp.where(outside, jnp.nan, values)
            for values in match_traced(inputs, rule, pairs, size)
        )
        if not pairs.diagonal:
            index = jnp.arange(x.shape[0])
            inner = inner.at[index, index].set(x_sq_norm)
            upper = upper.at[index, index].set(x_sq_norm)
        unconverged = Unconverged()
    else:

        def advance(done: int) -> None:
            if progress is not None:
                progress(done, pairs.count)

        # Constants inside a traced function, a teacher's tokens say, are done here too.
        with jax.ensure_compile_time_eval():
            matched = match_block(inputs, rule, pairs, size, advance)
            if not pairs.diagonal:
                inner, _, upper, *_ = matched.matrices
                np.fill_diagonal(inner, x_sq_norm)
                np.fill_diagonal(upper, x_sq_norm)
            inner, sq_dist, upper, *error = map(jnp.asarray, matched.matrices)
        unconverged = matched.unconverged
    statistics = PairStatistics(inner, sq_dist, upper, x_sq_norm, y_sq_norm, *error)
    return statistics, unconverged


def _samples(
    name: str, array: ArrayLike | Rows, mask: ArrayLike | None
) -> tuple[Array | np.ndarray | Rows, Bool[Array, "N S"] | None]:
    if isinstance(array, Rows):
        _checks.real(name, array, rank=3)
    else:
        array = _checks.real_array_on_host(name, array, rank=3)
    warn_of_lost_variation(name, array)
    _checks.non_empty(name, array, "N S C")
    _checks.finite(name, array)
    return array, _checks.token_mask(f"{name}_mask", mask, array.shape[:2])
