"""The loader of Tiny-ImageNet on a small tree of its format."""

import pytest
from class_images import AS_IS, WNIDS, break_image, rejected, tiny, values, write_image  # noqa: F401

from experiments.data.tiny_imagenet import open_tiny_imagenet


def rejects(message, folder, **options):
    return rejected(message, open_tiny_imagenet, folder, AS_IS, **options)


def test_tiny_imagenet_validation_images_have_their_classes(tiny):
    data = open_tiny_imagenet(tiny, AS_IS)
    assert values(data.images) == [0, 50, 100, 150]
    assert data.images.read(0, 4).shape == (4, 64, 64, 3)
    assert [sorted(WNIDS)[label] for label in data.labels] == [*WNIDS, WNIDS[0]]


def test_tiny_imagenet_draws_images_with_their_classes(tiny):
    whole = open_tiny_imagenet(tiny, AS_IS)
    of = dict(zip(whole.images.ids, whole.labels, strict=True))
    for seed in range(5):
        drawn = open_tiny_imagenet(tiny, AS_IS, 2, seed)
        assert len(drawn.images) == len(drawn.labels) == 2
        assert [of[name] for name in drawn.images.ids] == drawn.labels.tolist()
    rejects("holds 4 images, 5 are needed", tiny, samples=5)


def test_tiny_imagenet_leaves_other_files_alone(tiny):
    before = open_tiny_imagenet(tiny, AS_IS)
    write_image(tiny / "val/images/val_99.JPEG", 1, 64)
    (tiny / "val/images/Thumbs.db").write_bytes(b"no image")
    (tiny / "val/val_annotations.txt").open("a").write("\r\n\n")
    after = open_tiny_imagenet(tiny, AS_IS)
    assert before.images.ids == after.images.ids
    assert before.labels.tolist() == after.labels.tolist()


def test_tiny_imagenet_names_what_is_missing(tiny):
    (tiny / "val/images/val_1.JPEG").unlink()
    rejects("(?s)1 of 4 listed images do not exist.*val/images/val_1.JPEG", tiny)
    (tiny / "val/val_annotations.txt").unlink()
    rejects("val_annotations.txt cannot be read: No such file", tiny)
    (tiny / "wnids.txt").write_text("\n")
    rejects("wnids.txt is empty", tiny)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_0.JPEG\tn02124075", "line 5: expected name, WordNet id and 4 numbers"),
        ("val_7.JPEG n02124075 0 0 1 1", "line 5: expected name"),
        ("val_7.JPEG\tn02124075\t0\t0\t1\tx", "line 5: expected name"),
        ("val_7.JPEG\tn00000000\t0\t0\t1\t1", "'n00000000' is none of the 3 classes"),
        ("val_0.JPEG\tn02124075\t0\t0\t1\t1", "line 5: val_0.JPEG is listed twice"),
    ],
)
def test_tiny_imagenet_rejects_damaged_annotations(tiny, line, message):
    with (tiny / "val/val_annotations.txt").open("a") as stream:
        stream.write(line + "\n")
    rejects(message, tiny)


def test_tiny_imagenet_names_broken_files(tiny):
    break_image(tiny / "val/images/val_1.JPEG")
    assert "val/images/val_1.JPEG: " in rejects("1 of 4 images", tiny)
    (tiny / "val/val_annotations.txt").write_bytes(b"\xff\xfe\x00")
    rejects("cannot be read: no text", tiny)
