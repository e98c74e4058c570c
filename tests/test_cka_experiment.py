"""CKA of layers by both kinds of RSMs: planted answers, oracles, resuming."""

from dataclasses import dataclass

import numpy as np
import pytest
from study_runs import check_resumes

import semrsm_jax as sj
from experiments.cka.compare import ACROSS, BOTH, DIFFERENCE, KINDS, WITHIN, comparisons
from experiments.cka.config import Architecture, CKAConfig, Part
from experiments.cka.figures import short_names
from experiments.cka.findings import findings
from experiments.cka.measure import ESTIMATORS, SEMANTIC, SPATIO
from experiments.data.draw import Draw
from experiments.data.shown import Shown
from experiments.frame.finding import Number
from experiments.frame.session import Session


@dataclass(frozen=True)
class Planted:
    """Networks of the same tokens: those of "b" stand elsewhere in each image."""

    def look(self, name, network, draw, session):
        rng = np.random.default_rng(draw.seed)
        first = rng.normal(size=(draw.samples, 9, 4)) + 1
        second = np.tanh(first @ rng.normal(size=(4, 6)))
        tokens = {"first": first, "second.0": second}
        if network == "b":
            order = rng.permuted(np.tile(np.arange(9), (draw.samples, 1)), axis=1)
            tokens = {
                layer: np.take_along_axis(x, order[..., None], 1)
                for layer, x in tokens.items()
            }
        tokens = {k: x.astype(np.float32) for k, x in tokens.items()}
        return Shown(tokens, np.zeros((draw.samples, 1)), 0.25)


ARCHITECTURES = (Architecture("net", ("a", "b")), Architecture("other", ("c",)))
PART = Part("points", Planted(), ARCHITECTURES, (("net", "other"),), 24, 12, sj.Exact())
CONFIG = CKAConfig((PART,), resamples=40)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return comparisons(CONFIG, Session(tmp_path_factory.mktemp("planted")))


def one(compared, what, title="net", kernel="linear"):
    (each,) = (
        each
        for each in compared
        if (each.what, each.titles[0], each.kernel) == (what, title, kernel)
        and "seed" in each.titles[1] + "seed" * (what != ACROSS or title == "other")
    )
    return each


def oracle(row, column, kernel, matchers, estimator):
    """CKA of two layers by the public functions: HSICs summed over both batches."""

    def hsic(K, L):
        return sum(float(sj.hsic(k, m, estimator)) for k, m in zip(K, L, strict=True))

    K, L = (
        [
            sj.rsm(batch, None, matcher, kernel)
            for batch in np.split(np.asarray(sj.center(tokens)), 2)
        ]
        for tokens, matcher in zip((row, column), matchers, strict=True)
    )
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


@pytest.mark.slow
def test_semantic_rsms_see_that_tokens_only_moved(compared):
    """And so they are the same for both networks; spatio-semantic ones are not."""
    across = one(compared, ACROSS)
    assert across.networks == (("a", "b"),)
    for layer in (0, 1):
        assert across.cka[SEMANTIC]["unbiased"][layer, layer] == pytest.approx(1)
        assert across.cka[SPATIO]["unbiased"][layer, layer] < 0.7
        interval = across.intervals["a", "b"][layer, layer]
        assert 0 < interval.low < interval.value < interval.high
        assert interval.value == across.cka[DIFFERENCE]["unbiased"][layer, layer]


@pytest.mark.slow
def test_values_are_those_of_the_public_functions(compared):
    draw = Draw(24, CONFIG.seed, None)
    a, b, c = (Planted().look("", n, draw, None).tokens for n in "abc")
    spatio, semantic, linear = sj.Identity(), sj.Exact(), sj.Linear()
    for estimator in ("unbiased", "biased"):
        kinds = one(compared, KINDS, "other", "RBF").cka[BOTH][estimator]
        assert kinds[0, 1] == pytest.approx(
            oracle(c["first"], c["second.0"], sj.RBF(), (semantic, spatio), estimator),
            abs=1e-4,
        )
        within = one(compared, WITHIN)
        for kind, matcher in ((SPATIO, spatio), (SEMANTIC, semantic)):
            values = [
                oracle(x["first"], x["second.0"], linear, (matcher,) * 2, estimator)
                for x in (a, b)
            ]
            ours = within.cka[kind][estimator]
            assert ours[0, 1] == pytest.approx(np.mean(values), abs=1e-4)
            np.testing.assert_allclose(ours, ours.T, rtol=1e-6)
            np.testing.assert_allclose(np.diag(ours), 1, rtol=1e-6)
        across = one(compared, ACROSS)
        assert across.cka[SPATIO][estimator][1, 0] == pytest.approx(
            oracle(a["second.0"], b["first"], linear, (spatio,) * 2, estimator),
            abs=1e-4,
        )
        np.testing.assert_array_equal(
            across.cka[DIFFERENCE][estimator],
            across.cka[SEMANTIC][estimator] - across.cka[SPATIO][estimator],
        )


