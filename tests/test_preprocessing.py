"""Preprocessing against Hugging Face's processors."""

import importlib

import numpy as np
import pytest
from odd_images import odd_images
from PIL import Image, ImageOps
from preprocessor_cases import CONFIGS, of

from semrsm_jax.features import (
    open_files,
    preprocessing_from_config,
    read_image,
)
from semrsm_jax.features.preprocessing import (
    Preprocessing,
)

LAST = "channels_last"

SHAPES = [(50, 71), (71, 50), (33, 33), (9, 100), (3, 2), (300, 200)]


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
        order = {} if isinstance(image, Image.Image) else {"input_data_format": LAST}
        batch = processor(image, **order)
        return np.moveaxis(np.asarray(batch["pixel_values"][0]), 0, -1)

    process.processor = processor
    return process


@pytest.mark.torch
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_hugging_face_processor(name):
    process, ours = reference(CONFIGS[name]), preprocessing_from_config(CONFIGS[name])
    for shape in SHAPES:
        image = photograph(*shape)
        expected, pixels = process(image), ours(image)
        assert pixels.dtype == np.float32
        assert pixels.shape == expected.shape, shape
        np.testing.assert_allclose(pixels, expected, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    folder, images = tmp_path_factory.mktemp("odd"), odd_images()
    assert len(images) == 41
    for name, (image, options) in images.items():
        image.save(folder / name, **options)
    return [folder / name for name in images]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*gray of 16 bits")
@pytest.mark.parametrize("name", CONFIGS)
def test_odd_images_are_those_of_the_hugging_face_processor(name, odd_files):
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
        assert pixels.shape == expected.shape, path
        np.testing.assert_allclose(pixels, expected, 1e-6, 1e-6, err_msg=path.name)


def test_gray_that_becomes_white_is_warned_of(tmp_path):
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(tmp_path / "deep.png")
    ours = Preprocessing(resize=None, crop=None)
    with pytest.warns(UserWarning, match="deep.png: gray of 16 bits.*become white"):
        assert ours.read(tmp_path / "deep.png").min() == 255
    assert read_image(tmp_path / "deep.png").max() == 1


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["ViT", "DeiT", "CLIP", "Bit", "ConvNext", "Sam"])
def test_silent_configs_take_the_processors_own_settings(kind):
    config, image = of(kind), photograph(40, 60)
    pixels, expected = (
        preprocessing_from_config(config)(image),
        reference(config)(image),
    )
    np.testing.assert_allclose(pixels, expected, rtol=1e-6, atol=1e-6)
