"""Layers that several networks share, with torch's arithmetic."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax import _checks

Activation = Callable[[jax.Array], jax.Array]


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact GELU (Hendrycks & Gimpel 2016); nnx's own default approximates it."""
    return jax.nn.gelu(x, approximate=False)


def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The rectifier; `pickle` cannot find JAX's own by its name."""
    return jax.nn.relu(x)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """X sigmoid(1.702 x), the GELU of CLIP (Radford et al. 2021)."""
    return x * jax.nn.sigmoid(1.702 * x)


def is_floating(dtype: Any) -> bool:
    """Whether a dtype, bfloat16 included, holds real floating-point numbers."""
    return jnp.issubdtype(dtype, jnp.floating)


def floating(name: str, dtype: DTypeLike) -> jnp.dtype:
    """The dtype itself, so that "bfloat16" and `jnp.bfloat16` compare equal.

    Raises:
      TypeError: it names no dtype.
      ValueError: it is not floating.
    """
    try:
        dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"{name} must be a floating dtype, got {dtype!r}") from error
    if not is_floating(dtype):
        raise ValueError(f"{name} must be a floating dtype, got {dtype}")
    return dtype


def statistics_dtype(dtype: DTypeLike) -> jnp.dtype:
    """The dtype of means, variances and softmax: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def positive(config: Any, *names: str) -> None:
    """Raises an error where one of these fields is not an integer of at least 1."""
    for name in names:
        _checks.at_least(name, getattr(config, name), 1)


def check_heads(width: int, heads: int) -> None:
    """Raises an error where the heads of an attention do not divide its channels."""
    if width % heads:
        raise ValueError(f"heads must divide width={width}, got {heads}")


def to_one_form(config: Any) -> None:
    """Brings equal settings of a frozen config to one form, so that they compare equal.

    Dtypes become `jnp.dtype`, and 0 classes become None.

    Raises:
      TypeError: the number of classes is not an integer, or a dtype names none.
      ValueError: the number of classes is negative, or a dtype is not floating.
    """
    for name in ("dtype", "param_dtype"):
        if hasattr(config, name):
            object.__setattr__(config, name, floating(name, getattr(config, name)))
    if hasattr(config, "num_classes"):
        classes = _checks.at_least("num_classes", config.num_classes or 0, 0)
        object.__setattr__(config, "num_classes", classes or None)


def check_images(images: Float[Array, "N H W C"], channels: int) -> None:
    """Raises an error for images that are not (N, H, W, channels)."""
    if images.ndim != 4 or images.shape[-1] != channels:
        expected = f"(N, H, W, {channels})"
        raise ValueError(f"images must have shape {expected}, got {images.shape}")


def linear(
    features: tuple[int, int], dtype: DTypeLike, rngs: nnx.Rngs, use_bias: bool = True
) -> nnx.Linear:
    """A linear layer whose parameters and output are of one dtype."""
    return nnx.Linear(
        *features, use_bias=use_bias, dtype=dtype, param_dtype=dtype, rngs=rngs
    )


def linear_classifier(config: Any, features: int, rngs: nnx.Rngs) -> nnx.Linear | None:
    """The classifier that a config asks for: None where it names no classes."""
    if config.num_classes is None:
        return None
    return linear((features, config.num_classes), config.dtype, rngs)


def in_turn(modules: Iterable[Callable[[jax.Array], jax.Array]], x: Array) -> jax.Array:
    """Applies modules one after another."""
    for module in modules:
        x = module(x)
    return x


def conv(
    features: tuple[int, int],
    size: int,
    dtype: DTypeLike,
    rngs: nnx.Rngs,
    *,
    use_bias: bool = True,
    groups: int = 1,
) -> nnx.Conv:
    """A convolution of an odd size and stride 1; it keeps the resolution."""
    pad = (size // 2, size // 2)
    return nnx.Conv(
        *features,
        kernel_size=(size, size),
        padding=(pad, pad),
        use_bias=use_bias,
        feature_group_count=groups,
        dtype=dtype,
        param_dtype=dtype,
        rngs=rngs,
    )


class LayerNorm(nnx.LayerNorm):
    """Layer normalization in float32 at least, its output in `dtype`."""

    def __init__(
        self, features: int, epsilon: float, dtype: DTypeLike, rngs: nnx.Rngs
    ) -> None:
        """Normalizes the last axis, of length `features`."""
        super().__init__(
            features,
            epsilon=epsilon,
            dtype=statistics_dtype(dtype),
            param_dtype=statistics_dtype(dtype),
            use_fast_variance=False,
            rngs=rngs,
        )
        self.output_dtype = jnp.dtype(dtype)

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Normalizes each vector of channels, then scales and shifts it."""
        return super().__call__(x).astype(self.output_dtype)


