"""The demo: windows, the whole run, and the claim of section 4.1."""

import json
from dataclasses import replace

import numpy as np
import pytest

from semrsm_jax.demo import (
    COLUMNS,
    DEMO_NETWORK,
    Stage,
    TranslationConfig,
    run,
    table_rows,
    to_json,
)
from semrsm_jax.matching import Exact, Identity
from semrsm_jax.models import ResNetConfig

# 32x32 windows: S = 64 and 16 at the last two stages.
SMALL = TranslationConfig(
    crops=8,
    crops_per_batch=4,
    crop_size=42,
    window_size=32,
    network=ResNetConfig(
        18, "cifar", None, width=8, blocks=(1,) * 4, widths=(8, 16, 32, 64)
    ),
    stages=(
        Stage("resnet.encoder.stages.2", Exact()),
        Stage("resnet.encoder.stages.3", Exact()),
    ),
    replicates=200,
)


@pytest.fixture(scope="module")
def calls():
    """What `small` reported of its progress."""
    return []


@pytest.fixture(scope="module")
def small(calls):
    return run(SMALL, lambda *call: calls.append(call))


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


def test_progress_rises_to_the_total_under_each_description(small, calls):
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


@pytest.mark.long
def test_semantic_rsms_find_shifted_copies_at_full_settings():
    """The claim of section 4.1, as the demo shows it."""
    result = run()
    assert len(result.crops.images) >= 100 and len(result.stages) == 8
    for stage in result.stages:
        assert stage.semantic.auroc.value >= stage.spatio_semantic.auroc.value
        if stage.tokens >= 256:
            assert stage.gain.value >= 0.1 and stage.gain.low > 0
            assert stage.semantic.nearest_partner.value > 0.9
