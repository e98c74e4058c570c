"""Files of labels: read alike by retrieve and report, brought into the RSM's order."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from semrsm_jax.reporting.orders import label_names
from semrsm_jax.store import align_classes, align_labels, load_labels

COUNTS = [[2, 1, 0], [0, 0, 3], [0, 0, 0]]
IDS, GROUPS = ("b/1.png", "a.png", "c.png"), ("v1", "v2", "v1")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = zip(COUNTS, IDS, GROUPS, strict=True)
    text = "".join(f"{c[0]},{i},{c[1] or ''},{g},{c[2]}\n" for c, i, g in rows)
    Path("l.csv").write_text('cup, ID ,"fork, large",Group,knife\n' + text)
    np.savez("l.npz", counts=COUNTS, ids=IDS, groups=np.array([1, 2, 1]))
    Path("one.csv").write_text("id,Label,x\n" + "b/1.png,7,?\na.png,3,?\nc.png,7,?\n")
    np.savez("one.npz", labels=[7, 3, 7], ids=IDS)
    return tmp_path


def test_counts_of_both_kinds_of_file():
    labels = load_labels("l.csv")
    np.testing.assert_array_equal(labels.counts, COUNTS)
    assert labels.classes == ("cup", "fork, large", "knife")
    assert (labels.ids, labels.groups, labels.labels) == (IDS, GROUPS, None)
    other = load_labels("l.npz")
    np.testing.assert_array_equal(other.counts, COUNTS)
    assert (other.classes, other.ids, other.groups) == (None, IDS, ("1", "2", "1"))


def test_blank_lines_at_the_end_are_no_images():
    Path("b.csv").write_text("id,cup\na,1\nb,0\n\n,\n  \n")
    assert load_labels("b.csv").ids == ("a", "b")


def test_names_stored_as_bytes_are_text():
    np.savez("b.npz", labels=np.array([b"cat", "é".encode()]))
    assert load_labels("b.npz").labels == ("cat", "é")


@pytest.mark.parametrize("name", ["one.csv", "one.npz"])
def test_one_label_an_image_is_one_instance_of_its_class(name):
    labels = load_labels(name)
    assert (labels.labels, labels.classes) == (("7", "3", "7"), ("3", "7"))
    np.testing.assert_array_equal(labels.counts, [[0, 1], [1, 0], [0, 1]])
    assert label_names(name, IDS[::-1], 3) == ("7", "3", "7")


def test_the_report_shows_the_class_that_is_there_most():
    assert label_names("l.csv", ("c.png", "b/1.png"), 2) == ("v1", "cup")
    assert load_labels("l.npz").main_labels() == ("class 0", "class 2", "1")
    with pytest.raises(ValueError, match="a label for each of 3 samples, got 1"):
        label_names(["a"], None, 3)


def test_labels_are_aligned_by_ids_else_taken_as_they_come():
    labels = load_labels("l.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligned = align_labels(labels, ("c.png", "b/1.png"), 2)
        assert align_labels(labels._replace(ids=None), None, 3).counts is labels.counts
    assert (aligned.ids, aligned.groups) == (("c.png", "b/1.png"), ("v1", "v1"))
    np.testing.assert_array_equal(aligned.counts, [COUNTS[2], COUNTS[0]])
    with pytest.warns(UserWarning, match="l.csv has ids, the RSM has none: the rows"):
        assert align_labels(labels, None, 3, "l.csv") == labels
    with pytest.warns(UserWarning, match="the RSM has ids, l.csv has none"):
        align_labels(labels._replace(ids=None), IDS, 3, "l.csv")
    with pytest.raises(ValueError, match="1 of 2 are missing, for example 'd.png'"):
        align_labels(labels, ("d.png", "a.png"), 2)
    with pytest.raises(ValueError, match="must have 4 rows, one for each sample of"):
        align_labels(labels, None, 4)


def test_classes_are_aligned_by_their_names():
    one, two = load_labels("l.csv"), load_labels("l.csv")
    two = two._replace(
        counts=two.counts[:, ::-1], classes=("KNIFE", *two.classes[1::-1])
    )
    first, second = align_classes(one, two)
    assert first.classes == second.classes == one.classes
    np.testing.assert_array_equal(second.counts, first.counts)
    with pytest.raises(ValueError, match="same classes; only one has cup, saw"):
        align_classes(one, two._replace(classes=("knife", "fork, large", "saw")))
    Path("two.csv").write_text("label\n9\n7\n")
    first, second = align_classes(load_labels("one.csv"), load_labels("two.csv"))
    assert first.classes == ("3", "7", "9")
    np.testing.assert_array_equal(second.counts, [[0, 0, 1], [0, 1, 0]])
    Path("case.csv").write_text("label\nCat\ncat\n")
    labels = load_labels("case.csv")
    first, second = align_classes(labels, labels)
    assert first.classes == ("cat",)
    np.testing.assert_array_equal(first.counts, [[1], [1]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", None, "does not exist"),
        ("m.txt", "", "must end in .csv or .npz"),
        ("m.csv", "cup\n", "a header and rows"),
        ("m.csv", "id,group\na,b\n", "must have a column a class, or a column label"),
        ("m.csv", "cup,fork\n1\n", "row 2, must have 2 fields, got 1"),
        ("m.csv", "cup\none\n", "row 2, must hold numbers"),
        ("m.csv", "cup\n-1\n", "at least 0, got -1"),
        ("m.csv", "cup\n1\n0.5\n", "whole counts of objects, got 0.5 for class 0 of"),
        ("m.csv", "id,cup\na,1\na,2\n", "ids must be unique, got 'a' again"),
        ("m.csv", "id,label\na,x\na,y\n", "ids must be unique, got 'a' again"),
        ("m.csv", "id,label\na,x\nb,\n", "row 3, must hold a name in the col"),
        ("m.csv", "group,cup\nv,1\n,1\n", "row 3, must .* 'group', got an empty"),
        ("m.csv", "ID,id,cup\na,b,2\n", "columns must be unique, got 'id' again"),
        (
            "m.csv",
            "id,Class\na,3\nb,4\n",
            "column 'Class' cannot hold.*call it 'label'",
        ),
        ("m.csv", "image_id,cup\n4,3\n5,4\n", "'image_id' cannot hold.*call it 'id'"),
        ("m.csv", "n\n" + "\n".join(map(str, range(10))) + "\n", "10 integers are all"),
        ("m.npz", {"x": np.ones(3)}, "an array 'counts'"),
        ("m.npz", {"counts": np.ones(3)}, r"hold counts \(N, C\).*array 'labels'"),
        ("m.npz", {"counts": np.ones((2, 2)), "ids": ["a"]}, r"ids \(2,\)"),
        (
            "m.npz",
            {"labels": ["x", ""]},
            "labels that are not empty, got '' at index 1",
        ),
        ("m.npz", {"labels": np.ones((2, 2))}, r"must hold labels \(2,\) as text"),
    ],
)
def test_what_cannot_be_labels_is_named(name, content, message):
    if isinstance(content, dict):
        np.savez(name, **content)
    elif content is not None:
        Path(name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_labels(name)
