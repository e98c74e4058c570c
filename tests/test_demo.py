"""The demo: statistics by hand, the whole run, and the claim of section 4.1."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from semrsm_jax.demo import (
    COLUMNS,
    DEMO_NETWORK,
    Stage,
    TranslationConfig,
    run,
    table_rows,
    to_json,
)
from semrsm_jax.demo.networks import random_network, trained_network
from semrsm_jax.demo.photographs import (
    SCENES,
    draw_crops,
)
from semrsm_jax.demo.separation import (
    _pairs,
    _ranking,
    auroc,
    partner_is_nearest,
    score,
    separability,
)
from semrsm_jax.matching import Exact, Identity
from semrsm_jax.models import ResNetConfig

pytest.importorskip("skimage")


# 32x32 windows: S = 64 and 16 at the last two stages.
SMALL = TranslationConfig(
    crops=8,
    crops_per_batch=4,
    crop_size=42,
    window_size=32,
    network=ResNetConfig(18, "cifar", None, width=8),
    stages=(
        Stage("resnet.encoder.stages.2", Exact()),
        Stage("resnet.encoder.stages.3", Exact()),
    ),
    replicates=200,
)


@pytest.fixture(scope="module")
def small():
    return run(SMALL)


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(3)
    return draw_crops(6, 10, 84, rng, lambda crop: crop.std() > 0.01)


@pytest.mark.slow
def test_shared_pixels_have_the_contrast_asked_for(small):
    def contrasts(result):
        shared = result.crops.images[:, 10:32, :32]
        gray = shared @ np.array([0.299, 0.587, 0.114])
        return gray.std(axis=(1, 2))

    assert contrasts(small).min() >= SMALL.least_contrast - 1e-6
    # Without the rule there are blank ones.
    stages = SMALL.stages[1:]
    blank = run(replace(SMALL, crops=40, least_contrast=0, stages=stages))
    assert contrasts(blank).min() < SMALL.least_contrast


# --- separation ----------------------------------------------------------------------


def test_auroc_by_hand():
    assert auroc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert auroc(np.array([1.0]), np.array([2.0, 3.0])) == 0
    # Wins: 2>1, 2=2, 2<3 -> 1.5 of 3; and 4 beats all three.
    assert auroc(np.array([2.0, 4.0]), np.array([1.0, 2.0, 3.0])) == 4.5 / 6


def test_auroc_is_mann_whitneys_u():
    rng = np.random.default_rng(0)
    # Rounded, so that there are ties.
    positive = np.round(rng.normal(0.5, 1, 40), 1)
    negative = np.round(rng.normal(0, 1, 300), 1)
    u = mannwhitneyu(positive, negative).statistic
    assert auroc(positive, negative) == pytest.approx(u / (40 * 300), abs=1e-12)


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
    assert scores.auroc.value == pytest.approx(
        auroc(np.array(overlapping), np.array(unrelated))
    )
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
    expected = []
    for rsm in rsms:
        won, pairs, hits, asked = 0.0, 0.0, 0.0, 0.0
        weight = counts[np.concatenate([scenes, scenes], axis=1)]
        negatives = [
            (rsm[b, i, j], weight[b, i] * weight[b, j])
            for b in range(5)
            for i in range(6)
            for j in range(i + 1, 6)
            if j - i != 3
        ]
        for b in range(5):
            for i in range(6):
                asked += weight[b, i]
                hits += weight[b, i] * partner_is_nearest(rsm[b])[i]
            for i in range(3):
                for value, often in negatives:
                    won += weight[b, i] * often * (rsm[b, i, i + 3] > value)
                    won += weight[b, i] * often * (rsm[b, i, i + 3] == value) / 2
                    pairs += weight[b, i] * often
        expected.append((won / pairs, hits / asked))
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


def test_equal_rsms_gain_nothing():
    (spatio, _), scenes = _made()
    assert score(spatio, spatio, scenes, 50, 0.95, 0)[2] == (0, 0, 0)


# --- the whole run -------------------------------------------------------------------


def test_result_has_every_stage_and_pair(small):
    assert [stage.tokens for stage in small.stages] == [64, 16]
    assert [stage.channels for stage in small.stages] == [32, 64]
    for stage in small.stages:
        for scores in (stage.spatio_semantic, stage.semantic):
            assert scores.rsms.shape == (2, 8, 8)
            assert scores.overlapping.shape == (8,)
            assert scores.unrelated.shape == (2 * (28 - 4),)
            np.testing.assert_array_equal(scores.rsms, scores.rsms.swapaxes(-1, -2))
            np.testing.assert_array_equal(np.diagonal(scores.rsms, 0, 1, 2), 1)


@pytest.fixture(scope="module")
def both():
    """The network that comes with weights, at its last stage: S = 16."""
    return run(replace(SMALL, network=DEMO_NETWORK, stages=SMALL.stages[1:]))


@pytest.mark.slow
def test_trained_weights_stand_beside_random_ones(both, small):
    assert both.config.weights == ("trained", "random")
    assert [stage.weights for stage in both.stages] == ["trained", "random"]
    trained, random = both.stages
    assert trained.layer == random.layer and trained.matcher == random.matcher
    assert not np.allclose(trained.semantic.rsms, random.semantic.rsms)
    rows = table_rows(both)
    assert [row["weights"] for row in rows] == ["trained"] * 2 + ["random"] * 2
    stated = to_json(both)["stages"]
    assert [stage["weights"] for stage in stated] == ["trained", "random"]
    # No weights come with another architecture.
    assert small.config.weights == ("random",)
    assert {stage.weights for stage in small.stages} == {"random"}


@pytest.mark.slow
def test_the_trained_network_names_what_it_has_seen(crops):
    from semrsm_jax.demo.networks import normalize

    images = normalize(crops.images[:20, 10:74, 10:74])
    said = trained_network()(images).argmax(1)
    truth = [SCENES.index(scene) for scene in crops.scenes[:20]]
    assert np.mean(np.asarray(said) == truth) >= 0.5
    random = random_network(DEMO_NETWORK, 0, images)(images).argmax(1)
    assert np.mean(np.asarray(random) == truth) < 0.5


def test_the_seed_fixes_every_number(small):
    again, other = run(SMALL), run(replace(SMALL, seed=1))
    assert to_json(again) == to_json(small)
    assert to_json(other)["table"] != to_json(small)["table"]
    assert not np.array_equal(other.crops.regions, small.crops.regions)


def test_identity_as_both_matchers_gives_one_rsm_twice():
    stages = (Stage("resnet.encoder.stages.3", Identity()),)
    (stage,) = run(replace(SMALL, stages=stages)).stages
    np.testing.assert_array_equal(stage.semantic.rsms, stage.spatio_semantic.rsms)
    assert stage.gain == (0, 0, 0)


def test_progress_rises_to_the_total_under_each_description():
    calls = []
    run(SMALL, lambda *call: calls.append(call))
    descriptions = list(dict.fromkeys(call[0] for call in calls))
    assert len(descriptions) == 2
    for description in descriptions:
        done = [call[1] for call in calls if call[0] == description]
        totals = {call[2] for call in calls if call[0] == description}
        assert done == sorted(done) and totals == {done[-1]}


def test_table_and_json_are_plain(small):
    rows = table_rows(small)
    assert len(rows) == 4 and all(list(row) == list(COLUMNS) for row in rows)
    assert [row["rsm"] for row in rows[:2]] == ["spatio-semantic", "semantic"]
    assert [row["shift"] for row in rows] == [2.5, 2.5, 1.25, 1.25]
    assert rows[0]["gain"] is None
    assert rows[1]["gain"] == pytest.approx(rows[1]["auroc"] - rows[0]["auroc"])
    assert rows[1]["overlapping"] == small.stages[0].semantic.overlapping.mean()
    report = json.loads(json.dumps(to_json(small), allow_nan=False))
    assert report["table"] == rows
    assert report["config"]["seed"] == 0
    assert report["config"]["stages"][0]["matcher"]["type"] == "Exact"
    assert report["config"]["kernel"] == {"type": "RBF", "bandwidth": None}
    assert report["versions"]["jax"] and report["versions"]["scikit-image"]
    assert len(report["crops"]) == 8
    assert {crop["file"] for crop in report["crops"]} <= set(report["credits"])
    np.testing.assert_allclose(
        report["stages"][1]["semantic"]["rsms"],
        small.stages[1].semantic.rsms,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crops": 9}, "crops must be a multiple of crops_per_batch=4, got 9"),
        ({"crops": 0}, "crops must be at least 4, got 0"),
        ({"crops_per_batch": 1}, "crops_per_batch must be at least 2, got 1"),
        ({"crops_per_batch": 19}, "crops_per_batch must be at most 18.*got 19"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"window_size": 21}, "window_size.*got 21 for 42"),
        ({"window_size": 42}, "window_size.*got 42 for 42"),
        ({"least_contrast": 0.5}, "least_contrast must be.*got 0.5"),
        ({"stages": ()}, "stages must name at least one layer"),
        ({"replicates": 0}, "replicates must be at least 2, got 0"),
        ({"confidence": 1.0}, "confidence must be between 0 and 1, got 1.0"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_configs_compare_by_value():
    assert TranslationConfig() == TranslationConfig()
    assert hash(TranslationConfig()) == hash(TranslationConfig())
    assert TranslationConfig(seed=1) != TranslationConfig()


@pytest.mark.slow
def test_semantic_rsms_find_shifted_copies_at_full_settings():
    """The claim of section 4.1, as the demo shows it."""
    result = run()
    assert len(result.crops.images) >= 100 and len(result.stages) == 8
    for stage in result.stages:
        assert stage.semantic.auroc.value >= stage.spatio_semantic.auroc.value
        if stage.tokens >= 256:
            assert stage.gain.value >= 0.1 and stage.gain.low > 0
            assert stage.semantic.nearest_partner.value > 0.9
