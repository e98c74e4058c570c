"""Figures: what is drawn, with which labels, and that no global setting changes."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from semrsm_jax.demo import Stage, StageResult, TranslationConfig, TranslationResult
from semrsm_jax.demo.photographs import Crops
from semrsm_jax.demo.separation import score
from semrsm_jax.matching import Exact
from semrsm_jax.plotting import (
    plot_correspondences,
    plot_displacement,
    plot_distributions,
    plot_rsm,
    translation_figure,
)
from semrsm_jax.plotting.style import COLORS


@pytest.fixture(scope="module")
def result():
    """A synthetic result: the overlap shows in the semantic RSMs alone."""
    stages, n, batches = 2, 4, 3
    rng = np.random.default_rng(0)
    config = TranslationConfig(
        crops=n * batches,
        crops_per_batch=n,
        crop_size=21,
        window_size=16,
        stages=tuple(Stage(f"stages.{k}", Exact()) for k in range(stages)),
    )
    results = []
    for k in range(stages):
        rsms = rng.uniform(0.4, 0.7, (2, batches, 2 * n, 2 * n))
        rsms = (rsms + rsms.swapaxes(-1, -2)) / 2
        index = np.arange(2 * n)
        rsms[1][:, index, np.roll(index, n)] += 0.25
        rsms[:, :, index, index] = 1
        scenes = np.stack([rng.permutation(6)[:n] for _ in range(batches)])
        scored = score(*rsms, scenes, 20, 0.95, 0)
        results.append(StageResult(f"stages.{k}", 256 >> k, 8, Exact(), *scored))
    images = rng.uniform(size=(n * batches, 21, 21, 3)).astype(np.float32)
    files, regions = ("camera.png",) * len(images), np.zeros((len(images), 3), int)
    crops = Crops(images, files, files, regions)
    return TranslationResult(config, crops, tuple(results))


@pytest.fixture(scope="module")
def figure(result):
    return translation_figure(result)


def test_plot_rsm_shows_the_values_with_labels_and_a_bar():
    K = np.arange(12.0).reshape(3, 4)
    ax = plot_rsm(K, vmin=-1, vmax=20, title="layer", label="inner product")
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), K)
    assert image.get_clim() == (-1, 20)
    assert ax.get_title() == "layer"
    assert all(tick == round(tick) for tick in ax.get_xticks())
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sample", "sample")
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "inner product"


def test_plot_rsm_takes_jax_arrays_and_axes():
    ax = Figure().add_subplot()
    assert plot_rsm(jnp.eye(3), ax, colorbar=False) is ax
    assert ax.images[0].get_clim() == (0, 1)
    assert len(ax.figure.axes) == 1


def test_plot_distributions_normalizes_each_group():
    rng = np.random.default_rng(0)
    groups = {"few": rng.uniform(size=10), "many": rng.uniform(size=1000)}
    ax = plot_distributions(groups, limits=(0, 1), bins=10, label="similarity")
    assert ax.get_xlabel() == "similarity" and ax.get_xlim() == (0, 1)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["few", "many"]
    colors = {patch.get_edgecolor() for patch in ax.patches if not patch.get_fill()}
    assert len(colors) == 2
    for patch in ax.patches:
        if patch.get_fill():
            x, y = patch.get_xy().T
            area = abs(np.sum((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2))
            assert area == pytest.approx(1)


@pytest.mark.slow
def test_heatmaps_of_the_figure_share_one_scale(figure):
    heatmaps = [
        a.images[0]
        for a in figure.get_axes()
        if a.images and a.images[0].get_array().ndim == 2
    ]
    assert len(heatmaps) == 4
    assert len({image.get_clim() for image in heatmaps}) == 1
    lowest = min(image.get_array().min() for image in heatmaps)
    assert heatmaps[0].get_clim() == (lowest, 1)
    bars = [a for a in figure.get_axes() if a.get_label() == "<colorbar>"]
    assert [bar.get_ylabel() for bar in bars] == ["RBF similarity"]


def test_figure_names_stages_rsms_and_aurocs(figure, result):
    titles = [a.get_title() for a in figure.get_axes()]
    assert "stages.0\nS = 256" in titles and "stages.1\nS = 128" in titles
    for stage in result.stages:
        for scores in (stage.spatio_semantic, stage.semantic):
            assert f"AUROC {scores.auroc.value:.3f}" in titles
    rows = [a.get_ylabel() for a in figure.get_axes()]
    assert rows.count("spatio-semantic") == 2 and rows.count("semantic") == 2
    assert {"upper window", "lower window"} <= set(titles)


def test_distributions_of_the_figure_have_one_axis(figure, result):
    axes = [a for a in figure.get_axes() if a.get_title().startswith("AUROC")]
    assert len(axes) == 4 and len({a.get_xlim() for a in axes}) == 1
    lowest = min(
        scores.rsms.min()
        for stage in result.stages
        for scores in (stage.spatio_semantic, stage.semantic)
    )
    assert axes[0].get_xlim() == (lowest, 1)


def test_outlined_pixels_are_those_shared(figure):
    pairs = [
        a for a in figure.get_axes() if a.images and a.images[0].get_array().ndim == 3
    ]
    assert len(pairs) == 8
    upper, lower = pairs[0], pairs[1]
    boxes = [ax.patches[0].get_bbox() for ax in (upper, lower)]
    # Windows of 16 pixels shifted by 5: rows 5 to 15 above, 0 to 10 below.
    for box, first, last in ((boxes[0], 5, 15), (boxes[1], 0, 10)):
        assert first - 0.5 <= box.y0 <= first + 0.5
        assert last - 0.5 <= box.y1 <= last + 0.5
    np.testing.assert_array_equal(
        upper.images[0].get_array()[5:], lower.images[0].get_array()[:11]
    )


def test_two_networks_are_compared_below_the_first(result):
    trained = tuple(stage._replace(weights="trained") for stage in result.stages)
    random = tuple(
        stage._replace(semantic=stage.spatio_semantic) for stage in result.stages
    )
    figure = translation_figure(result._replace(stages=trained + random))
    axes = {a.get_title(): a for a in figure.get_axes()}
    for name, stages in (("trained", trained), ("random", random)):
        lines = axes[f"{name} weights"].containers
        assert [line.get_label() for line in lines] == ["spatio-semantic", "semantic"]
        for line, kind in zip(lines, ("spatio_semantic", "semantic"), strict=True):
            aurocs = [getattr(stage, kind).auroc for stage in stages]
            np.testing.assert_allclose(line[0].get_ydata(), [a.value for a in aurocs])
            (bars,) = line[2]
            ends = [segment[:, 1] for segment in bars.get_segments()]
            np.testing.assert_allclose(ends, [(a.low, a.high) for a in aurocs])
    assert "AUROC, 95% interval" in [a.get_ylabel() for a in figure.get_axes()]
    # The RSMs above are those of the first network alone.
    assert sum(a.get_title().startswith("AUROC") for a in figure.get_axes()) == 4


def test_figure_is_written_headless(result, tmp_path):
    for name in ("translation.png", "translation.pdf"):
        one = result._replace(stages=result.stages[:1])
        translation_figure(one).savefig(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'semrsm_jax\[demo\]'"):
        plot_rsm(np.eye(2))


def test_plot_correspondences_joins_each_point_with_its_partner():
    first, second = np.zeros((10, 20, 3)), np.ones((10, 20))
    points, partners = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5, 6], [7, 8]])
    good = np.array([True, False])
    ax = plot_correspondences(first, second, points, partners, good=good, title="soft")
    assert ax.get_title() == "soft" and len(ax.images) == 2
    left = ax.images[1].get_extent()[0] + 0.5
    assert left > 20
    lines = [line for line in ax.lines if line.get_color() in COLORS[:2]]
    ends = {
        line.get_color(): line.get_xydata()
        for line in lines
        if line.get_marker() == "None"
    }
    np.testing.assert_allclose(ends[COLORS[0]], [[2, 1], [6 + left, 5]])
    np.testing.assert_allclose(ends[COLORS[1]], [[4, 3], [8 + left, 7]])


def test_plot_displacement_draws_an_arrow_to_each_partner():
    points, partners = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 5], [7.0, 4]])
    ax = plot_displacement(np.zeros((10, 20)), points, partners, title="moved")
    (arrows,) = ax.collections
    np.testing.assert_array_equal(np.stack([arrows.U, arrows.V], 1), [[3, 0], [0, 4]])
    np.testing.assert_array_equal(arrows.get_array(), [3, 4])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "displacement (pixels)"
