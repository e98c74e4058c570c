"""semrsm correlate."""

import json
from pathlib import Path

import numpy as np
import pytest
from shell import N, as_json, done, load, refused, run

import semrsm_jax as sj
from semrsm_jax.comparison import RSA
from semrsm_jax.comparison.inference import bootstrap_interval, difference_test
from semrsm_jax.store import save_rsm


@pytest.fixture
def outputs(matrices, rng) -> np.ndarray:
    logits = 2 * rng.normal(size=(N, 4))
    np.save("logits.npy", logits)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.savez("p.npz", p=p, other=p)
    return logits


def test_correlate_equals_the_function(outputs):
    document = as_json("correlate", "a.npy", "b.npy", "--logits", "logits.npy")
    shown = (document["against"], document["samples"], document["classes"])
    assert shown == ("JSD", N, 4)
    for name, row in zip("ab", document["correlations"], strict=True):
        expected = sj.output_correlation(*load(name), outputs, from_logits=True)
        assert row == {"rsm": f"{name}.npy", **expected._asdict()}
    probabilities = ("--probabilities", "p.npz", "--key", "p", "--negative")
    other = as_json("correlate", "a.npy", *probabilities, "--no-ranks", "--all-pairs")
    assert other["against"] == "-JSD"
    (row,) = other["correlations"]
    assert row["pearson"] == pytest.approx(-document["correlations"][0]["pearson"])
    assert row["spearman"] is None and row["pairs"] == N * (N - 1)
    out = done("correlate", "a.npy", "--logits", "logits.npy")
    assert f"Pearson   {document['correlations'][0]['pearson']:+.6f}" in out


@pytest.mark.slow
def test_correlate_with_intervals_and_a_figure(outputs):
    arguments = ("correlate", "a.npy", "b.npy", "--logits", "logits.npy")
    options = ("--bootstrap", 20, "--plot", "c.pdf", "--json")
    document = json.loads(run(*arguments, *options)[1])
    assert Path("c.pdf").read_bytes().startswith(b"%PDF")
    divergence = sj.jensen_shannon_matrix(outputs, from_logits=True)
    a, b = load(*"ab")
    first, second = document["correlations"]
    interval = bootstrap_interval(a, divergence, RSA("spearman"), key=0, resamples=20)
    assert first["spearman_low"] == pytest.approx(float(interval.low))
    assert "less_first" not in first
    test = difference_test(
        (b, divergence), (a, divergence), RSA("pearson"), key=0, resamples=20
    )
    assert second["less_first"]["p_value"] == pytest.approx(float(test.p_value))
    out = run(*arguments, "--bootstrap", 20)[1]
    assert "Pearson less that of the first" in out


@pytest.mark.slow
def test_groups_that_an_rsm_carries_are_left_out_by_none(outputs):
    (a,) = load("a")
    save_rsm("g.npy", a, x_groups=[f"{i // 2}" for i in range(N)])
    options = ("--logits", "logits.npy", "--no-ranks", "--bootstrap", 20)
    _, out, _ = run("correlate", "g.npy", *options, "--groups", "none", "--json")
    (row,) = json.loads(out)["correlations"]
    divergence = sj.jensen_shannon_matrix(outputs, from_logits=True)
    expected = bootstrap_interval(a, divergence, RSA("pearson"), key=0, resamples=20)
    assert row["pearson_low"] == pytest.approx(float(expected.low), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.npy",), "either --logits or --probabilities"),
        (("a.npy", "--logits", "logits.npy", "--probabilities", "p.npz"), "not both"),
        (("a.npy", "--logits", "a.npy", "--plot", "a.npy"), "must end in one of .png"),
        (("a.npy", "--logits", "short.npy"), "short.npy must have shape (N, classes)"),
        (("d.npy", "--logits", "logits.npy"), "must hold a square RSM"),
    ],
)
def test_correlate_refuses(outputs, arguments, message):
    np.save("short.npy", outputs[:3])
    assert message in refused("correlate", *arguments)
