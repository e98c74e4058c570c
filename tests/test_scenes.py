"""Scenes: what is in them is what is said, and both splits are kept apart."""

import dataclasses

import numpy as np
import pytest

from experiments.scenes.compose import BACKGROUNDS, CLASSES, SceneConfig, compose
from experiments.scenes.parts import (
    OBJECTS,
    _digits,
    crop,
    draw_sprite,
    photograph,
    regions,
)
from semrsm_jax.demo.photographs import SCENES

STILL = SceneConfig(shift=0.0, zoom=0.0, lighting=0.0)


@pytest.fixture(scope="module")
def scenes():
    return compose(SceneConfig(), 12, 3, seed=5)


def test_shapes_and_ranges(scenes):
    assert scenes.images.shape == (36, 64, 64, 3)
    assert scenes.images.dtype == np.float32
    assert 0 <= scenes.images.min() and scenes.images.max() <= 1
    assert scenes.labels.shape == (36, 64, 64)
    assert scenes.counts.shape == (36, len(CLASSES)) and len(CLASSES) == 16
    np.testing.assert_array_equal(scenes.scene, np.repeat(np.arange(12), 3))
    assert set(BACKGROUNDS) | set(OBJECTS) == set(SCENES)
    assert not set(BACKGROUNDS) & set(OBJECTS)
    assert (scenes.cell == -1).all()


def test_what_counts_is_visible_and_what_is_visible_is_labeled(scenes):
    for counts, labels in zip(scenes.counts, scenes.labels, strict=True):
        seen = set(np.unique(labels)) - {0}
        assert {label + 1 for label in np.flatnonzero(counts)} <= seen
    assert 2 <= scenes.counts.sum(1).mean() <= 5


def test_views_show_one_scene_from_elsewhere_in_another_light(scenes):
    for number in range(12):
        views = np.flatnonzero(scenes.scene == number)
        assert len(set(scenes.background[views])) == 1
        first, second = scenes.images[views[:2]]
        assert np.abs(first - second).mean() > 0.01
        # Most of what one view shows the other one shows too.
        both = np.minimum(*scenes.counts[views[:2]]).sum()
        assert both >= scenes.counts[views[:2]].sum(1).min() - 2


def test_without_camera_and_light_all_views_are_the_same():
    views = compose(STILL, 2, 2, seed=1)
    np.testing.assert_array_equal(views.images[0], views.images[1])
    np.testing.assert_array_equal(views.labels[2], views.labels[3])


def test_a_shift_moves_labels_and_pixels_together():
    config = dataclasses.replace(STILL, shift=0.2, objects=(1, 1))
    views = compose(config, 4, 2, seed=3)
    for a in range(0, 8, 2):
        places = [np.argwhere(views.labels[k] > 0) for k in (a, a + 1)]
        corner = [place.min(0) for place in places]
        # The background differs from the object: where it stands, pixels agree.
        rows, columns = 8, 8
        parts = [
            views.images[k][r : r + rows, c : c + columns]
            for k, (r, c) in zip((a, a + 1), corner, strict=True)
        ]
        if parts[0].shape == parts[1].shape == (rows, columns, 3):
            assert np.abs(parts[0] - parts[1]).mean() < 0.15


def test_the_first_scenes_do_not_depend_on_how_many_follow():
    few, more = compose(STILL, 2, 1, seed=9), compose(STILL, 4, 1, seed=9)
    np.testing.assert_array_equal(few.images, more.images[:2])
    other = compose(STILL, 2, 1, seed=10)
    assert not np.array_equal(other.images, few.images)


def test_objects_have_the_scale_asked_for():
    areas = []
    for scale in (0.2, 0.4):
        config = dataclasses.replace(
            STILL, objects=(1, 1), scale=(scale, scale), classes=("gravel",)
        )
        result = compose(config, 10, 1, seed=2)
        assert (result.counts.sum(1) == 1).all()
        areas.append((result.labels > 0).sum((1, 2)))
    # The same scenes, four times the area.
    np.testing.assert_allclose(areas[1] / areas[0], 4, rtol=0.3)


@pytest.mark.parametrize("objects", [1, 4])
def test_there_are_as_many_objects_as_asked_for(objects):
    config = dataclasses.replace(STILL, objects=(objects,) * 2, scale=(0.2, 0.25))
    assert (compose(config, 12, 1, seed=2).counts.sum(1) == objects).all()


