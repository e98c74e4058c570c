"""Sources of images: an array, or anything that is read batch by batch."""

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from semrsm_jax import _checks

Images = Float[Array, "N H W C"] | Float[np.ndarray, "N H W C"]


@runtime_checkable
class ImageSource(Protocol):
    """Images that are read batch by batch, as from an `ImageFolder`."""

    @property
    def ids(self) -> Sequence[str]:
        """A unique name for each image."""
        ...

    @property
    def digest(self) -> str:
        """A digest of all images; it changes if an image changes."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def read(self, start: int, stop: int) -> Float[np.ndarray, "b h w C"]:
        """The images start <= n < stop, as the network takes them."""
        ...


class ArrayImages:
    """The images of an array, named by their index."""

    def __init__(self, images: Images) -> None:
        """Takes a checked array."""
        self.images = images

    def __len__(self) -> int:
        """The number of images."""
        return self.images.shape[0]

    @property
    def ids(self) -> Sequence[str]:
        """The indices as text, from "0"."""
        return [str(place) for place in range(len(self))]

    @property
    def digest(self) -> str:
        """SHA-256 of shape, dtype and values."""
        values = np.ascontiguousarray(self.images)
        digest = hashlib.sha256(f"{values.shape} {values.dtype}".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> Any:
        """A part of the array."""
        return self.images[start:stop]


def as_source(images: Any) -> ImageSource:
    """Makes a source of an array or a torch tensor; a source is returned unchanged.

    Raises:
      TypeError: `images` is neither a floating array nor a source.
      ValueError: its shape is not (N, H, W, C), or (N, C, H, W) with three channels
        (of a tensor also one); or it is empty or not finite.
    """
    images = _channels_last(images)
    if not isinstance(images, jax.Array | np.ndarray):
        if not isinstance(images, ImageSource):
            raise TypeError(
                "images must be an ImageFolder, or a NumPy, JAX or torch array, got "
                f"{type(images).__name__}"
            )
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got none")
        return images
    check_array(images)
    # All images are checked before the first is computed.
    _checks.finite("images", images)
    return ArrayImages(images)


def _channels_last(images: Any) -> Any:
    """Images as (N, H, W, C): of arrays by default, of tensors where they are not.

    Three channels, of a tensor one too, at one place only, state the order.
    """
    is_tensor = any(
        f"{base.__module__}.{base.__qualname__}" == "torch.Tensor"
        for base in type(images).__mro__
    )
    if is_tensor:
        images = images.detach().cpu()
        # NumPy lacks bfloat16.
        images = (images.float() if images.dtype.itemsize == 2 else images).numpy()
    if not isinstance(images, jax.Array | np.ndarray) or images.ndim != 4:
        return images
    channels = (1, 3) if is_tensor else (3,)
    first, last = (images.shape[axis] in channels for axis in (1, 3))
    if first and not last and min(images.shape[2:]) > 3:
        return images.transpose(0, 2, 3, 1)
    if first and last or (is_tensor and not last):
        raise ValueError(
            f"images: shape {tuple(images.shape)} may be (N, C, H, W) or (N, H, W, C); "
            "give an array (N, H, W, C) with another number of rows than channels"
        )
    return images


def check_array(images: Any) -> None:
    """Raises an error for images that are not a floating array (N, H, W, C)."""
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images must be floating, got dtype {images.dtype}; scale them as the "
            "network was trained, for example images.astype('float32') / 255"
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images must have shape (N, H, W, C), none of them 0, got {images.shape}"
        )
