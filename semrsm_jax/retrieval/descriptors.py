"""Global descriptors: one vector for each image, compared by cosine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from semrsm_jax import _checks
from semrsm_jax._representations import accumulation_dtype
from semrsm_jax.pairs.selection import batches

# Features brought to the device at a time.
_BATCH_BYTES = 64 * 2**20

# Tokens (n, S, C), their mask (n, S) and what was fitted in, vectors (n, D) out.
Describe = Callable[..., Float[Array, "n D"]]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["parameters"],
    meta_fields=["describe"],
)
@dataclass(frozen=True, eq=False)
class Descriptor:
    """A global descriptor, fitted: features in, an RSM or the vectors out.

    Attributes:
      describe: a jitted function of tokens (n, S, C), a mask (n, S) and `parameters`.
      parameters: what was fitted.
    """

    describe: Describe
    parameters: tuple[Array, ...] = ()

    def vectors(self, x: Any, mask: ArrayLike | None = None) -> Float[Array, "N D"]:
        """The unit vectors of samples, zero for those without content.

        Args:
          x: representations (N, S, C): an array, or anything with ``shape``, ``dtype``
            and samples by slices, which is read batch by batch.
          mask: (N, S), True where a token takes part. None: all do.

        Returns:
          (N, D), of length 1.

        Raises:
          TypeError: `x` is not real, or the mask not boolean.
          ValueError: `x` has other than three axes, an empty one, NaN or infinity, or
            the mask does not fit.
        """
        batches_ = token_batches("x", x, mask)
        parts = [self.describe(t, m, *self.parameters) for t, m in batches_]
        return unit_vectors(jnp.concatenate(parts))

    def __call__(
        self,
        x: Any,
        y: Any | None = None,
        *,
        x_mask: ArrayLike | None = None,
        y_mask: ArrayLike | None = None,
    ) -> Float[Array, "N M"]:
        """The cosines of the vectors of x and y; raises as `vectors`."""
        own = self.vectors(x, x_mask)
        others = own if y is None else self.vectors(y, y_mask)
        return jnp.matmul(own, others.T, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True)
class GlobalDescriptor:
    """A rule that makes one vector of an image; called like `rsm` it gives an RSM."""

    def fit(self, database: Any, mask: ArrayLike | None = None) -> Descriptor:
        """Fits the descriptor to a database (M, T, C), read batch by batch.

        Raises:
          TypeError: as `Descriptor.vectors`.
          ValueError: as `Descriptor.vectors`, or the database is too small.
        """
        raise NotImplementedError

    def __call__(
        self,
        x: Any,
        y: Any | None = None,
        *,
        x_mask: ArrayLike | None = None,
        y_mask: ArrayLike | None = None,
    ) -> Float[Array, "N M"]:
        """The RSM of x, or between x and y: cosines of the vectors.

        It is fitted to y, the database, or to x where there is no y. To fit it to
        something else, ``config.fit(database)(x, y)``.

        Args:
          x: representations (N, S, C), see `Descriptor.vectors`.
          y: representations (M, T, C); None compares x with itself.
          x_mask: (N, S), True where a token takes part. None: all do.
          y_mask: (M, T), True where a token takes part. None: all do.

        Returns:
          The RSM (N, M); 0 for samples without content.

        Raises:
          TypeError: as `Descriptor.vectors`.
          ValueError: as `Descriptor.vectors`, or x and y differ in channels.
        """
        x, y = _checks.with_shape(x), None if y is None else _checks.with_shape(y)
        if y is not None:
            _checks.same_channels("x and y", x, y)
        fitted = self.fit(x, x_mask) if y is None else self.fit(y, y_mask)
        return fitted(x, y, x_mask=x_mask, y_mask=y_mask)


def token_batches(
    name: str, x: Any, mask: ArrayLike | None
) -> Iterator[tuple[Float[Array, "n S C"], Bool[Array, "n S"]]]:
    """Tokens and masks, in batches; raises as `Descriptor.vectors`.

    All batches but the last are of one size; where values are traced there is one.
    """
    x = _checks.with_shape(x)
    if len(x.shape) != 3:
        raise ValueError(f"{name} must have 3 axes (N, S, C), got shape {x.shape}")
    _checks.non_empty(name, x, "N S C")
    present = _checks.token_mask(f"{name}_mask", mask, tuple(x.shape[:2]))
    if present is None:
        present = jnp.ones(x.shape[:2], bool)
    if _checks.is_traced(x, present):
        yield _floats(name, x), present
        return
    count, *rest = x.shape
    for rows in batches(count, max(1, _BATCH_BYTES // (4 * int(np.prod(rest))))):
        tokens = _floats(name, x[rows])
        _checks.finite(name, tokens)
        yield tokens, present[rows]


def _floats(name: str, tokens: Any) -> Float[Array, "n S C"]:
    tokens = _checks.real_array(name, tokens)
    return tokens.astype(accumulation_dtype(tokens.dtype))


@jax.jit
def unit_vectors(vectors: Float[Array, "n D"]) -> Float[Array, "n D"]:
    """Vectors scaled to length 1; a zero vector stays, with gradient 0."""
    # Divided by the largest entry first, so that squares stay in the range of float32.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True))
    present = largest > 0
    vectors = vectors / jnp.where(present, largest, 1)
    squares = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    return vectors / jnp.sqrt(jnp.where(present, squares, 1))
