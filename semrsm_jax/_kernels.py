"""Kernels: functions of the pair statistics, elementwise, Appendix A (Eq. 6-8)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax._selection import middle_positive
from semrsm_jax.pairs import PairStatistics

_RULES = ("median", "official", "paper")


class Kernel(Protocol):
    """A similarity of matched representations: `PairStatistics` in, RSM (N, M) out.

    One may say that it is ``monotone``: that an entry depends on its own pair alone,
    never falls as `inner` rises, and never rises as `sq_dist` does, at fixed norms. A
    bound on the matching is then one on the similarity. And it may say which factors
    change nothing, as its ``scale_free``: one of ``"each"`` sample, or one of ``"all"``
    of them together.
    """

    def __call__(self, stats: PairStatistics) -> Float[Array, "N M"]:
        """The RSM of these statistics."""
        ...


@runtime_checkable
class FittedKernel(Kernel, Protocol):
    """A kernel that needs to see the whole RSM before it can be applied to a part."""

    def fitted(self, sq_dist: Callable[[], Iterable[np.ndarray]]) -> Kernel:
        """The kernel to apply to each part.

        Args:
          sq_dist: each call goes once through ``sq_dist`` (N, M), block by block.
        """
        ...


@dataclass(frozen=True)
class Linear:
    """The inner product, summed over tokens, Eq. 7.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Linear, rsm
      >>> print(rsm(np.array([[[3.0, 0]], [[1.0, 2]]]), kernel=Linear()))
      [[9. 3.]
       [3. 5.]]
    """

    monotone: ClassVar[bool] = True

    def __call__(self, stats: PairStatistics) -> Float[Array, "N M"]:
        """The RSM (N, M), in the units of the squared activations."""
        return stats.inner


@dataclass(frozen=True)
class Cosine:
    """The cosine of the whole flattened, matched representations, Eq. 8.

    It lies in [-1, 1]; a zero representation has cosine 0 with every other. Scaling the
    features changes nothing: `rsm` does so by powers of two where their squared norms
    leave the range of the dtype, see `pair_statistics`.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import Cosine, rsm
      >>> print(rsm(np.array([[[3.0, 0]], [[3.0, 4]]]), kernel=Cosine()))
      [[1.  0.6]
       [0.6 1. ]]
    """

    monotone: ClassVar[bool] = True
    scale_free: ClassVar[str] = "each"

    def __call__(self, stats: PairStatistics) -> Float[Array, "N M"]:
        """The RSM (N, M), without unit."""
        return _cosine(stats.inner, stats.x_sq_norm, stats.y_sq_norm)


@dataclass(frozen=True)
class RBF:
    """The radial basis function exp(-d^2 / (2 sigma^2)), Eq. 6, in [0, 1].

    The bandwidth sigma is one number for the whole RSM, so that it does not depend on
    how the pairs were computed. Where every distance is zero, every similarity is 1.

    Attributes:
      bandwidth: sigma, in the units of the activations, or a rule that takes it from
        the non-zero distances of the RSM. ``None`` or ``"median"``: sigma^2 is the
        median of the squared distances. ``"official"``: sigma is the square root of
        their *lower* median, plus 1e-3, as the paper's public code has it. ``"paper"``:
        sigma is the square root of the median distance, as Appendix A words it.

    Raises:
      TypeError: a bandwidth that is neither a number nor a rule.
      ValueError: a bandwidth that is not finite or not above 0, or an unknown rule.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import RBF, rsm
      >>> x = np.array([[[0.0]], [[1.0]], [[3.0]]])
      >>> print(rsm(x, kernel=RBF(bandwidth=2.0)).round(3))
      [[1.    0.882 0.325]
       [0.882 1.    0.607]
       [0.325 0.607 1.   ]]
      >>> print(rsm(x, kernel=RBF())[0].round(3))  # sigma^2 = 4: the median of 1, 4, 9
      [1.    0.882 0.325]
    """

    bandwidth: float | str | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for neither a rule nor a positive number."""
        rule = self.bandwidth
        if rule is None or (isinstance(rule, str) and rule in _RULES):
            return
        try:
            if isinstance(rule, str):
                raise ValueError
            sigma = _checks.finite_number("bandwidth", rule, above=True)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                "bandwidth must be a finite number above 0, None, or one of "
                f"{', '.join(map(repr, _RULES))}, got {rule!r}"
            ) from None
        # A NumPy or JAX scalar would not hash, or compare.
        object.__setattr__(self, "bandwidth", sigma)

    def __call__(self, stats: PairStatistics) -> Float[Array, "N M"]:
        """The RSM (N, M), without unit."""
        return _rbf(stats.sq_dist, self.sigma(stats))

    @property
    def monotone(self) -> bool:
        """Whether the bandwidth is a number, so that a pair depends on no other."""
        return self.bandwidth is not None and not isinstance(self.bandwidth, str)

    @property
    def scale_free(self) -> str | None:
        """A factor of all samples scales the median of their distances too."""
        return "all" if self.bandwidth in (None, "median") else None

    def sigma(self, stats: PairStatistics) -> Float[Array, ""]:
        """The bandwidth used for these statistics; 1 where no distance is non-zero."""
        sq_dist = stats.sq_dist
        if self.bandwidth is not None and not isinstance(self.bandwidth, str):
            return jnp.asarray(self.bandwidth, _checks.floating_dtype(sq_dist.dtype))
        return self._of_middle(*_middle_non_zero(sq_dist))

    def fitted(self, sq_dist: Callable[[], Iterable[np.ndarray]]) -> "RBF":
        """The kernel with the bandwidth of a whole RSM, which is never held at once.

        Args:
          sq_dist: each call goes once through ``sq_dist`` (N, M), block by block; it
            is called three times in float32, five times in float64.

        Returns:
          ``RBF(sigma)``, with the very sigma that `sigma` gives for the whole.

        Raises:
          ValueError: a distance is NaN, of which `sigma` is NaN.
        """
        if self.bandwidth is not None and not isinstance(self.bandwidth, str):
            return self
        middle = middle_positive(sq_dist)
        if middle is None:
            return RBF(1.0)
        return RBF(float(self._of_middle(*map(jnp.asarray, middle))))

    def _of_middle(self, lower: Array, upper: Array) -> Float[Array, ""]:
        """Sigma by the rule, from both medians of the squared distances."""
        if self.bandwidth == "official":
            return jnp.sqrt(lower) + 1e-3
        if self.bandwidth == "paper":
            return jnp.sqrt((jnp.sqrt(lower) + jnp.sqrt(upper)) / 2)
        return jnp.sqrt(lower / 2 + upper / 2)


