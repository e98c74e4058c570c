"""Loaders of ImageNet and CIFAR-100 on small trees; missing folders of every one."""

import numpy as np
import pytest
from class_images import AS_IS, break_image, rejected, values, write_image
from retrieval_data import EVAL

from experiments.data.cifar100 import CIFAR100, read_cifar100
from experiments.data.cityscapes import CITYSCAPES, load_cityscapes
from experiments.data.egoobjects import EGOOBJECTS, load_egoobjects
from experiments.data.imagenet import IMAGENET, open_imagenet
from experiments.data.tiny_imagenet import TINY_IMAGENET, open_tiny_imagenet


@pytest.mark.parametrize(
    ("dataset", "call", "layout"),
    [
        (IMAGENET, lambda folder: open_imagenet(folder, AS_IS), "val/ILSVRC2012_val_"),
        (TINY_IMAGENET, lambda folder: open_tiny_imagenet(folder, AS_IS), "wnids.txt"),
        (CIFAR100, read_cifar100, "test.bin"),
        (EGOOBJECTS, load_egoobjects, EVAL),
        (CITYSCAPES, lambda folder: load_cityscapes(folder, "val"), "leftImg8bit/"),
    ],
)
def test_missing_folder_says_where_to_get_it_and_how_it_must_look(
    dataset, call, layout, tmp_path
):
    for folder, wrong in (
        (None, "--data must name its folder, got none"),
        (tmp_path / "nowhere", "nowhere does not exist"),
        (tmp_path / "file", "file is a file, expected a folder"),
    ):
        (tmp_path / "file").touch()
        text = rejected(wrong, call, folder)
        assert text.startswith(f"{dataset.name}: ") and dataset.source in text
        assert all(line in text for line in (layout, *dataset.layout.split()))
    (tmp_path / "empty").mkdir()
    rejected("empty", call, tmp_path / "empty")
    assert dataset.source in dataset.help and layout in dataset.help


# ImageNet


@pytest.fixture(params=["flat", "by class", "Kaggle", "the split itself"])
def imagenet(request, tmp_path):
    """Five validation images; their gray says their number."""
    place = {
        "flat": "val",
        "by class": "val/n0144000{}",
        "Kaggle": "ILSVRC/Data/CLS-LOC/val",
        "the split itself": ".",
    }[request.param]
    for number in range(1, 6):
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        write_image(tmp_path / place.format(number % 2) / name, 40 * number)
    return tmp_path


def test_imagenet_comes_in_the_order_of_its_numbers(imagenet):
    folder = open_imagenet(imagenet, AS_IS)
    assert values(folder) == [40, 80, 120, 160, 200]
    assert [name[-13:] for name in folder.ids] == [f"{n:08d}.JPEG" for n in range(1, 6)]


def test_imagenet_draws_as_many_as_asked(imagenet):
    drawn = [values(open_imagenet(imagenet, AS_IS, 3, seed)) for seed in range(8)]
    assert all(len(set(d)) == 3 and d == sorted(d) for d in drawn)
    assert len(set(map(tuple, drawn))) > 1
    assert drawn[0] == values(open_imagenet(imagenet, AS_IS, 3, 0))
    rejected("it holds 5 images, 6 are needed", open_imagenet, imagenet, AS_IS, 6)


def test_imagenet_leaves_other_files_alone(imagenet):
    for name in (
        "meta.bin",
        "LOC_val_solution.csv",
        "val/Thumbs.db",
        "val/ILSVRC2012_val_00000001.xml",
        "val/ILSVRC2012_val_1.JPEG",
        "train/n01440001/n01440001_7.JPEG",
        "test/ILSVRC2012_test_00000001.JPEG",
        "val/._ILSVRC2012_val_00000001.JPEG",
    ):
        (imagenet / name).parent.mkdir(parents=True, exist_ok=True)
        (imagenet / name).write_bytes(b"no image")
    assert values(open_imagenet(imagenet, AS_IS)) == [40, 80, 120, 160, 200]


