import dataclasses
import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semrsm_jax.features import (
    load_preprocessing,
    preprocessing_from_config,
    preprocessor_config,
)
from semrsm_jax.features.preprocessing import (
    Exactly,
    LongestEdge,
    Preprocessing,
    ShortestEdge,
)
from semrsm_jax.models.checkpoint._loading import ARCHITECTURES

# What stands in the preprocessor_config.json of the paper's checkpoints: sizes made
# small, everything else as it is there; some are in the older form.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CONFIGS = {
    "vit": {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 32, "width": 32},
    },
    "clipseg": {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 2,
        "size": 44,
    },
    "dinov2": {
        "crop_size": {"height": 28, "width": 28},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": MEAN,
        "image_processor_type": "BitImageProcessor",
        "image_std": STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 32},
    },
    "clip": {
        "crop_size": 28,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 28,
    },
    "resnet": {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 3,
        "size": 29,
    },
    "convnextv2": {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": MEAN,
        "image_processor_type": "ConvNextImageProcessor",
        "image_std": STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 28},
    },
    "convnextv2-384": {
        "image_processor_type": "ConvNextImageProcessor",
        "resample": 3,
        "size": {"shortest_edge": 384},
    },
    "bit": {
        "crop_size": {"height": 40, "width": 40},
        "do_center_crop": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": {"shortest_edge": 40},
    },
    "crop-larger-than-the-image": {
        "crop_size": {"height": 47, "width": 50},
        "do_center_crop": True,
        "image_processor_type": "CLIPImageProcessorFast",
        "size": {"shortest_edge": 30},
    },
    "deit": {
        "crop_size": {"height": 28, "width": 28},
        "do_center_crop": True,
        "image_processor_type": "DeiTImageProcessor",
        "size": {"height": 32, "width": 32},
    },
    "sam": {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": MEAN,
        "image_processor_type": "SamImageProcessor",
        "image_std": STD,
        "pad_size": {"height": 64, "width": 64},
        "resample": 2,
        "size": {"longest_edge": 64},
    },
    "nothing-but-normalised": {
        "do_center_crop": False,
        "do_resize": False,
        "image_processor_type": "CLIPImageProcessor",
    },
    "raw": {
        "do_normalize": False,
        "do_rescale": False,
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 20, "width": 30},
    },
}
for _resample in range(6):
    CONFIGS[f"filter-{_resample}"] = CONFIGS["vit"] | {"resample": _resample}

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
        return getattr(pil, f"{stem}ImageProcessorPil")(**config)
    except ImportError:  # releases in which these are the plain ones
        plain = importlib.import_module(f"{module}_{stem.lower()}")
        return getattr(plain, f"{stem}ImageProcessor")(**config)


@pytest.mark.torch
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_hugging_face_processor(name):
    config = CONFIGS[name]
    processor, ours = reference(config), preprocessing_from_config(config)
    for shape in SHAPES:
        image = photograph(*shape)
        found = processor(image, input_data_format="channels_last")["pixel_values"][0]
        expected = np.moveaxis(np.asarray(found), 0, -1)
        pixels = ours(image)
        assert pixels.dtype == np.float32
        assert pixels.shape == expected.shape, shape
        np.testing.assert_allclose(pixels, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["ViT", "DeiT", "CLIP", "Bit", "ConvNext", "Sam"])
def test_silent_configs_take_the_processors_own_settings(kind):
    config = {"image_processor_type": f"{kind}ImageProcessor"}
    processor, image = reference(config), photograph(40, 60)
    found = processor(image, input_data_format="channels_last")["pixel_values"][0]
    pixels = preprocessing_from_config(config)(image)
    np.testing.assert_allclose(
        pixels, np.moveaxis(np.asarray(found), 0, -1), rtol=1e-6, atol=1e-6
    )


def test_the_default_is_torchvisions(rng):
    ours = Preprocessing()
    assert ours == preprocessing_from_config(
        {
            "image_processor_type": "BitImageProcessor",
            "image_mean": MEAN,
            "image_std": STD,
            "resample": 2,
            "size": 256,
        }
    )
    grey = np.full((300, 400, 3), 255, np.uint8)
    expected = (1 - np.asarray(MEAN)) / STD
    np.testing.assert_allclose(ours(grey)[100, 100], expected, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 50))
