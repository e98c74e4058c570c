"""One style on all axes: sizes, sorted and paired RSMs, the ladder, figures."""

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from semrsm_jax import Exact, Identity, match
from semrsm_jax._ladder import Ladder
from semrsm_jax.plotting import (
    Retrieved,
    ScoreCurve,
    figure_size,
    paper_style,
    plot_comparison,
    plot_comparison_difference,
    plot_correlation,
    plot_correspondences,
    plot_displacement,
    plot_distributions,
    plot_ladder,
    plot_pareto,
    plot_rsm,
    plot_rsm_pair,
    plot_scores_at_k,
    retrieval_gallery,
    token_centers,
)

_POINTS = np.array([[1.0, 2.0], [3.0, 3.0]])
_IMAGE, _I = np.zeros((8, 8)), np.eye(2)
_UNEQUAL, _N2 = (np.zeros((3, 2)), _POINTS), r"\(n, 2\), got \(3, 2\) and \(2, 2\)"
_LADDER = Ladder(
    (Identity(), Exact()),
    jnp.array([[[4.0, 1], [1, 4]], [[4, 2], [3, 4]]]),
    jnp.array([[[1.0, 0.5], [0.25, 1]], [[1, 1], [0.75, 1]]]),
    jnp.array([[4.0, 2], [4, 4]]),
)
# Every function that draws on one axes.
DRAW = {
    "rsm": lambda ax: plot_rsm(np.eye(3), ax, title="t"),
    "rsm, sorted": lambda ax: plot_rsm(np.eye(3), ax, labels="aba", title="t"),
    "pair": lambda ax: plot_rsm_pair(
        np.eye(3), np.eye(3), (ax, ax.figure.add_subplot()), names=("t", "u")
    )[0],
    "distributions": lambda ax: plot_distributions({"a": np.arange(9)}, ax, title="t"),
    "correspondences": lambda ax: plot_correspondences(
        _IMAGE, _IMAGE, _POINTS, _POINTS, ax, title="t"
    ),
    "displacement": lambda ax: plot_displacement(
        _IMAGE, _POINTS, _POINTS, ax, title="t"
    ),
    "ladder": lambda ax: plot_ladder(_LADDER, ax, title="t"),
    "comparison": lambda ax: plot_comparison(np.eye(2), "ab", ax, title="t"),
    "difference": lambda ax: plot_comparison_difference(
        np.eye(2), np.ones((2, 2)), "ab", ax, title="t"
    ),
    "correlation": lambda ax: plot_correlation(
        np.arange(5), np.arange(5), ax, title="t"
    ),
    "scores": lambda ax: plot_scores_at_k({"a": ScoreCurve(np.ones(3))}, ax, title="t"),
    "pareto": lambda ax: plot_pareto({"a": {"b": (1.0, 0.9)}}, ax, title="t"),
}


def _sizes(ax):
    """Sizes of title, labels, ticks and legend, in points."""
    ax.figure.draw_without_rendering()
    ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()]
    shown = [text.get_fontsize() for text in ticks if text.get_text()]
    for bar in ax.child_axes:
        shown += [text.get_fontsize() for text in bar.get_yticklabels()]
    legend = ax.get_legend()
    if legend is not None:
        shown += [text.get_fontsize() for text in legend.get_texts()]
    labels = [ax.xaxis.label, ax.yaxis.label, *(b.yaxis.label for b in ax.child_axes)]
    return ax.title.get_fontsize(), {text.get_fontsize() for text in labels}, {*shown}


@pytest.mark.parametrize("name", DRAW)
def test_text_has_one_size_and_no_setting_is_changed(name):
    with matplotlib.rc_context({"font.size": 17}):
        before = dict(matplotlib.rcParams)
        ax = Figure().add_subplot()
        assert DRAW[name](ax) is ax
        title, labels, small = _sizes(ax)
        assert (title, labels) == (9, {8})
        assert small <= {7}
        assert ax.get_title() == "t"
        assert dict(matplotlib.rcParams) == before


def test_paper_style_holds_within_its_block():
    before = dict(matplotlib.rcParams)
    with paper_style():
        ax = Figure().add_subplot()
        assert ax.xaxis.label.get_fontsize() == 8
        assert not ax.spines["top"].get_visible()
        assert ax.plot([0, 1])[0].get_color() == "#0072B2"
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert dict(matplotlib.rcParams) == before


def test_figure_sizes():
    assert figure_size() == pytest.approx((3.25, 2.4375))
    assert figure_size(2, aspect=0.5) == pytest.approx((6.75, 3.375))
    with pytest.raises(ValueError, match="columns must be 1 or 2, got 3"):
        figure_size(3)
    with pytest.raises(ValueError, match="aspect must be above 0 and finite, got 0"):
        figure_size(1, 0)


