"""Figures of comparisons, retrieval and correlation: what is drawn, and its labels."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from semrsm_jax.plotting import (
    Retrieved,
    ScoreCurve,
    neighbor_gallery,
    plot_comparison,
    plot_comparison_difference,
    plot_correlation,
    plot_scores_at_k,
    retrieval_gallery,
)
from semrsm_jax.retrieval import Neighbors


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def test_plot_comparison_shows_names_and_values():
    matrix = np.array([[1.0, 0.25], [np.nan, 1.0], [0.5, -0.1]])
    ax = plot_comparison(matrix, list("abc"), other_names=["x", "y"], title="layers")
    (image,) = ax.images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), matrix)
    assert image.get_clim() == (0, 1)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y"]
    assert _texts(ax) == ["1.00", "0.25", "n/a", "1.00", "0.50", "-0.10"]
    assert ax.get_title() == "layers"
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "CKA"


def test_numbers_are_legible_on_their_cells():
    ax = plot_comparison(np.array([[0.0, 1.0]]), ["a"], other_names=["x", "y"])
    assert [text.get_color() for text in ax.texts] == ["white", "black"]


def test_many_cells_carry_no_numbers():
    matrix = np.ones((13, 13))
    names = [str(i) for i in range(13)]
    assert _texts(plot_comparison(matrix, names)) == []
    ax = plot_comparison(matrix, names, numbers=True, colorbar=False)
    assert len(_texts(ax)) == 169 and ax.child_axes == []


def test_numbers_are_written_where_there_is_room_for_them():
    matrix, names = np.full((9, 9), 0.0123), [str(i) for i in range(9)]
    for width, written in ((9.0, 81), (2.5, 0)):
        ax = Figure(figsize=(width, width)).add_subplot()
        plot_comparison_difference(matrix, np.zeros((9, 9)), names, ax)
        assert len(_texts(ax)) == written
    matrix[0, 0] = np.inf
    ax = plot_comparison_difference(matrix, np.zeros((9, 9)), names, limit=1.0)
    assert [t for t in _texts(ax) if t == "n/a"] == ["n/a"]


def test_plot_comparison_difference_is_symmetric_about_zero():
    matrix, baseline = np.array([[1.0, 0.9]]), np.array([[1.0, 0.6]])
    ax = plot_comparison_difference(matrix, baseline, "a", other_names="xy")
    low, high = ax.images[0].get_clim()
    assert low == -high == pytest.approx(-0.3)
    assert _texts(ax) == ["0", "+0.30"]
    tiny = plot_comparison_difference(matrix, matrix - 0.001, "a", other_names="xy")
    assert _texts(tiny) == ["+0.0010", "+0.0010"]
    nothing = plot_comparison_difference(matrix, matrix, "a", other_names="xy")
    assert _texts(nothing) == ["0", "0"]


def test_plot_correlation_of_many_and_of_few_pairs(rng):
    x = rng.normal(size=5000)
    ax = plot_correlation(x, x**2, title="Pearson 0.0")
    assert ax.collections[0].get_array().sum() == 5000
    medians = ax.lines[0].get_xydata()
    assert len(medians) == 12 and (np.diff(medians[:, 0]) > 0).all()
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "pairs"
    few = plot_correlation(x[:50], x[:50] ** 2)
    np.testing.assert_array_equal(few.lines[0].get_xdata(), x[:50])
    assert few.get_ylabel() == "Jensen-Shannon divergence [nats]"
    assert plot_correlation([0.5], [0.1]).lines


def test_plot_scores_at_k_counts_from_one():
    value = np.array([0.2, 0.4, 0.5])
    curves = {
        "semantic": ScoreCurve(value, value - 0.1, value + 0.1),
        "b": ScoreCurve(value),
    }
    ax = plot_scores_at_k(curves, label="IoU@k")
    assert ax.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert len(ax.collections) == 1
    assert ax.get_ylabel() == "IoU@k"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["semantic", "b"]


def test_the_default_gallery_of_few_queries(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    neighbors = Neighbors(np.array([[1], [0], [0]]), np.ones((3, 1)))
    names = np.array(["first", "second", "third"])
    for given, wanted in ((names, "first"), (None, "a.png")):
        figure = neighbor_gallery({"k": neighbors}, paths, paths, query_names=given)
        captions = [ax.get_xlabel() for ax in figure.axes]
        assert len(captions) == 6 and captions[0] == wanted


def test_retrieval_gallery_places_neighbors_beside_their_query(rng):
    images = [Retrieved(rng.uniform(size=(8, 6, 3)), str(i)) for i in range(5)]
    figure = retrieval_gallery(
        images[:2], {"semantic": [images[2:4], images[4:]], "other": [[], images[:1]]}
    )
    shown = [ax for ax in figure.axes if ax.images]
    captions = [ax.get_xlabel() for ax in shown]
    assert captions == ["0", "1", "2", "3", "4", "0"]
    np.testing.assert_array_equal(shown[2].images[0].get_array(), images[2].image)
    figure.draw_without_rendering()