def test_resize_rules_keep_the_shape(height, width, pixels):
    short, long = sorted(ShortestEdge(pixels)(height, width))
    assert short == pixels
    assert long == int(pixels * max(height, width) / min(height, width))
    short, long = sorted(LongestEdge(pixels)(height, width))
    assert long == pixels
    assert abs(short - pixels * min(height, width) / max(height, width)) <= 1
    assert Exactly(3, pixels)(height, width) == (3, pixels)


def test_a_strip_does_not_become_huge():
    with pytest.raises(ValueError, match="resized to 256 x 5120000 pixels"):
        Preprocessing()(np.zeros((1, 20000, 3), np.uint8))


def test_read_from_a_folder_or_a_file(tmp_path):
    expected = preprocessing_from_config(CONFIGS["dinov2"])
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(CONFIGS["dinov2"]))
    assert load_preprocessing(tmp_path) == load_preprocessing(path) == expected
    assert hash(expected) == hash(load_preprocessing(path))
    path.rename(tmp_path / "processor_config.json")
    nested = json.dumps({"image_processor": CONFIGS["dinov2"]})
    (tmp_path / "processor_config.json").write_text(nested)
    assert load_preprocessing(tmp_path) == expected
    assert dataclasses.replace(expected, crop=None) != expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "image_processor_type must be one of ViTImageProcessor.*got None"),
        ('{"image_processor_type": "OwlViTProcessor"}', "got 'OwlViTProcessor'"),
    ],
)
def test_files_refused(tmp_path, text, message):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_preprocessing(path)


def test_a_file_without_a_class_is_that_of_the_network_beside_it(tmp_path):
    # As google/vit-base-patch16-224 and -large-patch32-384 have it.
    old = {"do_normalize": True, "do_resize": True, "size": 32}
    old |= {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    for kind, name in {"vit": "ViT", "dinov2": "Bit", "resnet": "ConvNext"}.items():
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        named = old | {"image_processor_type": f"{name}ImageProcessor"}
        assert load_preprocessing(tmp_path) == preprocessing_from_config(named)
    for content in ({"model_type": "whisper"}, {}):
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match="image_processor_type must be one of"):
            load_preprocessing(tmp_path)


def test_every_network_that_loads_has_a_processor():
    assert set(preprocessor_config._OF_MODEL) == set(ARCHITECTURES)
    assert set(preprocessor_config._OF_MODEL.values()) <= set(
        preprocessor_config._PROCESSORS
    )


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="holds no preprocessor_config.json"):
        load_preprocessing(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        load_preprocessing(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": {"shortest_edge": 4, "longest_edge": 9}}, "size must hold"),
        ({"size": {"height": 0, "width": 3}}, "size.height must be at least 1"),
        ({"size": "large"}, "size must be a number or an object"),
        ({"resample": 6}, "resample must be one of Pillow's 0 to 5, got 6"),
        ({"resample": "bicubic"}, "resample must be an integer"),
        ({"image_std": [1, 0, 1]}, "image_std must not hold 0"),
        ({"image_mean": [1, 2]}, "image_mean must hold three numbers"),
        ({"do_center_crop": True, "crop_size": {"height": 3}}, "crop_size must hold"),
        ({"do_center_crop": True, "crop_size": 0}, "crop_size must be at least 1"),
        ({"do_center_crop": True}, "crop_size must be a number or an object, got None"),
    ],
)
def test_settings_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        preprocessing_from_config(CONFIGS["vit"] | change)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), TypeError, "must be uint8"),
        (np.zeros((4, 4), np.uint8), ValueError, r"shape \(H, W, 3\), got \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got \(0, 4, 3\)"),
        (np.zeros((400, 400, 3), np.uint8), ValueError, "pad must be at least"),
    ],
)
def test_images_refused(image, error, message):
    with pytest.raises(error, match=message):
        Preprocessing(resize=None, crop=None, pad=(10, 10))(image)
