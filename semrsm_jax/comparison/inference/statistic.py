"""Statistics of two RSMs, to be tested or given an interval."""

from dataclasses import dataclass
from typing import Protocol

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from semrsm_jax.comparison._cka import cka
from semrsm_jax.comparison._rsa import rsa


class Statistic(Protocol):
    """A number that two RSMs over the same samples have: a pure, hashable function.

    One that compares by value, as a frozen dataclass does, is compiled once.
    """

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The statistic, each sample counting so often; permutations give no counts."""
        ...


@dataclass(frozen=True)
class CKA:
    """Centered kernel alignment, see `cka`.

    Attributes:
      estimator: of HSIC. The unbiased one is the default, other than in `cka`: an
        interval around an estimate that is biased by more than its width covers
        nothing.

    References:
      Kornblith et al., "Similarity of neural network representations revisited",
      2019; the unbiased HSIC is that of Song et al., 2012.
    """

    estimator: str = "unbiased"

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The CKA of K and L."""
        return cka(K, L, self.estimator, counts=counts)


@dataclass(frozen=True)
class RSA:
    """A correlation of the off-diagonals, see `rsa`.

    With a matrix of Jensen-Shannon divergences as L and ``"pearson"`` it is the
    correlation of similarity with output similarity.

    Attributes:
      method: of `rsa`.

    References:
      Kriegeskorte et al., "Representational similarity analysis", 2008.
    """

    method: str = "spearman"

    def __call__(
        self, K: ArrayLike, L: ArrayLike, *, counts: ArrayLike | None = None
    ) -> Float[Array, ""]:
        """The correlation of K and L."""
        return rsa(K, L, self.method, counts=counts)
