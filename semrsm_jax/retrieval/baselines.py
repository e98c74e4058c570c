"""The classical global descriptors, which section 5 says a comparison should include.

Each is called as `rsm` is: features (N, S, C) in, similarities (N, M) out.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax.retrieval.descriptors import (
    Descriptor,
    GlobalDescriptor,
    token_batches,
    unit_vectors,
)


@dataclass(frozen=True)
class AveragePooling(GlobalDescriptor):
    """The mean token (global average pooling), compared by cosine.

    References:
      Babenko and Lempitsky, "Aggregating deep convolutional features for image
      retrieval", 2015.
    """

    def fit(self, database: Any, mask: ArrayLike | None = None) -> Descriptor:
        """Returns the descriptor; there is nothing to fit."""
        del database, mask
        return Descriptor(_mean_token)


@dataclass(frozen=True)
class ClassToken(GlobalDescriptor):
    """One token alone, such as a transformer's CLS token, compared by cosine.

    Masks do not matter: the token need not take part in anything else.

    Attributes:
      index: which token.

    Raises:
      TypeError: `index` is not an integer.
      ValueError: it is below 0.

    References:
      Dosovitskiy et al., "An image is worth 16x16 words: Transformers for image
      recognition at scale", 2020 (the CLS token).
    """

    index: int = 0

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for an index below 0."""
        _checks.at_least("index", self.index, 0)

    def fit(self, database: Any, mask: ArrayLike | None = None) -> Descriptor:
        """Returns the descriptor; there is nothing to fit."""
        del database, mask
        return Descriptor(partial(_token, index=self.index))


@dataclass(frozen=True)
class WhitenedPooling(GlobalDescriptor):
    """The mean token as a unit vector, its principal components scaled to variance 1.

    Whitening weighs the directions that many images share less than those in which
    images differ.

    Attributes:
      components: how many, those of largest variance; None: all that have variance.
        Those of small variance are mostly noise.
      epsilon: added to each variance, as a share of the largest.

    Raises:
      TypeError: `components` is not an integer.
      ValueError: a setting is out of its range.

    References:
      Jegou and Chum, "Negative evidences and co-occurrences in image retrieval: the
      benefit of PCA and whitening", 2012.
    """

    components: int | None = None
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of its range."""
        if self.components is not None:
            _checks.at_least("components", self.components, 1)
        if not 0 <= self.epsilon < np.inf:
            raise ValueError(
                f"epsilon must be finite and at least 0, got {self.epsilon}"
            )

    def fit(self, database: Any, mask: ArrayLike | None = None) -> Descriptor:
        """Fits mean and components to the mean tokens of a database of 2 or more.

        Raises:
          TypeError: as `Descriptor.vectors`.
          ValueError: as `Descriptor.vectors`, one sample alone, or fewer channels or
            samples than `components`.
        """
        pooled = Descriptor(_mean_token).vectors(database, mask)
        most = min(len(pooled) - 1, pooled.shape[1])
        if most < 1:
            raise ValueError(
                "database must hold at least 2 samples, to have a variance, got "
                f"{len(pooled)}"
            )
        if self.components is not None and self.components > most:
            raise ValueError(
                f"components must be at most {most}, for {len(pooled)} samples of "
                f"{pooled.shape[1]} channels, got {self.components}"
            )
        count = self.components or most
        mean = jnp.mean(pooled, axis=0)
        _, spread, directions = jnp.linalg.svd(pooled - mean, full_matrices=False)
        variance = spread[:count] ** 2 / (len(pooled) - 1)
        # Directions that rounding alone has made are left out.
        real = (
            spread[:count] > spread[0] * max(pooled.shape) * jnp.finfo(spread.dtype).eps
        )
        scale = jnp.sqrt(variance + self.epsilon * variance[0])
        scale = jnp.where(real, 1 / jnp.where(real, scale, 1), 0)
        return Descriptor(_whitened, (mean, directions[:count] * scale[:, None]))


@dataclass(frozen=True)
class VLAD(GlobalDescriptor):
    """Vector of locally aggregated descriptors: residuals of tokens to visual words.

    Attributes:
      clusters: the number of visual words, which are the centers of k-means.
      seed: of k-means and of the choice of tokens.
      tokens: the most tokens of the database, drawn at random, that go into k-means.
      iterations: of k-means.
      power: exponent that tempers large residuals, their sign kept; 1 leaves them.

    Raises:
      TypeError: a count is not an integer.
      ValueError: a setting is out of its range.

    References:
      Jegou et al., "Aggregating local descriptors into a compact image representation",
      2010; the power is that of "Aggregating local image descriptors into compact
      codes", 2012.
    """

    clusters: int = 64
    seed: int = 0
    tokens: int = 100_000
    iterations: int = 25
    power: float = 0.5

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a setting out of its range."""
        for name in ("clusters", "tokens", "iterations"):
            _checks.at_least(name, getattr(self, name), 1)
        _checks.at_least("seed", self.seed, 0)
        if not 0 < self.power <= 1:
            raise ValueError(f"power must be above 0 and at most 1, got {self.power}")

    def fit(self, database: Any, mask: ArrayLike | None = None) -> Descriptor:
        """Finds the visual words, on the host (SciPy's k-means++ and k-means).

        Raises:
          TypeError: as `Descriptor.vectors`.
          ValueError: as `Descriptor.vectors`, fewer tokens than `clusters`, or the
            database is traced.
        """
        # SciPy's clustering takes a while to import.
        from scipy.cluster.vq import kmeans2

        if _checks.is_traced(database, mask):
            raise ValueError(
                "VLAD is fitted on the host: fit it outside of jit, and call what "
                "`fit` returns inside"
            )
        chosen = self._draw(database, mask)
        if len(chosen) < self.clusters:
            raise ValueError(
                f"clusters must be at most the {len(chosen)} tokens to fit, got "
                f"{self.clusters}"
            )
        # Newer releases call it rng; SciPy 1.14 knows only this name.
        settings: dict[str, Any] = {"minit": "++", "seed": self.seed}
        centers, _ = kmeans2(chosen, self.clusters, self.iterations, **settings)
        return Descriptor(_vlad, (jnp.asarray(centers), jnp.asarray(self.power)))

    def _draw(self, database: Any, mask: ArrayLike | None) -> Float[np.ndarray, "n C"]:
        """Tokens that take part, at most `tokens`, in their order."""
        total = int(np.prod(database.shape[:2]) if mask is None else np.sum(mask))
        keep = np.ones(total, bool)
        if total > self.tokens:
            rng = np.random.default_rng(self.seed)
            keep[:] = False
            keep[rng.choice(total, self.tokens, replace=False)] = True
        chosen, start = [], 0
        for tokens, present in token_batches("database", database, mask):
            flat = np.asarray(tokens)[np.asarray(present)]
            chosen.append(flat[keep[start : start + len(flat)]])
            start += len(flat)
        return np.concatenate(chosen)


