"""Loaders of the retrieval data sets, on small trees in the true format.

What the files hold follows the data sets' own documentation: that of EgoObjects' API,
which says it is LVIS's with changes, and cityscapesScripts'.
"""

import io
import json

import numpy as np
import pytest
from PIL import Image
from retrieval_data import EVAL, annotation, frame, write_ego, write_streets

from experiments.data.cityscapes import CLASSES, classes_present, load_cityscapes
from experiments.data.egoobjects import load_egoobjects

FRAMES = [
    frame(1),
    frame(2, video="02"),
    frame(3, group="G2", size=(1280, 720)),
    frame(4, size=(1080, 1920)),
    frame(5, size=(1440, 1080)),
    frame(6, subset="val"),
    frame(7, group="G2"),
]
ANNOTATIONS = [
    annotation(10, 1, 5),
    annotation(11, 1, 5, "b"),
    annotation(12, 1, 7, "c"),
    annotation(13, 2, 12),
    annotation(14, 2, None, "d"),
    annotation(15, 3, 7),
    annotation(16, 4, 9),
    annotation(17, 6, 5),
    annotation(18, 7, None),
]


def write(folder):
    return write_ego(folder, FRAMES, ANNOTATIONS)


def test_egoobjects_counts_instances_and_keeps_frames_of_16_to_9(tmp_path):
    folder = write(tmp_path / "ego")
    # Surplus files are none of the loader's business.
    (folder / "EgoObjectsV1_unified_metadata.json").write_text("{}")
    (folder / "images" / "notes.txt").write_text("")
    result = load_egoobjects(folder)
    names = "G1_01_1.jpg G1_02_2.jpg G2_01_3.jpg"
    assert [path.name for path in result.paths] == names.split()
    assert all(path.is_file() for path in result.paths)
    # Of the categories 12, 5 and 7.
    np.testing.assert_array_equal(result.counts, [[0, 2, 1], [1, 0, 0], [0, 0, 1]])
    # The same number of a video in another group is another video.
    assert len(set(result.videos)) == 3
    np.testing.assert_array_equal(result.groups, ["G1", "G1", "G2"])


def test_egoobjects_has_subsets(tmp_path):
    folder = write(tmp_path / "ego")
    (path,) = load_egoobjects(folder, "val").paths
    assert path.name == "G1_01_6.jpg"
    with pytest.raises(ValueError, match="subset 'train'.*subsets: test, val"):
        load_egoobjects(folder, "train")


@pytest.mark.parametrize(
    ("width", "height", "kept"),
    [(1920, 1080, True), (854, 480, True), (1366, 768, True), (1920, 1028, False)],
)
def test_shape_is_compared_to_within_a_pixel(tmp_path, width, height, kept):
    images = [frame(1), frame(2, size=(width, height))]
    annotations = [annotation(10, 1, 5), annotation(11, 2, 5)]
    folder = write_ego(tmp_path / "ego", images, annotations)
    assert len(load_egoobjects(folder).paths) == 1 + kept


def test_egoobjects_missing_files_are_named(tmp_path):
    folder = write(tmp_path / "ego")
    (folder / "images" / "G1_02_2.jpg").unlink()
    (folder / "images" / "G1_01_4.jpg").unlink()  # of another shape: not needed
    with pytest.raises(ValueError, match="1 of 3 frames(.|\n)*G1_02_2.jpg"):
        load_egoobjects(folder)
    (folder / EVAL).unlink()
    with pytest.raises(ValueError, match=f"{EVAL} does not exist"):
        load_egoobjects(folder)


def without(key):
    return [{k: v for k, v in FRAMES[0].items() if k != key}, *FRAMES[1:]]


