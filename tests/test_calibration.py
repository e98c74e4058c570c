"""Simulated rates of intervals and tests, a cell or two; the guide has the others."""

import numpy as np
import pytest
from study_runs import run_smoke

from experiments.calibration import simulate
from experiments.calibration.config import SCALES, CalibrationConfig, Design
from experiments.calibration.study import STUDY
from experiments.frame.environment import plain
from semrsm_jax import CKA


@pytest.mark.long
def test_the_study_runs_and_its_table_has_a_row_a_cell(tmp_path):
    document = run_smoke(STUDY, tmp_path)
    assert [row["statistic"] for row in document["rows"]] == ["CKA", "mean"]
    assert document["summary"]["data sets of each"] == 4
    assert document["config"] == plain(SCALES["smoke"])


@pytest.mark.slow
def test_groups_share_what_the_design_says():
    design = Design(400, 4, 0.9)
    draws = simulate._draw("gaussian", design, 8, simulate.jax.random.key(0))
    groups = np.asarray(draws).reshape(400, 4, 8)
    between = np.var(groups.mean(1)) - np.var(groups, axis=1, ddof=1).mean() / 4
    assert between == pytest.approx(0.9, abs=0.1)
    assert np.var(groups) == pytest.approx(1, abs=0.1)


@pytest.mark.long
def test_grouped_samples_reject_and_cover_as_often_as_they_should():
    """At 200 data sets, four standard errors wide."""
    design = Design(20, 4, 0.9)
    config = CalibrationConfig((design,), data_sets=200)
    rates = simulate._rates(config, "gaussian", design, "CKA")
    assert rates.permutation < 0.11 and rates.difference < 0.11
    assert rates.coverage > 0.88
    # Without their groups, a true null hypothesis is rejected most of the time.
    plain = CalibrationConfig((design,), data_sets=40, resamples=99)
    keys = simulate.jax.random.split(simulate.jax.random.key(0), 40)
    wrong = []
    for key in keys:
        first, _, _, unrelated = simulate.views("gaussian", design, plain.channels, key)
        test = simulate.permutation_test(
            simulate.gram(first),
            simulate.gram(unrelated),
            CKA(),
            key=0,
            resamples=plain.resamples,
        )
        wrong.append(float(test.p_value) <= 0.05)
    assert np.mean(wrong) > 0.5