@jax.jit
def _mean_token(
    tokens: Float[Array, "n S C"], mask: Bool[Array, "n S"]
) -> Float[Array, "n C"]:
    return jnp.mean(tokens, axis=1, where=mask[..., None])


def _token(
    tokens: Float[Array, "n S C"], mask: Bool[Array, "n S"], index: int
) -> Float[Array, "n C"]:
    del mask
    if index >= tokens.shape[1]:
        raise ValueError(
            f"index must be below {tokens.shape[1]}, the tokens of a sample, got "
            f"{index}"
        )
    return tokens[:, index]


@jax.jit
def _whitened(
    tokens: Float[Array, "n S C"],
    mask: Bool[Array, "n S"],
    mean: Float[Array, " C"],
    directions: Float[Array, "D C"],
) -> Float[Array, "n D"]:
    pooled = unit_vectors(_mean_token(tokens, mask)) - mean
    return jnp.matmul(pooled, directions.T, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _vlad(
    tokens: Float[Array, "n S C"],
    mask: Bool[Array, "n S"],
    centers: Float[Array, "K C"],
    power: Float[Array, ""],
) -> Float[Array, "n KC"]:
    precision = jax.lax.Precision.HIGHEST
    # |t - c|^2 without |t|^2, which is the same for all words.
    inner = jnp.einsum("nsc,kc->nsk", tokens, centers, precision=precision)
    nearest = jnp.argmin(jnp.sum(centers**2, axis=-1) - 2 * inner, axis=-1)
    assigned = jax.nn.one_hot(nearest, len(centers), dtype=tokens.dtype)
    assigned = assigned * mask[..., None]
    residuals = jnp.einsum(
        "nsk,nsc->nkc", assigned, tokens - centers[nearest], precision=precision
    ).reshape(len(tokens), -1)
    # Of the unit vector, so that a tiny scale does not matter; zero has no slope here.
    residuals = unit_vectors(residuals)
    size = jnp.abs(residuals)
    tempered = jnp.where(size > 0, jnp.where(size > 0, size, 1) ** power, 0)
    return jnp.sign(residuals) * tempered