class PatchProjection(nnx.LinearGeneral):
    """A convolution as wide as its stride, computed as one matrix product.

    Rows and columns at the lower right that fill no patch are dropped, as in torch.
    """

    def __init__(
        self,
        features: tuple[int, int],
        patch_size: tuple[int, int],
        dtype: DTypeLike,
        rngs: nnx.Rngs,
        use_bias: bool = True,
    ) -> None:
        """Maps patches of `features[0]` channels to `features[1]` channels."""
        super().__init__(
            (*patch_size, features[0]),
            features[1],
            axis=(-3, -2, -1),
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=dtype,
            rngs=rngs,
        )
        self.patch_size = patch_size

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Cuts x into patches and projects each.

        Raises:
          ValueError: x is smaller than one patch.
        """
        (p, q), (n, height, width, channels) = self.patch_size, x.shape
        h, w = height // p, width // q
        if 0 in (h, w):
            raise ValueError(
                f"images must be at least {p} x {q}, one patch, got {height} x {width}"
            )
        x = x[:, : h * p, : w * q].reshape(n, h, p, w, q, channels)
        return super().__call__(x.transpose(0, 1, 3, 2, 4, 5))


@functools.partial(jax.named_call, name="attend")
def attend(
    query: Float[Array, "... S D"],
    key: Float[Array, "... T D"],
    value: Float[Array, "... T D"],
    bias: Float[Array, "... S T"] | None = None,
) -> Float[Array, "... S D"]:
    """Scaled dot-product attention (Vaswani et al. 2017), softmax in float32 at least.

    Heads are leading axes, so that both products are plain batched matrix products: on
    a CPU nearly three times as fast as `jax.nn.dot_product_attention`.
    """
    dtype = statistics_dtype(query.dtype)
    query = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    scores = jnp.matmul(query, jnp.swapaxes(key, -1, -2), preferred_element_type=dtype)
    if bias is not None:
        scores = scores + bias.astype(dtype)
    weights = jax.nn.softmax(scores, axis=-1)
    return jnp.matmul(weights.astype(value.dtype), value)


class Attention(nnx.Module):
    """Multi-head self-attention; one product gives queries, keys and values."""

    def __init__(
        self,
        features: int,
        heads: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
        qkv_bias: bool = True,
    ) -> None:
        """Builds `heads` heads of `features / heads` channels each."""
        self.heads = heads
        self.qkv = linear((features, 3 * features), dtype, rngs, qkv_bias)
        self.output = linear((features, features), dtype, rngs)

    def __call__(self, x: Float[Array, "N S C"]) -> Float[Array, "N S C"]:
        """Mixes the tokens of each sample."""
        n, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, -1)
        mixed = attend(*qkv.transpose(2, 0, 3, 1, 4))
        return self.output(mixed.swapaxes(1, 2).reshape(x.shape))


class MLP(nnx.Module):
    """Two linear layers with an activation between them."""

    def __init__(
        self,
        features: int,
        hidden: int,
        activation: Activation,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds layers from `features` to `hidden` channels and back."""
        self.fc1 = linear((features, hidden), dtype, rngs)
        self.fc2 = linear((hidden, features), dtype, rngs)
        self.activation = activation

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Maps each token independently."""
        return self.fc2(self.activation(self.fc1(x)))
