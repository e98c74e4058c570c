"""Images of one color and of noise, and the errors of loaders of data sets."""

import re

import numpy as np
import pytest
from PIL import Image

from semrsm_jax.features import Preprocessing

WNIDS = ("n02124075", "n01443537", "n04067472")
AS_IS = Preprocessing(resize=None, crop=None, scale=1.0, mean=None, std=None)


def write_image(path, value, side=8, mode="RGB"):
    """An image of one color, which identifies it after decoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), value if mode == "L" else (value,) * 3).save(path)


def write_noise(folder, names, height=20, width=30):
    """Images of noise, each of one row more than the one before."""
    rng = np.random.default_rng(0)
    for more, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (height + more, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


@pytest.fixture
def tiny(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    root.mkdir()
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    (root / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\n")
    lines = []
    for number, wnid in enumerate((*WNIDS, WNIDS[0])):
        name = f"val_{number}.JPEG"
        mode = "L" if number == 2 else "RGB"
        write_image(root / "val/images" / name, 50 * number, 64, mode)
        lines.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    (root / "val/val_annotations.txt").write_text("".join(lines))
    for wnid in WNIDS:
        write_image(root / "train" / wnid / "images" / f"{wnid}_0.JPEG", 1, 64)
    write_image(root / "test/images/test_0.JPEG", 7, 64)
    return root


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
