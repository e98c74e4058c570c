"""Preprocessing from files and rules of sizes, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessor_cases import CONFIGS, HALF, IMAGENET, MEAN, OLD, STD, of

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


def test_the_side_before_a_crop_by_a_share_is_truncated():
    config = CONFIGS["resnet"] | {"size": 230}  # 230 / 0.875 = 262.86
    ours = preprocessing_from_config(config)
    assert (ours.resize, ours.crop) == (ShortestEdge(262), (230, 230))


def test_the_default_is_torchvisions(rng):
    ours = Preprocessing()
    config = of("Bit", IMAGENET, resample=2, size=256)
    # As of torchvision's own transforms, transparency is dropped.
    config |= {"do_convert_rgb": False}
    assert ours == preprocessing_from_config(config)
    white = np.full((300, 400, 3), 255, np.uint8)
    expected = (1 - np.asarray(MEAN)) / STD
    np.testing.assert_allclose(ours(white)[100, 100], expected, rtol=1e-6)


@settings(max_examples=60)
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
        ("{", "is truncated or not JSON"),
        ("[]", "must hold a JSON object, got list"),
        ("{}", "image_processor_type must be one of ViTImageProcessor.*got None"),
        ('{"image_processor_type": "OwlViTProcessor"}', "got 'OwlViTProcessor'"),
    ],
)
def test_files_refused(tmp_path, text, message):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_preprocessing(path)
    path.unlink()
    with pytest.raises(ValueError, match="holds no preprocessor_config.json"):
        load_preprocessing(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        load_preprocessing(path)


def test_a_file_without_a_class_is_that_of_the_network_beside_it(tmp_path):
    # As google/vit-base-patch16-224 and -large-patch32-384 have it.
    old = OLD | {"size": 32} | HALF
    del old["resample"]
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
