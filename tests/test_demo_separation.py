"""How well RSMs separate pairs: values by hand, counts of scenes, intervals."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from semrsm_jax.demo.separation import (
    _pairs,
    _ranking,
    partner_is_nearest,
    score,
    separability,
)

# --- separation ----------------------------------------------------------------------


def test_partner_is_nearest_on_a_made_rsm():
    # Windows 0 and 1 are upper, 2 and 3 their lower ones.
    rsm = np.array(
        [
            [9.0, 0.1, 0.8, 0.3],
            [0.1, 9.0, 0.5, 0.4],
            [0.8, 0.5, 9.0, 0.4],
            [0.3, 0.4, 0.4, 9.0],
        ]
    )
    # 1 is nearer to 2 than to its partner 3; 3 ties between 1 and 2.
    assert partner_is_nearest(rsm).tolist() == [True, False, True, False]
    stacked = np.stack([rsm, rsm])
    assert partner_is_nearest(stacked).shape == (2, 4)
    np.testing.assert_array_equal(np.diag(rsm), 9)  # its input is left alone


def _made(batches=5, n=3, scenes=6, seed=0):
    rng = np.random.default_rng(seed)
    rsms = rng.normal(size=(2, batches, 2 * n, 2 * n))
    rsms = rsms + rsms.swapaxes(-1, -2)
    names = np.stack([rng.permutation(scenes)[:n] for _ in range(batches)])
    return rsms, names


@pytest.mark.slow
def test_score_separates_overlapping_from_unrelated_pairs():
    (spatio, semantic), scenes = _made()
    scores, _, _ = score(spatio, semantic, scenes, 50, 0.95, 0)
    overlapping = [spatio[b, i, i + 3] for b in range(5) for i in range(3)]
    unrelated = [
        spatio[b, i, j]
        for b in range(5)
        for i in range(6)
        for j in range(i + 1, 6)
        if j - i != 3
    ]
    np.testing.assert_array_equal(scores.overlapping, overlapping)
    assert sorted(scores.unrelated) == sorted(unrelated)
    wins = mannwhitneyu(overlapping, unrelated).statistic
    auroc = wins / (len(overlapping) * len(unrelated))
    assert scores.auroc.value == pytest.approx(auroc)
    share = partner_is_nearest(spatio).mean()
    assert scores.nearest_partner.value == pytest.approx(share)


def test_a_replicate_counts_pairs_as_often_as_its_scenes_are_drawn():
    """Ties, of rounded similarities, are half won."""
    rsms, scenes = _made()
    rsms = rsms.round()
    counts = np.array([2.0, 0, 1, 1, 0, 2])
    rankings = tuple(_ranking(rsm, *_pairs(rsm), scenes) for rsm in rsms)
    first, first_hits, second, second_hits, gain = separability(
        rankings, jnp.asarray(counts)
    )
    weight = counts[np.concatenate([scenes, scenes], axis=1)]
    i, j = np.triu_indices(6, 1)
    partner = i + 3 == j
    often = np.where(partner, weight[:, i], weight[:, i] * weight[:, j]).ravel()
    expected = []
    for rsm in rsms:
        of_pairs = np.tile(partner, 5), rsm[:, i, j].ravel()
        auroc = roc_auc_score(*of_pairs, sample_weight=often)
        nearest = np.average(partner_is_nearest(rsm), weights=weight)
        expected.append((auroc, nearest))
    np.testing.assert_allclose((first, first_hits), expected[0], rtol=1e-6)
    np.testing.assert_allclose((second, second_hits), expected[1], rtol=1e-6)
    assert gain == pytest.approx(expected[1][0] - expected[0][0], abs=1e-6)


@pytest.mark.slow
def test_intervals_hold_their_value_and_narrow_with_confidence():
    rsms, scenes = _made(batches=40, n=5, scenes=15)
    wide = score(*rsms, scenes, 500, 0.95, 0)
    narrow = score(*rsms, scenes, 500, 0.5, 0)
    for outer, inner in ((wide[0].auroc, narrow[0].auroc), (wide[2], narrow[2])):
        assert outer.low < inner.low < outer.value < inner.high < outer.high
    # Noise separates nothing.
    assert wide[0].auroc.low < 0.5 < wide[0].auroc.high
    assert wide[2].low < 0 < wide[2].high


@pytest.mark.slow
@pytest.mark.filterwarnings("error")  # ranks are integers, whatever the default dtype
def test_equal_rsms_gain_nothing():
    (spatio, _), scenes = _made()
    assert score(spatio, spatio, scenes, 50, 0.95, 0)[2] == (0, 0, 0)
