"""The representational similarity matrix."""

from collections.abc import Callable
from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax._kernels import Kernel, Linear
from semrsm_jax.matching.base import Matcher
from semrsm_jax.matching.exact import Exact
from semrsm_jax.matching.results import Unconverged, warn_unconverged
from semrsm_jax.pairs.statistics import statistics_up_to_scale


def rsm(
    x: ArrayLike,
    y: ArrayLike | None = None,
    matcher: Matcher = Exact(),
    kernel: Kernel = Linear(),
    *,
    x_mask: ArrayLike | None = None,
    y_mask: ArrayLike | None = None,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Array, "N M"]:
    """The semantic RSM of x, or between x and y, Algorithm 1.

    ``matcher=Identity()`` gives the spatio-semantic RSM, Eq. 3. To look at several
    kernels or bandwidths, call `pair_statistics` once and each kernel on its result.

    Args:
      x: representations (N, S, C), see `to_tokens`.
      y: representations (M, T, C); None compares x with itself.
      matcher: the rule that pairs the tokens of two samples.
      kernel: the similarity of matched representations.
      x_mask: (N, S), True where a token takes part. None: all do.
      y_mask: (M, T), True where a token takes part. None: all do.
      memory_budget: bytes that the pairs in flight may take, see `pair_statistics`.
      progress: called as ``progress(done, total)``, in pairs, after each chunk.

    Returns:
      The RSM (N, M), in float32, or float64 for float64 input. It need not be positive
      semi-definite.

    Raises:
      TypeError: as `pair_statistics`, or `kernel` is not callable.
      ValueError: as `pair_statistics`. Samples out of range are multiplied by powers of
        two instead where that changes nothing: with ``Cosine()``, or ``RBF()`` whose
        bandwidth is the median, and a matcher that does not depend on the scale.

    Warns:
      RuntimeWarning: pairs of a soft matching did not converge; not under jit.

    Examples:
      An image, and the same image with its content moved by one token:

      >>> import numpy as np
      >>> from semrsm_jax import Identity, rsm
      >>> x = np.array([[[3.0, 0], [0, 2], [0, 0]], [[0, 0], [3, 0], [0, 2]]])
      >>> print(rsm(x, matcher=Identity()))  # position by position
      [[13.  0.]
       [ 0. 13.]]
      >>> print(rsm(x))  # at any position
      [[13. 13.]
       [13. 13.]]
    """
    K, unconverged = rsm_with_unconverged(
        x,
        y,
        matcher,
        kernel,
        x_mask=x_mask,
        y_mask=y_mask,
        memory_budget=memory_budget,
        progress=progress,
    )
    warn_unconverged(unconverged)
    return K


def rsm_with_unconverged(
    x: ArrayLike, y: ArrayLike | None, matcher: Matcher, kernel: Kernel, **settings: Any
) -> tuple[Float[Array, "N M"], Unconverged]:
    """`rsm`, and the matchings that did not converge, of which the caller warns."""
    if not callable(kernel) or isinstance(kernel, type):
        raise TypeError(f"kernel must be a kernel such as Linear(), got {kernel!r}")
    scale_free = getattr(kernel, "scale_free", None)
    statistics, unconverged = statistics_up_to_scale(
        scale_free, x, y, matcher, **settings
    )
    return kernel(statistics), unconverged
