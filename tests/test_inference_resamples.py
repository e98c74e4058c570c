"""Resamples and permutations are computed in parts, which Ctrl-C ends."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inference_cases import Product, features, rsms  # noqa: F401
from marks import long, slow

import semrsm_jax as sj
from semrsm_jax.comparison import SampleGroups
from semrsm_jax.comparison.inference import _batches
from semrsm_jax.comparison.inference import statistic as forms


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_parts(rsms, monkeypatch):
    K, L, _ = rsms
    calls = (
        lambda: sj.permutation_test(K, L, Product(), key=3, resamples=30).null,
        lambda: sj.bootstrap_interval(K, L, Product(), key=3, resamples=30)[:3],
        lambda: sj.paired_test(K[0], L[0], key=3, resamples=30).null,
    )
    expected = [call() for call in calls]
    monkeypatch.setattr(_batches, "_PART", 7 * K.size)
    for call, values in zip(calls, expected, strict=True):
        np.testing.assert_allclose(call(), values, rtol=1e-4, atol=1e-5)
    keys = jax.random.split(jax.random.key(3), 30)
    drawn = [jax.random.permutation(key, 20) for key in keys[:3]]
    null = [Product()(K, L[order][:, order]) for order in map(np.asarray, drawn)]
    np.testing.assert_allclose(expected[0][:3], null, rtol=1e-4, atol=1e-5)


FIRST = (sj.RSA("pearson"), sj.MutualKNN(3))
OTHERS = (sj.CKA(), sj.RSA(), sj.RSA("cosine"), sj.RSA("kendall_tau_a"), sj.Jaccard(3))


@pytest.mark.parametrize(
    "statistic, grouped",
    [
        *((each, False) for each in FIRST),
        slow(sj.CKA("biased"), False),
        *(long(each, False) for each in OTHERS),
        *(slow(each, True) for each in FIRST + OTHERS),
    ],
    ids=repr,
)
def test_the_forms_of_resamples_are_the_statistic(statistic, grouped, rng):
    """RSMs that are not symmetric, with ties, and samples that do not count."""
    K, L = np.round(rng.normal(size=(2, 12, 12)), 1).astype(np.float32)
    groups = SampleGroups(np.repeat(np.arange(6), 2)) if grouped else None
    of_groups = {"groups": groups} if grouped else {}
    order = jnp.asarray(np.repeat(2 * rng.permutation(6), 2) + np.tile([0, 1], 6))
    P, Q = (forms.prepared(statistic, m, groups) for m in (K, L))
    Q = forms.permuted(statistic, Q, order)
    np.testing.assert_allclose(
        forms.compare_prepared(statistic, P, Q, groups),
        statistic(K, L[order][:, order], **of_groups),
        rtol=2e-5,
        atol=2e-6,
    )
    counts = jnp.repeat(jnp.array([1.0, 0, 2, 1, 3, 1]), 2)
    P, Q = (forms.before_counts(statistic, jnp.asarray(m), groups) for m in (K, L))
    np.testing.assert_allclose(
        forms.compare_counted(statistic, P, Q, counts, groups),
        statistic(K, L, counts=counts, **of_groups),
        rtol=2e-5,
        atol=2e-6,
    )


INTERRUPTED = """
import signal, threading, time
import numpy as np
from semrsm_jax import CKA, RSA, bootstrap_interval, permutation_test
from semrsm_jax.comparison import score_interval
X = np.random.default_rng(0).normal(size=(200, 5)).astype("f")
K = X @ X.T
for call in (
    lambda n: bootstrap_interval(K, K + 1, key=0, resamples=n),
    lambda n: permutation_test(K, K, RSA("spearman"), key=0, resamples=n),
    lambda n: score_interval(np.repeat(X[:, 0], 40), key=0, resamples=n),
):
    call(50)
    started = []
    def interrupt():
        started.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)
    timer = threading.Timer(1, interrupt)
    timer.start()
    try:
        call(10**7)
        raise SystemExit("it ended by itself")
    except KeyboardInterrupt:
        print(time.perf_counter() - started[0])
"""


@pytest.mark.long
def test_ctrl_c_ends_millions_of_resamples(optimized):
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert max(map(float, result.stdout.split())) < 3
