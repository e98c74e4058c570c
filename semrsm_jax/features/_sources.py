"""Where images come from: an array, or anything that is read a batch at a time."""

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
    """Images that are read a batch at a time, as from an `ImageFolder`."""

    @property
    def ids(self) -> Sequence[str]:
        """A name for each image, no two the same."""
        ...

    @property
    def digest(self) -> str:
        """Changes where an image does."""
        ...

    def __len__(self) -> int:
        """The number of images."""
        ...

    def read(self, start: int, stop: int) -> Float[np.ndarray, "b h w C"]:
        """The images `start` to `stop`, without the last, as the network takes them."""
        ...


class ArrayImages:
    """The images of an array, which are named by their place in it."""

    def __init__(self, images: Images) -> None:
        """Takes an array that was checked."""
        self.images = images

    def __len__(self) -> int:
        """The number of images."""
        return self.images.shape[0]

    @property
    def ids(self) -> Sequence[str]:
        """From "0" on."""
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
    """Makes a source of an array; what is one already stays.

    Raises:
      TypeError: `images` is no floating array, and no source.
      ValueError: it has another shape than (N, H, W, C), is empty, or not finite.
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
    # All are checked before the first is computed.
    _checks.finite("images", images)
    return ArrayImages(images)


def check_array(images: Any) -> None:
    """Refuses images that are not a floating array (N, H, W, C).

    Raises:
      TypeError: the dtype is another.
      ValueError: the shape is another, or an axis empty.
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
