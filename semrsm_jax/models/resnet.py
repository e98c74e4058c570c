"""Residual networks (He et al. 2016, arXiv 1512.03385) in flax.nnx, NHWC.

The bottleneck puts its stride on the 3x3 convolution, as torchvision and Hugging Face
do ("v1.5"), and every padding is torch's explicit one, so that weights trained there
give the same activations here. Layers: `stem`, `stages.0` to `stages.3`, `head`.
"""

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from semrsm_jax import _checks

# depth -> (blocks a stage, expansion); 4 is a bottleneck's. He et al. 2016, Table 1.
_LAYOUTS: dict[int, tuple[tuple[int, int, int, int], int]] = {
    18: ((2, 2, 2, 2), 1),
    34: ((3, 4, 6, 3), 1),
    50: ((3, 4, 6, 3), 4),
    101: ((3, 4, 23, 3), 4),
}


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """What a residual network is built from; compares by value.

    Attributes:
      depth: 18, 34, 50 or 101.
      stem: `"imagenet"`, a 7x7 convolution and a 3x3 max-pool, each with stride 2, or
        `"cifar"`, a 3x3 convolution with stride 1: a 64x64 image then gives
        S = 4096, 1024, 256 and 64 tokens at the four stages.
      num_classes: outputs of the head; None or 0 gives the pooled features instead.
      width: channels of the stem; stage k has `width * 2**k`, a bottleneck's 4 times.
      in_channels: channels of the images.
      dtype: of computation and features; normalisations use float32 at least.
      param_dtype: of the parameters; running statistics are float32.
      precision: precision of convolutions and of the head.

    Raises:
      TypeError: a count is no integer.
      ValueError: a field is out of its range.
    """

    depth: int = 18
    stem: Literal["imagenet", "cifar"] = "imagenet"
    num_classes: int | None = 1000
    width: int = 64
    in_channels: int = 3
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32
    precision: jax.lax.Precision | None = jax.lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the fields and brings equal settings to one form."""
        if self.depth not in _LAYOUTS:
            raise ValueError(f"depth must be in {list(_LAYOUTS)}, got {self.depth!r}")
        _checks.one_of("stem", self.stem, ("imagenet", "cifar"))
        _checks.at_least("width", self.width, 1)
        _checks.at_least("in_channels", self.in_channels, 1)
        classes = _checks.at_least("num_classes", self.num_classes or 0, 0)
        object.__setattr__(self, "num_classes", classes or None)
        for name in ("dtype", "param_dtype"):
            dtype = jnp.dtype(getattr(self, name))
            if not jnp.issubdtype(dtype, jnp.floating):
                raise ValueError(f"{name} must be a floating dtype, got {dtype}")
            object.__setattr__(self, name, dtype)  # "bfloat16" is jnp.bfloat16

    @property
    def expansion(self) -> int:
        """Output over inner channels of a block: 1 (basic) or 4 (bottleneck)."""
        return _LAYOUTS[self.depth][1]


class ConvNorm(nnx.Module):
    """Convolution without bias, padded like torch's, and batch normalisation."""

    def __init__(
        self,
        config: ResNetConfig,
        features: tuple[int, int],
        size: int,
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a `size` x `size` kernel from `features[0]` to `features[1]`."""
        # "SAME" would pad (0, 1) where torch pads (1, 1): same shape, other values.
        pad = (size // 2, size // 2)
        self.conv = nnx.Conv(
            *features,
            kernel_size=(size, size),
            strides=(stride, stride),
            padding=(pad, pad),
            use_bias=False,
            kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            precision=config.precision,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(
            features[1],
            momentum=0.9,  # torch writes it 0.1
            epsilon=1e-5,
            use_fast_variance=False,
            # bfloat16 would round the variances.
            dtype=jnp.float64 if config.dtype == jnp.float64 else jnp.float32,
            param_dtype=config.param_dtype,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Convolves and normalises x; no activation follows."""
        return self.norm(self.conv(x)).astype(self.conv.dtype)


class Stem(nnx.Module):
    """First convolution, with the max-pool of the ImageNet stem."""

    def __init__(self, config: ResNetConfig, rngs: nnx.Rngs) -> None:
        """Builds the stem that `config.stem` names."""
        self.pool = config.stem == "imagenet"
        kernel = (7, 2) if self.pool else (3, 1)
        self.layer = ConvNorm(config, (config.in_channels, config.width), *kernel, rngs)

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Maps images to the input of the first stage."""
        x = nnx.relu(self.layer(images))
        if self.pool:
            # After the rectifier a border of zeros never wins, like torch's -inf.
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = nnx.max_pool(x, (3, 3), strides=(2, 2))
        return x


class Block(nnx.Module):
    """Residual block: 3x3, 3x3 (basic) or 1x1, 3x3, 1x1 (bottleneck)."""

    def __init__(
        self,
        config: ResNetConfig,
        features: tuple[int, int],
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds a block from `features[0]` to `features[1]` channels."""
        c_in, c_out = features
        inner = c_out // config.expansion
        plan = [((c_in, c_out), 3, stride), ((c_out, c_out), 3, 1)]
        if config.expansion > 1:
            plan = [((c_in, inner), 1, 1), ((inner, inner), 3, stride)]
            plan += [((inner, c_out), 1, 1)]
        self.layers = nnx.List([ConvNorm(config, *step, rngs) for step in plan])
        # The skip connection is projected only where the shape changes.
        changes = stride != 1 or c_in != c_out
        self.shortcut = ConvNorm(config, features, 1, stride, rngs) if changes else None

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Adds the convolved x to x and rectifies."""
        skip = x if self.shortcut is None else self.shortcut(x)
        for index, layer in enumerate(self.layers):
            x = layer(x if index == 0 else nnx.relu(x))
        return nnx.relu(x + skip)


class Stage(nnx.Module):
    """Consecutive residual blocks at one resolution."""

    def __init__(self, config: ResNetConfig, index: int, rngs: nnx.Rngs) -> None:
        """Builds stage `index`, 0 to 3."""
        c_out = config.width * 2**index * config.expansion
        c_in = config.width if index == 0 else c_out // 2
        # Every stage but the first halves the resolution, in its first block.
        first = Block(config, (c_in, c_out), 1 if index == 0 else 2, rngs)
        count = _LAYOUTS[config.depth][0][index]
        rest = [Block(config, (c_out, c_out), 1, rngs) for _ in range(1, count)]
        self.blocks = nnx.List([first, *rest])

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N h w D"]:
        """Applies the blocks in turn."""
        for block in self.blocks:
            x = block(x)
        return x


class ResNet(nnx.Module):
    """Residual network: stem, four stages, global average pool, linear head."""

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs) -> None:
        """Builds the network with He (fan-out) initialisation, in training mode."""
        self.config = config
        self.stem = Stem(config, rngs)
        self.stages = nnx.List([Stage(config, k, rngs) for k in range(4)])
        if config.num_classes is None:
            self.head = None
            return
        self.head = nnx.Linear(
            config.width * 8 * config.expansion,
            config.num_classes,
            # torch's default for a linear layer: uniform within 1/sqrt(fan_in).
            kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            precision=config.precision,
            rngs=rngs,
        )

    def __call__(self, images: Float[Array, "N H W C"]) -> Float[Array, "N classes"]:
        """Computes the logits, or the pooled features where there is no head.

        Args:
          images: normalised images, (N, H, W, in_channels), floating.

        Returns:
          (N, num_classes), or the pooled (N, channels), in `config.dtype`.

        Raises:
          ValueError: `images` has another rank or number of channels.
        """
        channels = self.config.in_channels
        if images.ndim != 4 or images.shape[-1] != channels:
            expected = f"(N, H, W, {channels})"
            raise ValueError(f"images must have shape {expected}, got {images.shape}")
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        pooled = jnp.mean(x, axis=(1, 2))
        return pooled if self.head is None else self.head(pooled)


def _resnet(
    depth: int,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    num_classes: int | None = 1000,
    *,
    rngs: nnx.Rngs,
) -> ResNet:
    """Builds a ResNet of that depth with the default settings of `ResNetConfig`."""
    return ResNet(ResNetConfig(depth, stem, num_classes), rngs=rngs)


resnet18 = functools.partial(_resnet, 18)
resnet34 = functools.partial(_resnet, 34)
resnet50 = functools.partial(_resnet, 50)
resnet101 = functools.partial(_resnet, 101)