def test_imagenet_has_a_test_split(imagenet):
    rejected("no ILSVRC2012_test", open_imagenet, imagenet, AS_IS, split="test")
    write_image(imagenet / "test" / "ILSVRC2012_test_00000009.JPEG", 90)
    assert values(open_imagenet(imagenet, AS_IS, split="test")) == [90]


def test_imagenet_names_broken_and_repeated_images(tmp_path):
    for number in range(1, 9):
        write_image(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", 9, side=64)
    for number in range(2, 9):
        break_image(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    text = rejected("7 of 8 images .* cannot be read", open_imagenet, tmp_path, AS_IS)
    assert "val/ILSVRC2012_val_00000002.JPEG: " in text and text.count("JPEG: ") == 5
    # Those that are not drawn are not looked at.
    whole = next(s for s in range(99) if _first(tmp_path, s))
    assert values(open_imagenet(tmp_path, AS_IS, 1, whole)) == [9]
    write_image(tmp_path / "val/n01440764/ILSVRC2012_val_00000001.JPEG", 9)
    rejected("00000001.JPEG exists twice", open_imagenet, tmp_path, AS_IS)


def _first(folder, seed):
    return IMAGENET.draw(8, 1, seed)[0] == 0


# CIFAR-100


def record(coarse, fine, red=0, green=0, blue=0):
    """An image whose first row is 0, 1, 2... in red; the rest is of one color."""
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[:] = np.array([red, green, blue], np.uint8)[:, None, None]
    planes[0, 0] = np.arange(32)
    return bytes([coarse, fine]) + planes.tobytes()


@pytest.fixture
def cifar(tmp_path):
    records = [record(n % 20, 10 * n, 5 * n, n, 255 - n) for n in range(8)]
    (tmp_path / "test.bin").write_bytes(b"".join(records))
    (tmp_path / "train.bin").write_bytes(record(19, 99))
    return tmp_path


def test_cifar100_has_its_planes_and_labels_in_their_places(cifar):
    images, fine = read_cifar100(cifar)
    assert images.shape == (8, 32, 32, 3) and images.dtype == np.uint8
    assert fine.tolist() == [10 * n for n in range(8)]
    for n in range(8):
        np.testing.assert_array_equal(images[n, 0, :, 0], np.arange(32))
        assert (images[n, 1:] == [5 * n, n, 255 - n]).all()
    (image,), (fine,) = read_cifar100(cifar, split="train")
    assert fine == 99 and image[5, 5].tolist() == [0, 0, 0]


def test_cifar100_draws_images_with_their_labels(cifar):
    for seed in range(5):
        images, fine = read_cifar100(cifar, 3, seed)
        np.testing.assert_array_equal(10 * images[:, 5, 5, 1].astype(int), fine)
        assert (np.diff(fine) > 0).all()
    rejected("it holds 8 images, 9 are needed", read_cifar100, cifar, 9)


def test_cifar100_may_lie_in_its_folder_and_beside_others(cifar):
    inner = cifar / "cifar-100-binary"
    inner.mkdir()
    for name in ("test.bin", "train.bin"):
        (cifar / name).rename(inner / name)
    (inner / "fine_label_names.txt").write_text("apple\n")
    (cifar / "data_batch_1.bin").write_bytes(b"of CIFAR-10")
    assert len(read_cifar100(cifar).images) == len(read_cifar100(inner).images) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (record(0, 0)[:-1], "holds 3,073 bytes, expected a multiple of 3,074"),
        (b"", "holds 0 bytes"),
        (record(20, 0), "a coarse label is 20, expected 0 to 19"),
        (record(0, 5) + record(3, 100), "a fine label is 100, expected 0 to 99"),
    ],
)
def test_cifar100_rejects_damaged_files(cifar, content, message):
    (cifar / "test.bin").write_bytes(content)
    rejected(message, read_cifar100, cifar)


def test_cifar100_names_a_missing_file(cifar):
    (cifar / "test.bin").unlink()
    rejected("test.bin: No such file", read_cifar100, cifar)
    assert len(read_cifar100(cifar, split="train").images) == 1
