"""The studies of soft matching run from end to end, tiny, and mean what they say."""

import numpy as np
import pytest
from study_runs import run_smoke

from experiments.scenes.digits import load_digits
from experiments.soft import distill, optimize, stereo, temperature
from experiments.soft.scenes import draw_scenes, render


@pytest.fixture
def smoke(tmp_path):
    """Runs a study and checks its files; gives its JSON."""
    return lambda study: run_smoke(study, tmp_path / "new")


@pytest.mark.slow
def test_value_rises_to_the_exact_one_as_epsilon_falls(smoke):
    document = smoke(temperature.STUDY)
    *soft, limit = document["rows"]
    epsilons = [row["epsilon"] for row in soft]
    assert epsilons == sorted(epsilons, reverse=True) and limit["epsilon"] == 0
    values = [row["value / exact value"] for row in soft]
    assert values == sorted(values)
    assert 1 - values[-1] < 1e-3
    entropies = [row["plan entropy / log S"] for row in soft]
    assert entropies == sorted(entropies, reverse=True)
    assert entropies[0] > 0.98 and entropies[-1] < 0.1
    assert soft[-1]["correlation with the exact RSM"] > 1 - 1e-4
    assert document["summary"]["values that are NaN"] == 0


@pytest.mark.slow
def test_semantic_matching_beats_position_wise_on_the_stereo_pair(smoke):
    document = smoke(stereo.STUDY)
    summary = document["summary"]
    margin = summary["margin of soft over position-wise"]
    assert 0 < margin["low"] < margin["value"] < margin["high"]
    # At the same place the error is the disparity itself.
    for row in document["rows"]:
        assert row["error, position-wise"] == pytest.approx(row["disparity"], abs=1e-3)


@pytest.mark.slow
def test_truth_of_the_stereo_pair_is_where_the_same_colors_are():
    pair = stereo.run(stereo.SCALES["smoke"]).pair
    pixels = [image.mean(-1) for image in (pair.left, pair.right)]

    def differences(places):
        starts, ends = (
            p[pair.known].round().astype(int) for p in (pair.places, places)
        )
        inside = (ends >= 4).all(1)
        starts, ends = starts[inside], ends[inside]
        return np.mean(
            [
                np.abs(
                    pixels[0][r - 4 : r + 5, c - 4 : c + 5]
                    - pixels[1][s - 4 : s + 5, d - 4 : d + 5]
                ).mean()
                for (r, c), (s, d) in zip(starts, ends, strict=True)
            ]
        )

    truth = np.where(pair.known[:, None], pair.truth, pair.places)
    assert differences(truth) < 0.7 * differences(pair.places)


@pytest.mark.long
def test_optimized_images_keep_their_position_wise_similarity(smoke):
    document = smoke(optimize.STUDY)
    summary = document["summary"]
    assert summary["semantic: rise of semantic similarity"]["value"] > 0.05
    assert summary["semantic: rise of position-wise similarity"]["value"] < 0.02
    assert summary["position-wise: rise of position-wise similarity"]["value"] > 0.1
    for row in document["rows"]:
        # No matching beats the exact one.
        assert row["semantic similarity"] > row["position-wise similarity"] - 1e-4


@pytest.mark.long
def test_distillation_scores_both_students_alike(smoke):
    document = smoke(distill.STUDY)
    table = document["rows"]
    networks = {row["network"] for row in table}
    assert networks == {"semantic", "spatio-semantic", "teacher"}
    assert len(table) == 3 * 2 * 5 * 2  # networks, seeds, measures, shifts
    assert all(0 <= row["score"] <= 1 for row in table)
    unshifted = [r for r in table if r["measure"].startswith("own") and not r["shift"]]
    assert {row["score"] for row in unshifted} == {1.0}


def test_scenes_hold_each_digit_where_it_is_said_to_stand(rng):
    digits, test = load_digits(0.3, rng)
    assert len(digits.images) + len(test.images) == 1797
    scenes = draw_scenes(digits, 20, 3, (8, 32), 1, rng)
    images = render(digits, scenes, 40)
    moved = render(digits, scenes, 40, np.tile([8, -8], (20, 1)))
    np.testing.assert_array_equal(moved[:, 8:, :-8], images[:, :-8, 8:])
    for n in range(20):
        labels = digits.labels[scenes.digits[n]]
        assert set(labels) == set(np.flatnonzero(scenes.present[n]))
        for digit, (row, column) in zip(
            scenes.digits[n], scenes.corners[n], strict=True
        ):
            np.testing.assert_array_equal(
                images[n, row : row + 8, column : column + 8, 0], digits.images[digit]
            )
    with pytest.raises(ValueError, match="shift must keep"):
        render(digits, scenes, 40, (30, 0))
    with pytest.raises(ValueError, match="objects must be 1 to 9"):
        draw_scenes(digits, 2, 10, (8, 32), 1, rng)
