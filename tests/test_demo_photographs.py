"""Photographs, crops and windows of the demo, and what its network names."""

import socket
import sys

import numpy as np
import pytest

from semrsm_jax.demo import DEMO_NETWORK, windows
from semrsm_jax.demo import photographs as photographs_module
from semrsm_jax.demo.networks import normalize, random_network, trained_network
from semrsm_jax.demo.photographs import PHOTOGRAPHS, SCENES, draw_crops, load_photograph


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(3)
    return draw_crops(6, 10, 84, rng, lambda crop: crop.std() > 0.01)


# --- photographs ---------------------------------------------------------------------


def test_every_photograph_is_in_the_wheel_and_reads_as_color(monkeypatch):
    """Nothing is fetched from a network."""

    def reject(*args, **kwargs):
        raise AssertionError("a photograph asked for the network")

    monkeypatch.setattr(socket, "socket", reject)
    monkeypatch.setattr(socket, "create_connection", reject)
    for photograph in PHOTOGRAPHS:
        image = load_photograph(photograph)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        assert min(image.shape[:2]) >= 2 * 84, photograph.file
        assert image.std() > 5, photograph.file
    assert len(PHOTOGRAPHS) == 19 and len(SCENES) == 18


def test_a_file_missing_from_the_wheel_is_named():
    absent = PHOTOGRAPHS[0]._replace(file="eagle_owl.png")
    with pytest.raises(FileNotFoundError, match=r"eagle_owl.png.*scikit-image 0.24"):
        load_photograph(absent)


def test_missing_scikit_image_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.io", None)
    with pytest.raises(ImportError, match=r"pip install 'semrsm_jax\[demo\]'"):
        load_photograph(PHOTOGRAPHS[0])


def test_crops_are_float_images_at_many_scales(crops):
    assert crops.images.shape == (60, 84, 84, 3)
    assert crops.images.dtype == np.float32
    assert crops.images.min() >= 0 and crops.images.max() <= 1
    sides = crops.regions[:, 2]
    assert sides.min() >= 84 and sides.max() > 3 * sides.min()
    assert len(set(sides.tolist())) > 30


def test_crops_stay_inside_their_photograph(crops):
    shapes = {p.file: load_photograph(p).shape for p in PHOTOGRAPHS}
    for file, (top, left, side) in zip(crops.files, crops.regions, strict=True):
        height, width, _ = shapes[file]
        assert top >= 0 and left >= 0
        assert top + side <= height and left + side <= width


@pytest.mark.slow
def test_a_crop_at_full_scale_is_the_photograph_itself():
    rng = np.random.default_rng(0)
    crops = draw_crops(12, 18, 170, rng, lambda crop: True)
    # text.png is 172 pixels high: its crops are hardly scaled, some not at all.
    index = [k for k, r in enumerate(crops.regions) if r[2] == 170]
    assert index
    for k in index:
        top, left, side = crops.regions[k]
        photograph = next(p for p in PHOTOGRAPHS if p.file == crops.files[k])
        region = load_photograph(photograph)[top : top + side, left : left + side]
        np.testing.assert_allclose(crops.images[k], region / 255, atol=1e-6)


def test_the_scenes_of_a_batch_all_differ(crops):
    for start in range(0, 60, 10):
        assert len(set(crops.scenes[start : start + 10])) == 10


@pytest.mark.slow
def test_both_views_of_the_stereo_pair_are_one_scene():
    motorcycles = [p for p in PHOTOGRAPHS if p.file.startswith("motorcycle")]
    assert len(motorcycles) == 2 and len({p.scene for p in motorcycles}) == 1
    rng = np.random.default_rng(0)
    crops = draw_crops(8, 18, 84, rng, lambda crop: True)
    assert {p.file for p in motorcycles} <= set(crops.files)


def test_a_refused_crop_is_drawn_again_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(photographs_module, "_MOST_TRIES", 20)
    rng = np.random.default_rng(0)
    asked = []

    def every_third(crop):
        asked.append(crop)
        return len(asked) % 3 == 0

    crops = draw_crops(2, 3, 84, rng, every_third)
    assert len(asked) == 18
    np.testing.assert_array_equal(crops.images, asked[2::3])
    with pytest.raises(ValueError, match="accept refused 20 crops of"):
        draw_crops(1, 2, 84, rng, lambda crop: False)


@pytest.mark.parametrize(
    ("per_batch", "size", "message"),
    [(19, 84, "per_batch must be at most 18.*got 19"), (18, 180, "size.*got 180")],
)
def test_crops_that_cannot_be_drawn(per_batch, size, message):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=message):
        draw_crops(3, per_batch, size, rng, lambda crop: True)


# --- windows -------------------------------------------------------------------------


def test_overlapping_windows_share_44_by_64_pixels(crops):
    both = windows(crops.images[:10], 64)
    assert both.shape == (20, 64, 64, 3)
    upper, lower = both[:10], both[10:]
    np.testing.assert_array_equal(upper[:, 20:], lower[:, :44])
    assert upper[:, 20:].shape[1:3] == (44, 64)
    np.testing.assert_array_equal(upper, crops.images[:10, :64, :64])
    np.testing.assert_array_equal(lower, crops.images[:10, 20:, :64])


@pytest.mark.slow
def test_the_trained_network_names_what_it_has_seen(crops):
    images = normalize(crops.images[:20, 10:74, 10:74])
    said = trained_network()(images).argmax(1)
    truth = [SCENES.index(scene) for scene in crops.scenes[:20]]
    assert np.mean(np.asarray(said) == truth) >= 0.5
    random = random_network(DEMO_NETWORK, 0, images)(images).argmax(1)
    assert np.mean(np.asarray(random) == truth) < 0.5
