"""Images of one color, and the errors of loaders of data sets."""

import re

import pytest
from PIL import Image

from semrsm_jax.features import Preprocessing

AS_IS = Preprocessing(resize=None, crop=None, scale=1.0, mean=None, std=None)


def write_image(path, value, side=8, mode="RGB"):
    """An image of one color, which identifies it after decoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), value if mode == "L" else (value,) * 3).save(path)


def break_image(path):
    """The first half of it, as an interrupted download leaves it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def values(folder):
    return folder.read(0, len(folder)).mean((1, 2, 3)).round().astype(int).tolist()


def rejected(message, call, *arguments, **options):
    """The error must say what is wrong, where to get the data, and the layout."""
    with pytest.raises(ValueError) as error:
        call(*arguments, **options)
    text = str(error.value)
    assert re.search(message, text), text
    assert "Available at: http" in text and "must look like this:\n  " in text
    return text
