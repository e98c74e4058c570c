import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from semrsm_jax.features import Preprocessing, image_folder, open_folder, read_image
from semrsm_jax.features.preprocessing import Exactly

SMALL = Preprocessing(resize=Exactly(8, 8), crop=None)


def picture(seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    """Smooth, so that lossy formats keep it within a few gray levels."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.sin(x[..., None] / [5, 8, 11] + y[..., None] / 6 + seed)
    return (127 + 100 * waves).astype(np.uint8)


def save(path, pixels=None, **options) -> None:
    Image.fromarray(picture() if pixels is None else pixels).save(path, **options)


@pytest.mark.parametrize("suffix", image_folder.SUFFIXES)
def test_every_format(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 16, 3)
    lossy = suffix in (".jpg", ".jpeg", ".webp", ".gif")
    assert np.abs(pixels.astype(int) - picture()).mean() <= (6 if lossy else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """Stored pixels are turned by their orientation tag, as the standard defines it."""
    upright = picture()
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photograph.png"
    save(path, np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(path), upright)


def test_gray_palettes_transparency_and_print_colors(tmp_path):
    def repeated(gray):
        return np.repeat(gray[..., None], 3, axis=-1)

    upright = picture()
    gray, alpha = upright[..., 0], np.full((12, 16), 7, np.uint8)
    deep = np.linspace(0, 65535, 192).reshape(12, 16).astype(np.uint16)
    palette = Image.fromarray(upright).quantize(16)
    images = {
        "gray.png": (gray, repeated(gray)),
        "bits.png": (gray > 127, repeated(255 * (gray > 127))),
        # Gray of 16 bits keeps its range.
        "deep.png": (deep, repeated(deep >> 8)),
        "deep.tif": (deep, repeated(deep >> 8)),
        "palette.png": (palette, np.asarray(palette.convert("RGB"))),
        # Transparency is dropped; the color below it shows.
        "alpha.png": (np.dstack([upright, alpha]), upright),
        "la.png": (np.dstack([gray, alpha]), repeated(gray)),
        "cmyk.tif": (Image.fromarray(upright).convert("CMYK"), upright),
    }
    for name, (image, expected) in images.items():
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(tmp_path / name)
        atol = 1 if name == "cmyk.tif" else 0
        np.testing.assert_allclose(
            read_image(tmp_path / name), expected, atol=atol, err_msg=name
        )
    assert Image.open(tmp_path / "bits.png").mode == "1"


def test_first_frame_of_several(tmp_path):
    frames = [Image.fromarray(picture(seed)) for seed in range(3)]
    for name in ("frames.tif", "frames.webp"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], lossless=True
        )
        np.testing.assert_array_equal(read_image(tmp_path / name), picture())


def bomb() -> bytes:
    """A few bytes that claim to be a PNG of 60000 x 60000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data


def write_broken(folder) -> dict[str, str]:
    """Files that are not images, and the error of each."""
    save(folder / "whole.jpg", picture(size=(64, 64)))
    save(folder / "whole.png", picture(size=(64, 64)))
    for name in ("cut.jpg", "cut.png"):
        whole = (folder / f"whole{name[3:]}").read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(bomb())
    frame = Image.fromarray(picture(size=(40, 50)))
    frame.save(folder / "whole.webp", save_all=True, append_images=[frame.rotate(9)])
    animation = bytearray((folder / "whole.webp").read_bytes())
    animation[26] ^= 1 << 5  # the canvas is 2 million pixels wide
    (folder / "wide.webp").write_bytes(animation)
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tif")
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return {
        "bomb.png": "pixels",
        "cut.jpg": "truncated",
        "cut.png": "truncated|broken",
        "empty.png": "not an image",
        "float.tif": "no known range",
        "gone.png": "No such file",
        "pipe.png": "not a regular file",
        "text.png": "not an image",
        "wide.webp": "damaged, or an animation of 2097",
    }


def test_broken_files_are_refused_or_left_out(tmp_path):
    reasons = write_broken(tmp_path)
    with pytest.raises(ValueError, match="9 of 12 files.*'skip' .* leaves") as refused:
        open_folder(tmp_path, SMALL)
    for part in ("bomb.png", "cut.jpg: image file is truncated", "and 4 more"):
        assert part in str(refused.value)
    done = []
    options = {"on_error": "skip", "progress": lambda *x: done.append(x)}
    folder = open_folder(tmp_path, SMALL, **options)
    assert done == [(k, 12) for k in range(1, 13)]
    assert folder.ids == ("whole.jpg", "whole.png", "whole.webp")
    assert [image.id for image in folder.skipped] == list(reasons)
    for image in folder.skipped:
        with pytest.raises(ValueError, match=f"{image.id}: .*({reasons[image.id]})"):
            read_image(tmp_path / image.id)
    assert folder.read(0, 2).shape == (2, 8, 8, 3)


def test_nothing_but_broken_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="1 of 1 files") as refused:
        open_folder(tmp_path, SMALL, on_error="skip")
    assert "leaves them out" not in str(refused.value)