def as_text(images, annotations=()):
    return json.dumps({"images": images, "annotations": annotations})


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ('{"images": [', "cannot be read as JSON"),
        ("[1, 2]", "a list of objects 'images'"),
        (json.dumps({"images": FRAMES}), "a list of objects 'annotations'"),
        (as_text([1]), "objects 'images'"),
        (as_text(without("video_id")), "image 0 lacks video_id"),
        (as_text(without("url")), "image 0 lacks url"),
        (as_text(FRAMES, [annotation(1, 99, 5)]), "annotation 0 is of image 99"),
        (as_text([*FRAMES, frame(1)]), "two images of one id"),
    ],
)
def test_broken_annotations_of_egoobjects_say_what_is_wrong(tmp_path, document, wrong):
    folder = write(tmp_path / "ego")
    (folder / EVAL).write_text(document)
    with pytest.raises(ValueError, match=wrong):
        load_egoobjects(folder)


def test_cityscapes_pairs_images_with_their_classes(tmp_path):
    folder = write_streets(tmp_path / "streets")
    (folder / "README").write_text("")
    (folder / "leftImg8bit" / "val" / "lindau" / "._x_leftImg8bit.png").write_text("")
    (folder / "leftImg8bit" / "train_extra").mkdir()
    result = load_cityscapes(folder, "val")
    assert [path.name for path in result.paths] == [
        "frankfurt_000001_000294_leftImg8bit.png",
        "lindau_000000_000019_leftImg8bit.png",
    ]
    np.testing.assert_array_equal(
        result.sequences, ["frankfurt_000001", "lindau_000000"]
    )
    present = classes_present(result)
    names = np.array(list(CLASSES.values()))
    expected = [["sky", "person"], ["road", "bicycle"]]
    assert [list(names[row]) for row in present] == expected
    train = classes_present(load_cityscapes(folder, "train"))
    expected = [["road", "building", "car"], ["road"]]
    assert [list(names[row]) for row in train] == expected


def test_classes_of_few_pixels_may_be_left_out(tmp_path):
    result = load_cityscapes(write_streets(tmp_path / "streets"), "val")
    # 11 pixels of sky and as many of person, 16 of road and of bicycle.
    np.testing.assert_array_equal(classes_present(result, 11).sum(1), [2, 2])
    np.testing.assert_array_equal(classes_present(result, 12).sum(1), [0, 2])


def test_classes_are_the_19_that_the_data_set_scores():
    assert len(CLASSES) == 19 and set(CLASSES) < set(range(7, 34))


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        ("leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png", "no image"),
        ("gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png", "no annotation"),
    ],
)
def test_cityscapes_missing_halves_are_named(tmp_path, file, wrong):
    folder = write_streets(tmp_path / "streets")
    (folder / file).unlink()
    wrong = f"1 of 2 files of 'val' have {wrong}"
    with pytest.raises(ValueError, match=wrong) as error:
        load_cityscapes(folder, "val")
    assert "lindau_000000_000019" in str(error.value)


def test_cityscapes_without_a_split_says_so(tmp_path):
    (tmp_path / "leftImg8bit").mkdir()
    with pytest.raises(ValueError, match="there is no image in"):
        load_cityscapes(tmp_path, "val")


def truncated():
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(34, size=(64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "png")
    return stream.getvalue()[:-400]


TRUNCATED = truncated()


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        (b"no picture", "cannot identify"),
        (TRUNCATED, "truncated"),
        (np.full((4, 8), 255, np.uint8), "label ids of 0 to 33, got 255"),
        (np.zeros((4, 8, 3), np.uint8), "one channel of 8 bits"),
    ],
)
def test_broken_annotations_of_cityscapes_are_named(tmp_path, broken, wrong):
    result = load_cityscapes(write_streets(tmp_path / "streets"), "val")
    if isinstance(broken, bytes):
        result.labels[0].write_bytes(broken)
    else:
        Image.fromarray(broken).save(result.labels[0])
    with pytest.raises(ValueError, match=wrong) as error:
        classes_present(result)
    assert "1 of 2 annotations" in str(error.value)
    assert str(result.labels[0]) in str(error.value)
