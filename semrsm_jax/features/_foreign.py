"""Preprocessing that another library computes."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from semrsm_jax.features.image_file import read_image


@dataclasses.dataclass(frozen=True)
class ForeignPreprocessing:
    """A transform of timm, torchvision or transformers; equal where its text is.

    Attributes:
      transform: from a Pillow image to a tensor (3, h, w).
      text: what it is, recorded in the features.
      transparency: as of `Preprocessing`.
    """

    transform: Callable[[Image.Image], Any] = dataclasses.field(
        compare=False, repr=False
    )
    text: str
    transparency: str = "drop"

    def read(self, path: str | os.PathLike) -> UInt8[np.ndarray, "H W 3"]:
        """Reads an image file, as `Preprocessing.read` does."""
        return read_image(path, transparency=self.transparency, deep="clip")

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
        """Prepares one image, as `Preprocessing` does."""
        prepared = np.asarray(self.transform(Image.fromarray(image)), np.float32)
        if prepared.ndim != 3 or prepared.shape[0] != 3:
            raise ValueError(
                f"preprocessing must give (3, h, w), got shape {prepared.shape} from "
                f"{self.text}"
            )
        return np.ascontiguousarray(prepared.transpose(1, 2, 0))

    @classmethod
    def of_processor(cls, processor: Any) -> "ForeignPreprocessing":
        """The image processor of transformers."""

        def prepare(image: Image.Image) -> Any:
            values = processor(images=image, return_tensors="np")["pixel_values"]
            return np.asarray(values)[0]

        converts = getattr(processor, "do_convert_rgb", None)
        text = f"transformers {processor.to_json_string()}"
        return cls(prepare, text, "white" if converts else "drop")