def test_a_slightly_large_image_is_refused_too(tmp_path, monkeypatch):
    """Pillow itself warns only, up to twice its limit."""
    save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 16 - 1)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match="16 x 12 pixels, more than the 191"),
    ):
        read_image(tmp_path / "a.png")


def test_order_ids_and_contents(tmp_path):
    names = ["b/2.png", "b/10.PNG", "a b/ü.jpg", "Z.webp", "c.png"]
    for seed, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, picture(seed))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    save(tmp_path / ".cache" / "d.png")
    folder = open_folder(tmp_path, SMALL)
    assert folder.ids == ("Z.webp", "a b/ü.jpg", "b/10.PNG", "b/2.png", "c.png")
    assert len(folder) == 5
    batch = folder.read(1, 4)
    for row, name in enumerate(folder.ids[1:4]):
        np.testing.assert_array_equal(batch[row], SMALL(read_image(tmp_path / name)))
    again = open_folder(str(tmp_path), SMALL)
    assert again.ids == folder.ids
    assert again.digest == folder.digest
    assert open_folder(tmp_path, Preprocessing()).digest != folder.digest
    save(tmp_path / "c.png", picture(9))
    assert open_folder(tmp_path, SMALL).digest != folder.digest


def test_names_that_are_not_text(tmp_path):
    save(tmp_path / os.fsdecode(b"\xff.png"))
    folder = open_folder(tmp_path, SMALL)
    assert folder.ids == ("\\xff.png",)
    assert folder.read(0, 1).shape == (1, 8, 8, 3)


def test_a_file_that_was_changed_or_deleted_is_named(tmp_path):
    save(tmp_path / "a.png")
    folder = open_folder(tmp_path, SMALL)
    save(tmp_path / "a.png", picture(1))
    with pytest.raises(ValueError, match="a.png: changed since"):
        folder.read(0, 1)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="a.png: No such file"):
        folder.read(0, 1)


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "images" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    save(tmp_path / "images" / "deep" / "a.png")
    save(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "deep" / "up").symlink_to(tmp_path / "images")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "c.png").symlink_to(tmp_path / "images" / "c.png")
    folder = open_folder(tmp_path / "images", SMALL, on_error="skip")
    assert folder.ids == ("deep/a.png", "linked/b.png")
    assert [image.id for image in folder.skipped] == ["c.png"]


def test_images_of_several_sizes(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", picture(size=(20, 16)))
    folder = open_folder(tmp_path, Preprocessing(resize=None, crop=None))
    with pytest.raises(ValueError, match=r"\(12, 16\) for .*a.png and \(20, 16\) for"):
        folder.read(0, 2)
    padded = Preprocessing(resize=None, crop=None, pad=(16, 16))
    with pytest.raises(ValueError, match="b.png: pad must be at least"):
        open_folder(tmp_path, padded).read(0, 2)


def test_folders_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "a.png")
    for name, on_error, message in (
        ("empty", "raise", "no image below .*looked for .png, .jpg"),
        ("nowhere", "raise", "nowhere does not exist"),
        ("a.png", "raise", "is a file, expected a folder"),
        (".", "ignore", "on_error must be one of 'raise', 'skip'"),
    ):
        with pytest.raises(ValueError, match=message):
            open_folder(tmp_path / name, SMALL, on_error=on_error)
