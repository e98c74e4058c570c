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
    """Makes a source of an array; a source is returned unchanged.

    Raises:
      TypeError: `images` is neither a floating array nor a source.
      ValueError: its shape is not (N, H, W, C), or it is empty or not finite.
    """
    if not isinstance(images, jax.Array | np.ndarray):
        if not isinstance(images, ImageSource):
            raise TypeError(
                "images must be an ImageFolder, or a NumPy or JAX array, got "
                f"{type(images).__name__}"
            )
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got none")
        return images
    check_array(images)
    # All images are checked before the first is computed.
    _checks.finite("images", images)
    return ArrayImages(images)


def check_array(images: Any) -> None:
    """Raises an error for images that are not a floating array (N, H, W, C).

    Raises:
      TypeError: the dtype is not floating.
      ValueError: the shape is not (N, H, W, C), or an axis is empty.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"images must be floating, got dtype {images.dtype}; scale them as the "
            "network was trained, for example images.astype('float32') / 255"
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images must have shape (N, H, W, C), none of them 0, got {images.shape}"
        )