def test_objects_apart_from_clutter_are_of_the_classes_asked_for():
    config = SceneConfig(classes=("digit 3", "retina"), clutter=3)
    result = compose(config, 10, 1, seed=2)
    others = [k for k, name in enumerate(CLASSES) if name not in config.classes]
    assert result.counts.sum() > 10 and result.counts[:, others].sum() == 0
    bare = compose(dataclasses.replace(config, clutter=0), 10, 1, seed=2)
    assert np.abs(result.images - bare.images).mean() > 0.01


@pytest.mark.parametrize("side", [32, 96])
def test_resolution_changes_nothing_else(side):
    small, large = (
        compose(dataclasses.replace(STILL, side=s), 3, 1, seed=4) for s in (side, 64)
    )
    assert small.images.shape == (3, side, side, 3)
    np.testing.assert_array_equal(small.background, large.background)
    np.testing.assert_array_equal(small.counts, large.counts)
    np.testing.assert_allclose(
        small.images.mean((1, 2)), large.images.mean((1, 2)), atol=0.02
    )


def _center(labels):
    return np.argwhere(labels > 0).mean(0) / len(labels)


def test_location_as_the_label():
    config = dataclasses.replace(
        STILL, placement="cell", grid=2, objects=(1, 1), scale=(0.3, 0.3)
    )
    result = compose(config, 24, 1, seed=6)
    assert set(result.cell) == {0, 1, 2, 3}
    for labels, cell in zip(result.labels, result.cell, strict=True):
        row, column = _center(labels)
        assert 2 * int(row > 0.5) + int(column > 0.5) == cell
    # What stands there does not tell where.
    classes = result.counts.argmax(1)
    assert all(len(set(classes[result.cell == cell])) > 1 for cell in range(4))


def test_location_as_the_class():
    config = dataclasses.replace(
        STILL, placement="class", objects=(1, 1), scale=(0.2, 0.2)
    )
    result = compose(config, 24, 1, seed=6)
    for labels, counts in zip(result.labels, result.counts, strict=True):
        row, column = (4 * _center(labels)).astype(int)
        assert 4 * row + column == counts.argmax()


@pytest.mark.parametrize("scene", SCENES)
def test_splits_share_no_pixel_of_a_photograph(scene):
    width, height = photograph(scene).size
    used = {}
    for split in ("train", "test"):
        used[split] = np.zeros((height, width), int)
        for left, top, right, bottom in regions(scene, split):
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            used[split][top:bottom, left:right] += 1
        assert used[split].max() == 1
        rng = np.random.default_rng(0)
        for _ in range(20):
            left, top, right, bottom = crop(scene, split, rng.uniform(0.3, 1), rng)
            assert right > left and used[split][top:bottom, left:right].all()
    assert not (used["train"] & used["test"]).any()
    assert used["train"].sum() > 1.2 * used["test"].sum()


@pytest.mark.slow
def test_splits_share_no_digit():
    total = 0
    for label in range(10):
        train, test = (
            {core.tobytes() for core in _digits(split)[label][0]}
            for split in ("train", "test")
        )
        assert train and test and not train & test
        total += len(train) + len(test)
    # A few digits of the data set are twice there to the last gray level.
    assert 1780 <= total <= 1797


@pytest.mark.slow
def test_sprites_are_mostly_opaque_and_of_many_looks(rng):
    for label, name in enumerate(CLASSES):
        sprites = [draw_sprite(label, "train", rng) for _ in range(8)]
        shares = [(np.asarray(s.mask) > 127).mean() for s in sprites]
        assert 0.1 < min(shares) and max(shares) < 0.9, name
        assert len({sprite.picture.tobytes() for sprite in sprites}) > 4, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 4}, "side must be at least 8, got 4"),
        ({"objects": (3, 2)}, "objects must be two counts.*3, 2"),
        ({"objects": (0, 2)}, "objects must be two counts.*0, 2"),
        ({"scale": (0.5, 1.2)}, "scale must be two shares.*1.2"),
        ({"shift": -0.1}, "shift must be between 0 and 2, got -0.1"),
        ({"zoom": 3.0}, "zoom must be between 0 and 2, got 3.0"),
        ({"repeat": 1.5}, "repeat must be between 0 and 1, got 1.5"),
        ({"classes": ()}, "classes must be some of"),
        ({"classes": ("dog",)}, "classes must be some of.*dog"),
        ({"placement": "left"}, "placement must be"),
        ({"placement": "class", "grid": 3}, "grid must have a cell for each of 16"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SceneConfig(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": 0}, "scenes must be at least 1, got 0"),
        ({"views": 0}, "views must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"split": "validation"}, "split must be"),
    ],
)
def test_what_cannot_be_composed_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        compose(**({"config": STILL, "scenes": 1, "views": 1, "seed": 0} | change))
