"""Linear predictivity: how much of one network a linear map from the other explains."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax.comparison._spectrum import centered_gram, less_mean, spectrum
from semrsm_jax.comparison.grouping import DROP, SampleGroups
from semrsm_jax.comparison.measure import GroupedMeasure


@dataclass(frozen=True)
class LinearPredictivity(GroupedMeasure):
    """The variance of L's features that ridge regression on K's explains, held out.

    With K = X X' and L = Y Y': the samples are split into folds; of each, Y is
    predicted from X by the ridge regression, with intercept, of all other folds. The
    value is R^2 = 1 - |Y - prediction|^2 / |Y - mean|^2 over all samples and features
    together, so that features count with their variance (scikit-learn's
    ``r2_score(..., multioutput="variance_weighted")`` of ``cross_val_predict``). At
    most 1; 0 or less where nothing is predicted. The penalty is chosen within the
    training folds of each fold by the exact leave-one-out error (``RidgeCV``).

    It needs the RSMs alone. In both directions it differs: K predicts L. With groups
    whose pairs are left out, folds are of whole groups, in the order of their names, so
    that no sample is predicted from its own group; fewer groups than folds are a fold
    each. The penalty is still chosen by leaving out single samples.

    Attributes:
      folds: number of folds. They are contiguous, as those of ``KFold``: crops of one
        photograph that stand together are parted at most at the edge of a fold; shuffle
        samples that are sorted by class.
      fold_of: the fold of each sample, numbers from 0, in place of `folds`; not where
        groups are given whose pairs are left out, as they make the folds.
      penalties: that are tried, each in units of the mean squared norm of the centered
        training samples of X.
      clip: take the nearest positive semi-definite RSM where one is not (negative
        eigenvalues as 0), in place of an error.

    References:
      Yamins et al., "Performance-optimized hierarchical models predict neural responses
      in higher visual cortex", 2014; Kornblith et al., "Similarity of neural network
      representations revisited", 2019 (the R^2 of linear regression); Hoerl and
      Kennard, "Ridge regression", 1970.

    Examples:
      >>> import numpy as np
      >>> from semrsm_jax import LinearPredictivity
      >>> X = np.random.default_rng(0).normal(size=(40, 4))
      >>> Y = X @ np.random.default_rng(1).normal(size=(4, 6))
      >>> bool(LinearPredictivity()(X @ X.T, Y @ Y.T) > 0.99)
      True
    """

    folds: int = 5
    fold_of: tuple[int, ...] | None = None
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
    clip: bool = False

    is_symmetric: ClassVar[bool] = False
    undefined: ClassVar[str] = (
        "L is constant, or one of them is not positive semi-definite, as a semantic "
        "RSM may be; clip=True takes the nearest one that is"
    )

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for folds or penalties out of range."""
        _checks.at_least("folds", self.folds, 2)
        penalties = tuple(
            _checks.finite_number("penalties", each, above=True)
            for each in self.penalties
        )
        if not penalties:
            raise ValueError("penalties must hold at least one number, got none")
        # Arrays and lists would not hash.
        object.__setattr__(self, "penalties", penalties)
        if self.fold_of is not None:
            object.__setattr__(
                self, "fold_of", tuple(np.asarray(self.fold_of).tolist())
            )

    def check_size(self, samples: int) -> None:
        """Raises ValueError for fewer samples than folds, or a `fold_of` of others."""
        if self.fold_of is not None:
            if len(self.fold_of) != samples:
                raise ValueError(
                    f"fold_of must have one entry for each of {samples} samples, got "
                    f"{len(self.fold_of)}"
                )
            if len(set(self.fold_of)) < 2:
                raise ValueError("fold_of must hold at least 2 folds, got one")
        elif samples < max(self.folds, 3):
            raise ValueError(
                f"folds must be at most the number of samples, and these at least 3, "
                f"got {self.folds} folds and {samples} samples"
            )

    def prepared(
        self, K: Array, counts: Array | None = None, groups: SampleGroups | None = None
    ) -> Array:
        """The centered RSM, positive semi-definite."""
        del counts, groups
        values, vectors = spectrum(K, None, self.clip)
        with jax.default_matmul_precision("highest"):
            return (vectors * values) @ vectors.T

    def between(
        self,
        P: Array,
        Q: Array,
        counts: Array | None = None,
        groups: SampleGroups | None = None,
    ) -> Array:
        """R^2 over all folds."""
        n = len(P)
        counts = jnp.ones(n, P.dtype) if counts is None else counts
        held_out = self._held_out(n, groups)
        # One fold at a time: each takes a few arrays (N, N).
        unexplained = jax.lax.map(partial(self._unexplained, P, Q, counts), held_out)
        total = jnp.trace(centered_gram(Q, counts))
        return jnp.where(total > 0, 1 - jnp.sum(unexplained) / total, jnp.nan)

    def _held_out(self, n: int, groups: SampleGroups | None) -> Bool[Array, "folds N"]:
        """The samples of each fold."""
        if groups is not None and groups.within == DROP:
            if self.fold_of is not None:
                raise ValueError(
                    "fold_of must be None where pairs within groups are left out, "
                    "which makes folds of whole groups, got one for each sample"
                )
            members, folds = jnp.asarray(groups.members), self.folds
            fold_of = members * folds // (jnp.max(members) + 1)
        elif self.fold_of is not None:
            names, numbers = np.unique(self.fold_of, return_inverse=True)
            fold_of, folds = jnp.asarray(numbers), len(names)
        else:
            sizes = [len(part) for part in np.array_split(np.arange(n), self.folds)]
            folds = self.folds
            fold_of = jnp.asarray(np.repeat(np.arange(folds), sizes))
        return fold_of == jnp.arange(folds)[:, None]

    def _unexplained(
        self, K: Array, L: Array, counts: Array, held_out: Array
    ) -> Float[Array, ""]:
        """The squared error of a fold, predicted from all others."""
        weights = jnp.where(held_out, 0, counts)
        share, root = weights / jnp.sum(weights), jnp.sqrt(weights)
        K, L = (less_mean(m, share) for m in (K, L))
        values, vectors = jnp.linalg.eigh(root[:, None] * K * root)
        values = jnp.maximum(values, 0)
        unit = jnp.sum(values) / jnp.sum(weights)
        penalties = jnp.asarray(self.penalties, K.dtype) * jnp.where(unit > 0, unit, 1)
        scaled = vectors.T * root  # (N, N), from samples to axes
        with jax.default_matmul_precision("highest"):
            targets = scaled @ L @ scaled.T

            def left_out(penalty: Array) -> Array:
                """The sum of squared leave-one-out errors of the training samples."""
                # Rows of (G + penalty)^-1; the intercept, in the direction of the
                # roots, has no penalty.
                inverse = vectors / (values + penalty)
                own = jnp.sum(inverse * vectors, axis=1) - share / penalty
                squares = jnp.einsum("ia,ab,ib->i", inverse, targets, inverse)
                used = weights > 0
                return jnp.sum(
                    jnp.where(used, squares / jnp.where(used, own, 1) ** 2, 0)
                )

            best = penalties[jnp.argmin(jax.lax.map(left_out, penalties))]
            axes = K @ scaled.T / (values + best)
            cross = jnp.sum(axes * (L @ scaled.T), axis=1)
            squares = jnp.diagonal(L) - 2 * cross
            squares += jnp.einsum("ia,ab,ib->i", axes, targets, axes)
        return jnp.sum(jnp.where(held_out, counts * squares, 0))
