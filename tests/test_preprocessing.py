import dataclasses
import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_images import odd_images
from PIL import Image, ImageOps

from semrsm_jax.features import (
    load_preprocessing,
    open_files,
    preprocessing_from_config,
    preprocessor_config,
    read_image,
)
from semrsm_jax.features.preprocessing import (
    Exactly,
    LongestEdge,
    Preprocessing,
    ShortestEdge,
)
from semrsm_jax.models.checkpoint._loading import ARCHITECTURES

# The preprocessor_config.json of the paper's checkpoints: sizes made small, everything
# else as it is in them; some are in the older form.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


LAST = "channels_last"
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2}
IMAGENET = {"image_mean": MEAN, "image_std": STD, "resample": 3}
OLD = {"do_normalize": True, "do_resize": True}
NEW = OLD | {"do_rescale": True, "rescale_factor": 0.00392156862745098}
CROP = {"do_center_crop": True}


def of(kind: str, *parts: dict, old: bool = False, **settings: object) -> dict:
    """A config for a class, the parts joined; old ones name a feature extractor."""
    key, ending = "image_processor_type", "ImageProcessor"
    if old:
        key, ending = "feature_extractor_type", "FeatureExtractor"
    config = {key: f"{kind}{ending}"}
    for part in (*parts, settings):
        config |= part
    return config


CONFIGS = {
    "vit": of("ViT", NEW, HALF, size=square(32)),
    "clipseg": of("ViT", OLD, IMAGENET, old=True, resample=2, size=44),
    "dinov2": of(
        "Bit",
        NEW | CROP | IMAGENET,
        crop_size=square(28),
        do_convert_rgb=True,
        size={"shortest_edge": 32},
    ),
    "clip": of(
        "CLIP",
        OLD | CROP,
        old=True,
        crop_size=28,
        image_mean=CLIP_MEAN,
        image_std=CLIP_STD,
        resample=3,
        size=28,
    ),
    "resnet": of("ConvNext", OLD, IMAGENET, old=True, crop_pct=0.875, size=29),
    "convnextv2": of(
        "ConvNext", NEW, IMAGENET, crop_pct=0.875, size={"shortest_edge": 28}
    ),
    "convnextv2-384": of("ConvNext", resample=3, size={"shortest_edge": 384}),
    "bit": of("Bit", CROP, HALF, crop_size=square(40), size={"shortest_edge": 40}),
    "crop-larger-than-the-image": of(
        "CLIP",
        CROP,
        image_processor_type="CLIPImageProcessorFast",
        crop_size={"height": 47, "width": 50},
        size={"shortest_edge": 30},
    ),
    "deit": of("DeiT", CROP, crop_size=square(28), size=square(32)),
    "sam": of(
        "Sam",
        OLD | IMAGENET,
        do_rescale=True,
        do_convert_rgb=True,
        do_pad=True,
        pad_size=square(64),
        resample=2,
        size={"longest_edge": 64},
    ),
    "normalized-only": of("CLIP", do_center_crop=False, do_resize=False),
    "raw": of(
        "ViT", do_normalize=False, do_rescale=False, size={"height": 20, "width": 30}
    ),
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


CONFIGS |= {f"silent-{k}": of(k) for k in ("ViT", "DeiT", "CLIP", "Bit", "ConvNext")}
CONFIGS["clip-as-it-comes"] = CONFIGS["clip"] | {"do_convert_rgb": False}
CONFIGS["vit-converted"] = CONFIGS["vit"] | {"do_convert_rgb": True}


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