@pytest.mark.slow
def test_all_comparisons_are_made(compared):
    made = [(each.what, each.titles, each.kernel) for each in compared]
    assert made == [
        *((KINDS, (name, name), "linear") for name in ("net", "other")),
        *((WITHIN, (name, name), "linear") for name in ("net", "other")),
        (ACROSS, ("net", "net, another seed"), "linear"),
        (ACROSS, ("net", "other"), "linear"),
        *((KINDS, (name, name), "RBF") for name in ("net", "other")),
    ]
    kinds = one(compared, KINDS)
    assert set(kinds.intervals) == {("a", "a"), ("b", "b")}
    assert set(kinds.intervals["b", "b"]) == {(0, 0), (1, 1)}
    assert set(one(compared, WITHIN).intervals["a", "a"]) == {(0, 1)}
    assert kinds.tokens == ((9, 9), (9, 9)) and kinds.accuracy == (0.25, 0.25)


@pytest.mark.slow
def test_findings_judge_depth_and_changes(compared):
    kinds = one(compared, KINDS)
    cells = kinds.intervals["a", "a"]
    for rising in (True, False):
        ends = [Number(0.5, 0.4, 0.6), Number(0.9, 0.8, 1.0)][:: 1 if rising else -1]
        intervals = {("a", "a"): dict(zip(cells, ends, strict=True))}
        (finding,) = findings([kinds._replace(intervals=intervals)])
        assert finding.verdict == ("agrees" if rising else "differs")
        assert rising or "shallow" in finding.reason
        assert finding.source == "Fig. 15"
        assert [q.values[0] for q in finding.ours] == ends
    for what, paper in ((WITHIN, "Fig. 16"), (ACROSS, "Fig. 17")):
        each = one(compared, what)
        for change, agrees in ((-0.1, True), (0.3, False)):
            cka = {DIFFERENCE: dict.fromkeys(ESTIMATORS, np.full((2, 2), change))}
            (finding,) = findings([each._replace(cka=cka)])
            assert paper in finding.source
            assert finding.verdict == ("agrees" if agrees else "differs")
            assert finding.ours[0].values[0].value == pytest.approx(change)
    # Both kinds first, then what changes.
    sources = [finding.source[-7:] for finding in findings(compared)]
    assert sources == ["Fig. 15"] * 4 + ["Fig. 16"] * 2 + ["Fig. 17"] * 2


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """It stops within the second network: what was matched stays as it is."""
    _, calls, _ = check_resumes(
        *(monkeypatch, Session, "run"),
        lambda calls: calls[-1][1] == "points/b/semantic/first/1",
        lambda: comparisons(CONFIG, Session(tmp_path)),
        tmp_path,
    )
    names = [name for _, name, *_ in calls]
    # The first network is a step that is done.
    assert not any(name.startswith("points/a/") for name in names)
    assert {name.split("/")[1] for name in names} == {"b", "c"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 25}, "samples must be batches of at least 4, got 25 in batches"),
        ({"batch": 3, "samples": 24}, "at least 4"),
        ({"samples": 24, "across": (("net", "none"),)}, "across must name two"),
        ({"samples": 24, "architectures": ARCHITECTURES[1:]}, "none has several"),
    ],
)
def test_parts_that_make_no_sense_are_refused(settings, message):
    settings = {"architectures": ARCHITECTURES, "batch": 12, **settings}
    with pytest.raises(ValueError, match=message):
        Part("points", Planted(), **settings)


def test_names_of_layers_are_short():
    layers = (
        "resnet.embedder",
        "resnet.encoder.stages.0.layers.1",
        "vit.encoder.layer.3",
        "vit.layernorm",
    )
    assert short_names(layers) == ["stem", "1.2", "4", "norm"]
