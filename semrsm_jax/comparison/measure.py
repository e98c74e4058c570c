"""The base of the measures: what a frozen dataclass needs to be one."""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._hsic import check_counts, check_rsms
from semrsm_jax.comparison.grouping import SampleGroups, groups_apart
from semrsm_jax.comparison.narrowing import where_known


class Measure(ABC):
    """A number of two RSMs over the same samples; compiled once for equal settings.

    A measure is a frozen dataclass with `prepared`, which brings one RSM into the form
    that is compared, and `between`, which compares two of them. Permuting the samples
    of an RSM permutes those of its prepared form, so that permutation tests and
    matrices of layers prepare each RSM once. What of it does not depend on counts, as
    an order, `before_counts` computes once for all resamples. One whose call takes
    ``groups`` gives them to all three.

    Attributes:
      of_features: it takes features (N, ...) in place of RSMs (N, N).
      is_symmetric: the order of both arguments does not matter.
      is_smooth: it changes little with how much each sample counts.
      is_distance: it is smaller where both arguments are more similar.
      shifts: it does not depend on a constant added to an RSM.
      scales: it does not depend on a positive factor of an RSM.
      undefined: when the value is NaN, for the error; None where NaN is a value too.

    References:
      Klabunde et al., "Similarity of neural network models: a survey of functional and
      representational measures", 2023.
    """

    of_features: ClassVar[bool] = False
    is_symmetric: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = True
    is_distance: ClassVar[bool] = False
    shifts: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    undefined: ClassVar[str | None] = "one of them is constant"

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The measure of K and L.

        Args:
          K: RSM (N, N), or features (N, ...) where `of_features` is set.
          L: RSM (N, N), or features (N, ...), of the same samples in the same order.
          counts: (N,), how often each sample counts, as in a bootstrap.

        Returns:
          A scalar.

        Raises:
          TypeError: an array is not real.
          ValueError: shapes that do not fit, NaN or infinity, counts that are negative
            or of another shape, too few samples, or a measure that is not defined.
        """
        return self._defined(K, L, counts, None)

    def _defined(
        self,
        K: ArrayLike,
        L: ArrayLike,
        counts: ArrayLike | None,
        groups: ArrayLike | SampleGroups | None,
    ) -> Float[Array, ""]:
        """The measure; ValueError where it is NaN and that is no value."""
        K, L = self.checked(K, L)
        groups = self.checked_groups(groups, len(K))
        value = _value(self, K, L, check_counts(counts, K), groups)
        if _checks.is_traced(value):
            return where_known(value, K, L)
        if self.undefined is not None and bool(jnp.isnan(value)):
            raise ValueError(f"{self} is not defined for K and L: {self.undefined}")
        return value

    def checked(self, K: ArrayLike, L: ArrayLike) -> tuple[Array, Array]:
        """Converts both arguments; raises as a call does.

        Args:
          K: RSM (N, N).
          L: RSM (N, N) of the same samples.

        Returns:
          Both, (N, N), in the dtype to compute in.
        """
        K, L = check_rsms(K, L, shift=self.shifts, scale=self.scales)
        self.check_size(len(K))
        return K, L

    def check_size(self, samples: int) -> None:
        """Raises ValueError where there are too few samples."""
        if samples < 3:
            raise ValueError(f"{self} needs at least 3 samples, got {samples}")

    def checked_groups(
        self, groups: ArrayLike | SampleGroups | None, samples: int
    ) -> SampleGroups | None:
        """Groups as the hooks take them, checked; None where all samples are alone."""
        return groups_apart(groups, samples)

    def before_counts(
        self, K: Float[Array, "N *C"], groups: SampleGroups | None = None
    ) -> Any:
        """What `prepared` takes, computed once for all counts; pure. Here: as it is."""
        del groups
        return K

    def counted_entries(self, K: Float[Array, "N *C"]) -> int:
        """How many entries are computed with for each of many counts."""
        return K.size

    def prepared(
        self, K: Any, counts: Float[Array, " N"] | None = None
    ) -> Float[Array, "*P"]:
        """The form of one argument that is compared; pure. Here: as it is."""
        del counts
        return K

    @abstractmethod
    def between(
        self,
        P: Float[Array, "*P"],
        Q: Float[Array, "*Q"],
        counts: Float[Array, " N"] | None = None,
    ) -> Float[Array, ""]:
        """The measure of two prepared arguments; NaN where it is not defined; pure."""


class GroupedMeasure(Measure):
    """A measure that can leave out what samples of one group have in common."""

    def __call__(
        self,
        K: ArrayLike,
        L: ArrayLike,
        *,
        counts: ArrayLike | None = None,
        groups: ArrayLike | SampleGroups | None = None,
    ) -> Float[Array, ""]:
        """The measure of K and L, as `Measure`; of other groups (N,) alone."""
        return self._defined(K, L, counts, groups)


@partial(jax.jit, static_argnames="measure")
def _value(
    measure: Measure,
    K: Array,
    L: Array,
    counts: Array | None,
    groups: SampleGroups | None,
) -> Float[Array, ""]:
    of_groups: dict[str, Any] = {} if groups is None else {"groups": groups}
    P, Q = (
        measure.prepared(measure.before_counts(m, **of_groups), counts, **of_groups)
        for m in (K, L)
    )
    return measure.between(P, Q, counts, **of_groups)