@jax.jit
def _cosine(
    inner: Float[Array, "N M"], x_sq_norm: Float[Array, " N"], y_sq_norm: Array
) -> Float[Array, "N M"]:
    # By one norm after the other: the product of both may leave float32's range.
    norm_x, norm_y = (_safe_sqrt(sq_norm) for sq_norm in (x_sq_norm, y_sq_norm))
    present = (norm_x != 0)[:, None] & (norm_y != 0)[None, :]
    norm_x, norm_y = (jnp.where(n != 0, n, 1) for n in (norm_x, norm_y))
    return jnp.where(present, inner / norm_x[:, None] / norm_y[None, :], 0)


@jax.jit
def _rbf(sq_dist: Float[Array, "N M"], sigma: Float[Array, ""]) -> Float[Array, "N M"]:
    distant = ~(sq_dist <= 0)
    # Dividing before squaring keeps a tiny or huge sigma inside float32's range.
    scaled = _safe_sqrt(sq_dist) / sigma
    similarity = jnp.where(distant, jnp.exp(-0.5 * scaled**2), 1)
    # Compiled for a processor, exp may give 0 for NaN.
    return jnp.where(jnp.isnan(scaled), jnp.nan, similarity)


@jax.jit
def _middle_non_zero(
    values: Float[Array, "N M"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The lower and upper median of the non-zero values; 1 where there is none.

    In a symmetric matrix every off-diagonal value stands twice, which moves neither:
    the triangle has the same two medians.
    """
    values = values.ravel()
    ranked = jnp.sort(jnp.where(values > 0, values, jnp.inf))
    count = jnp.sum(values > 0)
    lower = ranked[jnp.maximum((count - 1) // 2, 0)]
    upper = ranked[jnp.minimum(count // 2, ranked.size - 1)]
    # Without those that are unknown, the median would be another one.
    known = ~jnp.isnan(values).any()
    lower, upper = (jnp.where(count > 0, middle, 1) for middle in (lower, upper))
    return jnp.where(known, lower, jnp.nan), jnp.where(known, upper, jnp.nan)


def _safe_sqrt(values: Array) -> Array:
    """The square root, with gradient 0 instead of infinity at 0; NaN stays NaN."""
    other = ~(values <= 0)
    return jnp.where(other, jnp.sqrt(jnp.where(other, values, 1)), 0)
