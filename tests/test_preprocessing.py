"""Preprocessing against Hugging Face's processors."""

import importlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from preprocessor_cases import CONFIGS, of

from semrsm_jax.features import open_files, preprocessing_from_config, read_image
from semrsm_jax.features.preprocessing import Preprocessing


def photograph(height: int, width: int) -> np.ndarray:
    """Smooth and rough parts, pure black and white among them."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[:height, :width]
    waves = 127 + 127 * np.sin(x[..., None] / [3, 7, 19] + y[..., None] / 5)
    noise = rng.integers(0, 256, (height, width, 3))
    return np.where(x[..., None] < width // 2, waves, noise).astype(np.uint8)


def reference(config: dict):
    """The Hugging Face processor of a config, the one that computes with Pillow."""
    pytest.importorskip("transformers")
    name = config.get("image_processor_type") or config["feature_extractor_type"]
    stem = name.removesuffix("Fast").removesuffix("ImageProcessor")
    stem = stem.removesuffix("FeatureExtractor")
    module = f"transformers.models.{stem.lower()}.image_processing"
    try:
        pil = importlib.import_module(f"{module}_pil_{stem.lower()}")
        processor = getattr(pil, f"{stem}ImageProcessorPil")(**config)
    except ImportError:  # releases in which these are the plain ones
        plain = importlib.import_module(f"{module}_{stem.lower()}")
        processor = getattr(plain, f"{stem}ImageProcessor")(**config)

    def process(image: np.ndarray | Image.Image) -> np.ndarray:
        is_array = isinstance(image, np.ndarray)
        order = {"input_data_format": "channels_last"} if is_array else {}
        batch = processor(image, **order)
        return np.moveaxis(np.asarray(batch["pixel_values"][0]), 0, -1)

    process.processor = processor
    return process


ODD_SHAPES = [(1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (3, 2), (9, 100), (100, 9)]
ODD_SHAPES += [(33, 33), (31, 64), (50, 71), (71, 50), (200, 120)]


def odd_images():
    """Images of every kind that image processors treat in a way of their own.

    Returns:
      name of each file -> the image, and how it is saved beyond its suffix.
    """
    rng = np.random.default_rng(7)

    def noise(*shape, most=256, dtype=np.uint8):
        return rng.integers(0, most, shape).astype(dtype)

    def picture(mode, height, width):
        channels = noise(height, width, len(mode))
        return Image.merge(
            mode, [Image.fromarray(c) for c in np.moveaxis(channels, -1, 0)]
        )

    images = {f"rgb-{h}x{w}.png": (picture("RGB", h, w), {}) for h, w in ODD_SHAPES}
    for k, (height, width) in enumerate(((50, 71), (1, 1), (64, 20))):
        images[f"rgba-{k}.png"] = (picture("RGBA", height, width), {})
        images[f"la-{k}.png"] = (picture("LA", height, width), {})
        gray = Image.fromarray(noise(height, width))
        images[f"gray-{k}.png"] = (gray, {})
        deep = noise(height, width, most=2**16, dtype=np.uint16)
        images[f"gray-16-bit-{k}.png"] = (Image.fromarray(deep), {})
    plain = picture("RGB", 40, 60)
    clear, solid = (
        Image.fromarray(np.dstack([np.asarray(plain), np.full((40, 60), a, np.uint8)]))
        for a in (0, 255)
    )
    few = plain.quantize(16)
    dark = noise(40, 60, most=256, dtype=np.uint16)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    images |= {
        "clear.png": (clear, {}),
        "solid.png": (solid, {}),
        "rgba.webp": (picture("RGBA", 30, 41), {"lossless": True}),
        "rgba.tif": (picture("RGBA", 30, 41), {}),
        "palette.png": (few, {}),
        "palette-one-color-clear.png": (few, {"transparency": 3}),
        "palette-alpha.png": (few, {"transparency": bytes(range(0, 256, 16))}),
        "palette-clear.gif": (few, {"transparency": 5}),
        "gray-one-value-clear.png": (images["gray-0.png"][0], {"transparency": 128}),
        "rgb-one-color-clear.png": (plain, {"transparency": plain.getpixel((3, 4))}),
        "bits.png": (Image.fromarray(noise(40, 60, most=2) > 0), {}),
        "gray-16-bit-dark.png": (Image.fromarray(dark), {}),
        "gray-16-bit.tif": (Image.fromarray(257 * dark), {}),
        "cmyk.tif": (picture("CMYK", 40, 60), {}),
        "turned.jpg": (plain, {"exif": rotated}),
        "photograph.jpg": (plain, {"quality": 80}),
        "photograph.png": (Image.fromarray(photograph(300, 200)), {}),
    }
    return images


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    folder, images = tmp_path_factory.mktemp("odd"), odd_images()
    assert len(images) == 42
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return [folder / name for name in images]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*gray of 16 bits")
@pytest.mark.parametrize("name", CONFIGS)
def test_images_are_those_of_the_hugging_face_processor(name, odd_files):
    config = CONFIGS[name]
    process, ours = reference(config), preprocessing_from_config(config)
    converts = ours.transparency == "white"
    assert converts == bool(process.processor.do_convert_rgb)
    for path in odd_files:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
        # A processor that converts nothing takes RGB alone, as `load_image` gives it.
        expected = process(image if converts else image.convert("RGB"))
        pixels = open_files(path.parent, [path], ours).read(0, 1)[0]
        assert pixels.dtype == np.float32
        assert pixels.shape == expected.shape, path
        np.testing.assert_allclose(pixels, expected, 1e-6, 1e-6, err_msg=path.name)


def test_gray_that_becomes_white_is_warned_of(tmp_path):
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "deep.png")
    ours = Preprocessing(resize=None, crop=None)
    with pytest.warns(UserWarning, match="deep.png: gray of 16 bits.*become white"):
        assert ours.read(tmp_path / "deep.png").min() == 255
    assert read_image(tmp_path / "deep.png").max() == 1


@pytest.mark.torch
def test_a_silent_config_of_sam_takes_its_processors_own_settings():
    config, image = of("Sam"), photograph(40, 60)
    pixels = preprocessing_from_config(config)(image)
    np.testing.assert_allclose(pixels, reference(config)(image), 1e-6, 1e-6)
