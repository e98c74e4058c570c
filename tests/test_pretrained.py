"""Photographs at the scale pretrained: crops, folders, and resampling by photograph."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from photograph_folder import folder  # noqa: F401
from PIL import Image

import semrsm_jax as sj
from experiments.cka.compare import BOTH, comparisons
from experiments.cka.config import Architecture, CKAConfig, Part
from experiments.data import photographs
from experiments.data.photographs import (
    PhotographCrops,
    median_over_pairs,
    readers,
)
from experiments.data.shown import Shown
from experiments.frame.session import Session
from experiments.open_questions import windows
from experiments.output_correlation.config import OutputCorrelationConfig
from experiments.output_correlation.measure import measure
from experiments.translation.config import Case, WindowsConfig
from experiments.translation.pictures import WholePhotographs
from semrsm_jax.comparison import RSA, bootstrap_interval
from semrsm_jax.demo.photographs import SCENES
from semrsm_jax.output_similarity import jensen_shannon_matrix


def test_crops_are_of_all_photographs_alike_and_neighbors_of_different_ones(folder):
    drawn = PhotographCrops(16).draw(folder, 21, 3)
    assert drawn.images.shape == (21, 16, 16, 3)
    counts = np.bincount(drawn.photographs)
    assert len(counts) == 9 and set(counts) == {2, 3}
    for start in range(21 - 9 + 1):
        assert len(set(drawn.photographs[start : start + 9])) == 9
    again, other = (PhotographCrops(16).draw(folder, 21, seed) for seed in (3, 4))
    np.testing.assert_array_equal(drawn.images, again.images)
    assert (drawn.images != other.images).any()
    # Crops are of the photographs that they are said to be of, and differ.
    reds = [int(read()[0, 0, 0]) for read in readers(folder)]
    assert [reds[k] for k in drawn.photographs] == drawn.images[:, 0, 0, 0].tolist()
    first, second = np.flatnonzero(drawn.photographs == drawn.photographs[0])[:2]
    assert (drawn.images[first] != drawn.images[second]).any()
    assert drawn.pixels.max() == np.float32(drawn.images.max()) / 255


def test_photographs_are_scikit_images_by_default():
    assert len(readers(None)) == len(SCENES) == 18
    drawn = PhotographCrops(32).draw(None, 18, 0)
    assert set(drawn.photographs) == set(range(18))


def test_folders_that_will_not_do(folder, tmp_path):
    with pytest.raises(ValueError, match="at least 8 photographs, found 4"):
        readers(folder / "1")
    with pytest.raises(ValueError, match="does not exist"):
        readers(tmp_path / "none")
    for k in range(8):
        Image.new("RGB", (30, 30)).save(tmp_path / f"{k}.png")
    with pytest.raises(ValueError, match="are blank; remove it"):
        PhotographCrops(16).draw(tmp_path, 8, 0)
    config = WindowsConfig(
        WholePhotographs(), (Case("one", (), 20, 16),), crops=10, data=folder
    )
    with pytest.raises(ValueError, match="at least 10 photographs, found 9"):
        WholePhotographs()(config, config.cases[0], Session())


def test_batches_for_translation_show_different_photographs(folder, tmp_path):
    config = WindowsConfig(
        WholePhotographs(), (Case("one", (), 20, 16),), batches=3, crops=5, data=folder
    )
    crops = WholePhotographs()(config, config.cases[0], Session(tmp_path))
    assert crops.scenes.shape == (3, 5)
    assert all(len(set(scenes)) == 5 for scenes in crops.scenes.tolist())
    assert crops.read(2).shape == (5, 20, 20, 3) and crops.read(2).max() <= 1
    reds = [int(read()[0, 0, 0]) for read in readers(folder)]
    np.testing.assert_allclose(
        255 * crops.read(1)[:, 0, 0, 0], [reds[k] for k in crops.scenes[1]], rtol=1e-5
    )


# Intervals resample photographs


@pytest.mark.slow
def test_median_over_pairs_is_a_median_and_its_interval_is_over_photographs(rng):
    left, right = np.triu_indices(12, 1)
    worth = rng.normal(size=12)  # of a photograph, in all of its pairs
    values = worth[left] + worth[right] + 0.01 * rng.normal(size=len(left))
    interval = median_over_pairs(values, left, right, 0)
    assert interval.value == pytest.approx(np.median(values), rel=1e-5)
    assert interval.low < interval.value < interval.high
    # 66 independent pairs would give a narrower one.
    naive = 2 * 1.96 * 1.25 * values.std() / np.sqrt(len(values))
    assert interval.high - interval.low > naive


def test_a_resample_without_pairs_has_no_median():
    data = jnp.array([1.0, 2.0]), jnp.array([0, 1]), jnp.array([1, 2])
    assert photographs._median(data, jnp.array([1, 2, 1])) == 1.5
    assert np.isnan(photographs._median(data, jnp.array([0, 3, 0])))


@pytest.mark.parametrize(("count", "each"), [(8, 4), (8, 8), (8, 16), (9, 8), (17, 16)])
def test_windows_are_compared_on_pairs_of_different_photographs(count, each):
    photographs = np.resize(np.random.default_rng(0).permutation(count), 3 * 2 * each)
    order = windows.pair_order(photographs, 3, each)
    assert sorted(order.ravel()) == list(range(len(photographs)))
    left, right = photographs[order[:, 0]], photographs[order[:, 1]]
    assert (left != right).all()


@dataclass(frozen=True)
class Planted:
    """Tokens and logits of crops, five of each photograph."""

    def tokens(self, seed):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(6), 5)
        x = rng.normal(size=(6, 4, 3))[groups] + 0.2 * rng.normal(size=(30, 4, 3))
        logits = rng.normal(size=(6, 4))[groups] + 0.1 * rng.normal(size=(30, 4))
        return x.astype(np.float32), logits.astype(np.float32), groups

    def look(self, name, network, draw, session):
        x, logits, groups = self.tokens(len(network))
        tokens = {"first": x, "last": x[..., :2]}
        return Shown(tokens, logits, float("nan"), groups)


class PlantedLast(Planted):
    """One layer alone."""

    def look(self, name, network, draw, session):
        x, logits, groups = self.tokens(draw.seed)
        return Shown({"last": x}, logits, float("nan"), groups)


@pytest.mark.long
def test_output_correlation_resamples_groups(tmp_path):
    config = OutputCorrelationConfig(
        PlantedLast(), ("one",), samples=30, resamples=60, matcher=sj.Exact()
    )
    measured = measure(config, "one", Session(tmp_path))
    x, logits, groups = Planted().tokens(config.seed)
    K, L = (
        sj.rsm(sj.center(x), matcher=matcher, kernel=sj.Cosine())
        for matcher in (sj.Identity(), sj.Exact())
    )
    divergence = jensen_shannon_matrix(logits, from_logits=True)
    expected = bootstrap_interval(
        K,
        divergence,
        RSA("pearson"),
        key=config.seed,
        resamples=60,
        groups=groups,
        within_groups="drop",
    )
    ours = measured.correlations["cosine"]["pearson"]
    interval = ours.spatio_semantic
    value = float(sj.rsa(K, divergence, "pearson", groups=groups))
    assert interval.value == pytest.approx(value, abs=1e-4)
    assert interval.low == pytest.approx(float(expected.low), abs=1e-3)
    assert interval.low < interval.value < interval.high
    # The figure shows the pairs that count: 6 * 5 / 2 pairs of photographs, 25 each.
    assert measured.pairs["cosine"].divergence.shape == (15 * 25,)
    change = float(sj.rsa(L, divergence, "pearson", groups=groups)) - value
    assert ours.difference.value == pytest.approx(change, abs=1e-4)


@pytest.mark.long
def test_cka_resamples_groups(tmp_path):
    part = Part(
        "crops",
        Planted(),
        (Architecture("one", ("one",)), Architecture("other", ("three",))),
        (("one", "other"),),
        samples=30,
        batch=30,
        matcher=sj.Exact(),
    )
    compared = comparisons(CKAConfig((part,), resamples=60), Session())
    (kinds,) = (c for c in compared if c.titles == ("one", "one") and c.kernel == "RBF")
    x, _, groups = Planted().tokens(len("one"))
    x = sj.center(x)
    K = sj.rsm(x, matcher=sj.Exact(), kernel=sj.RBF())
    L = sj.rsm(x, matcher=sj.Identity(), kernel=sj.RBF())
    ours = kinds.intervals["one", "one"][0, 0]
    value = float(sj.cka(K, L, "unbiased", groups=groups))
    assert ours.value == pytest.approx(value, abs=1e-3)
    assert kinds.cka[BOTH]["unbiased"][0, 0] == ours.value
    assert ours.low < ours.value < ours.high