def test_labels_bring_the_samples_of_a_group_together():
    K = np.arange(16.0).reshape(4, 4)
    ax = plot_rsm(K, labels=np.array([7, 3, 7, 7]))
    order = [0, 2, 3, 1]
    np.testing.assert_array_equal(ax.images[0].get_array(), K[np.ix_(order, order)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["7", "3"]
    assert ax.get_yticks().tolist() == [1, 3]
    # A line across and one down between three samples and one.
    assert [line.get_ydata()[0] for line in ax.lines[:1]] == [2.5]
    assert [line.get_xdata()[0] for line in ax.lines[1:]] == [2.5]


def test_many_groups_are_not_named():
    ax = plot_rsm(np.eye(25), labels=range(25))
    assert len(ax.lines) == 48 and len(ax.get_yticks()) == 0


def test_a_pair_of_rsms_shares_one_scale_and_one_bar():
    left, right = plot_rsm_pair(np.eye(3) - 1, 2 * np.eye(3), label="cosine")
    assert left.images[0].get_clim() == right.images[0].get_clim() == (-1, 2)
    assert (left.get_title(), right.get_title()) == ("spatio-semantic", "semantic")
    assert left.child_axes == [] and right.child_axes[0].get_ylabel() == "cosine"
    assert left.get_ylabel() == "sample" and right.get_ylabel() == ""
    given = plot_rsm_pair(np.eye(2), np.eye(2), vmin=0, vmax=5, colorbar=False)
    assert given[1].images[0].get_clim() == (0, 5) and given[1].child_axes == []


def test_ladder_shows_the_median_of_the_pairs_off_the_diagonal():
    ax = plot_ladder(_LADDER)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["Identity", "Exact"]
    assert [text.get_text() for text in ax.texts] == ["37.5", "87.5"]
    every = plot_ladder(_LADDER, names=["none", "any"], diagonal=True)
    two = plot_ladder(_LADDER._replace(two_sets=True))
    for ax in (every, two):
        assert [text.get_text() for text in ax.texts] == ["75.0", "100.0"]
    assert [text.get_text() for text in every.get_xticklabels()] == ["none", "any"]


def test_ladder_of_one_pair_is_points():
    pair = Ladder(_LADDER.matchers, *(field[..., 0, 1] for field in _LADDER[1:4]))
    points = plot_ladder(pair).lines[1]
    assert points.get_marker() == "o"
    np.testing.assert_allclose(points.get_ydata(), [50, 100], rtol=1e-6)


def test_token_centers_are_those_of_the_cells_row_by_row():
    centers = token_centers((2, 3), (8, 6))
    rows, columns = np.repeat([1.5, 5.5], 3), np.tile([0.5, 2.5, 4.5], 2)
    np.testing.assert_array_equal(centers, np.stack([rows, columns], 1))


def test_centers_of_partners_follow_what_moved(rng):
    """An image moved a cell to the right: partners are a cell to the right."""
    tokens = rng.normal(size=(4, 4, 8)).astype(np.float32)
    moved = np.roll(tokens, 1, axis=1).reshape(16, 8)
    matching = match(tokens.reshape(16, 8), moved, matcher=Exact())
    centers = token_centers((4, 4), (32, 32))
    shift = centers[np.asarray(matching.permutation)] - centers
    inside = centers[:, 1] < 24
    np.testing.assert_array_equal(shift[inside], np.tile([0.0, 8.0], (12, 1)))


def test_gallery_draws_on_a_part_of_a_figure(rng):
    shown = Retrieved(rng.uniform(size=(4, 4, 3)))
    figure = Figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert retrieval_gallery([shown], {"a": [[shown]]}, left, title="t") is left
    assert [len(block.get_axes()) for block in left.subfigs] == [1, 1]
    assert right.subfigs == [] and right.get_axes() == []
    figure.draw_without_rendering()


_NAN = _LADDER._replace(share=_LADDER.share * np.nan)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_rsm(np.zeros(3)), r"K must have 2 axes.*\(3,\)"),
        (lambda: plot_rsm(np.eye(3), labels="ab"), r"labels.*\(3, 3\), got 2"),
        (lambda: plot_rsm(np.ones((2, 3)), labels="ab"), r"labels.*\(2, 3\), got 2"),
        (
            lambda: plot_rsm_pair(np.eye(3), np.eye(2)),
            r"baseline and K must have one shape, got \(3, 3\) and \(2, 2\)",
        ),
        (
            lambda: plot_rsm_pair(_I, _I, [Figure().add_subplot()]),
            "axes must be two, got 1",
        ),
        (lambda: plot_ladder(_LADDER, names="abc"), "each of 2 rungs, got 3"),
        (lambda: plot_ladder(_NAN), "at least one pair"),
        (lambda: token_centers((0, 3), (4, 4)), r"grid must be.*got \(0, 3\)"),
        (lambda: token_centers((2, 2), (4,)), r"image_size must be.*got \(4,\)"),
        (lambda: plot_distributions({}), "groups must be 1 to 6, got 0"),
        (lambda: plot_distributions({"a": np.zeros(0)}), "'a' holds no values"),
        (lambda: plot_comparison(np.ones(3), "abc"), "must have 2 axes"),
        (lambda: plot_comparison(np.ones((2, 3)), "ab"), "got 2 for the rows and 2"),
        (
            lambda: plot_comparison_difference(_I, np.eye(3), "ab"),
            "must have one shape",
        ),
        (
            lambda: plot_comparison_difference(_I, _I, "ab", limit=0),
            "limit must be a finite number above 0, got 0",
        ),
        (lambda: plot_correlation([], []), "at least 1"),
        (lambda: plot_correlation([1], [1, 2]), "equally many values"),
        (lambda: plot_scores_at_k({}), "curves must be 1 to 6"),
        (lambda: retrieval_gallery([], {"a": []}), "must not be empty"),
        (
            lambda: retrieval_gallery([Retrieved(None)], {"a": []}),
            "a list for each of 1 queries, got 0",
        ),
        (lambda: plot_displacement(_IMAGE, *_UNEQUAL), _N2),
        (lambda: plot_correspondences(_IMAGE, _IMAGE, *_UNEQUAL), _N2),
        (
            lambda: plot_correspondences(
                _IMAGE, _IMAGE, _POINTS, _POINTS, good=np.ones(3, bool)
            ),
            r"good must have shape \(2,\), got \(3,\)",
        ),
    ],
)
def test_arguments_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
