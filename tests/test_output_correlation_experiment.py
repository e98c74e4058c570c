"""Similarities against outputs: planted answers, oracles, files, resuming.

Intervals are of 12 images and 40 resamples throughout, so that they are compiled once.
"""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.special
import scipy.stats
from checkpoints import write_torchvision_resnet
from class_images import write_noise
from PIL import Image
from scipy.spatial.distance import pdist
from study_runs import check_resumes

import semrsm_jax as sj
from experiments.data.draw import Draw
from experiments.data.shown import Shown
from experiments.frame.finding import Number
from experiments.frame.session import Session
from experiments.output_correlation import measure as measuring
from experiments.output_correlation.classifiers import OnImageNet, title
from experiments.output_correlation.config import OutputCorrelationConfig
from experiments.output_correlation.findings import findings
from experiments.output_correlation.measure import METRICS, Result, measure
from experiments.output_correlation.paper import TABLE_1, TABLE_4, published
from experiments.output_correlation.study import STUDY
from semrsm_jax.models import load

KERNELS = {"cosine": sj.Cosine(), "inner product": sj.Linear(), "RBF": sj.RBF()}


def expected(tokens, logits, kernel, matcher):
    """Both correlations, over the pairs i < j, by SciPy."""
    K = np.asarray(sj.rsm(sj.center(tokens), None, matcher, kernel))
    p = scipy.special.softmax(np.asarray(logits, np.float64), 1)
    pairs = np.triu_indices(len(p), 1)
    divergence = pdist(p, "jensenshannon") ** 2
    return {
        "pearson": float(scipy.stats.pearsonr(K[pairs], divergence).statistic),
        "spearman": float(scipy.stats.spearmanr(K[pairs], divergence).statistic),
    }


def check_values(result, tokens, logits):
    for name, kernel in KERNELS.items():
        spatio = expected(tokens, logits, kernel, sj.Identity())
        semantic = expected(tokens, logits, kernel, sj.Exact())
        for metric in METRICS:
            ours = result[name][metric]
            assert ours.spatio_semantic.value == pytest.approx(spatio[metric], abs=1e-4)
            assert ours.semantic.value == pytest.approx(semantic[metric], abs=1e-4)
            assert ours.difference.value == pytest.approx(
                semantic[metric] - spatio[metric], abs=2e-4
            )
            for interval in ours:
                assert interval.low <= interval.value <= interval.high


# What is planted is found


@dataclass(frozen=True)
class Planted:
    """Tokens that say the class, each image's in an order of its own."""

    def look(self, name, network, draw, session):
        rng = np.random.default_rng(draw.seed)
        label = np.arange(draw.samples) % 3
        tokens = rng.normal(size=(3, 9, 5))[label]
        tokens = np.stack([image[rng.permutation(9)] for image in tokens])
        tokens += 0.3 * rng.normal(size=tokens.shape)
        logits = 4 * np.eye(3)[label] + rng.normal(size=(len(label), 3))
        tokens = {"last": tokens.astype(np.float32)}
        return Shown(tokens, logits.astype(np.float32), 0.5)


def planted(**settings):
    settings = {"samples": 12, "resamples": 40, **settings}
    return OutputCorrelationConfig(Planted(), ("one",), **settings)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """What is found where the places of the tokens say nothing."""
    return measure(planted(), "one", Session(tmp_path_factory.mktemp("planted")))


@pytest.mark.slow
def test_matching_predicts_outputs_where_places_say_nothing(shuffled):
    for metrics in shuffled.correlations.values():
        assert metrics["pearson"].semantic.value < -0.5
        assert metrics["pearson"].semantic.high < 0
        assert metrics["pearson"].spatio_semantic.value > -0.4
        assert metrics["pearson"].difference.high < 0
    assert shuffled.title == "one" and shuffled.accuracy == 0.5
    pairs = shuffled.pairs["cosine"]
    assert pairs.divergence.shape == pairs.semantic.shape == (12 * 11 // 2,)
    r = scipy.stats.pearsonr(pairs.semantic, pairs.divergence)[0]
    pearson = shuffled.correlations["cosine"]["pearson"]
    assert r == pytest.approx(pearson.semantic.value)


@pytest.mark.slow
def test_values_are_those_of_scipy(shuffled):
    answers = Planted().look("", "one", Draw(12, 1, None), None)
    check_values(shuffled.correlations, answers.tokens["last"], answers.logits)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path, shuffled, monkeypatch):
    """It stops between two kernels: neither the first nor a matching is done again."""
    again, calls, _ = check_resumes(
        *(monkeypatch, measuring, "_compared"),
        lambda calls: len(calls) == 2,
        lambda: measure(planted(), "one", Session(tmp_path)),
        tmp_path,
    )
    assert [kernel for *_, kernel in calls] == [sj.Linear(), sj.RBF()]
    assert again.correlations == shuffled.correlations


# Intervals of fewer images than there are


@pytest.mark.slow
def test_more_images_than_are_resampled(tmp_path):
    """Estimates are of all images; intervals of some, and narrower than theirs."""
    config = planted(samples=24, interval_samples=12)
    result = measure(config, "one", Session(tmp_path))
    answers = Planted().look("", "one", Draw(24, 1, None), None)
    check_values(result.correlations, answers.tokens["last"], answers.logits)
    assert result.pairs["cosine"].divergence.shape == (12 * 11 // 2,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("better", "samples", "table"), [(3, 12, "Table 1"), (2, 20000, "Table 4")]
)
def test_findings_agree_where_most_networks_do(shuffled, better, samples, table):
    def network(number):
        sign = -1 if number < better else 1
        change = Number(0.1 * sign, 0.1 * sign - 0.05, 0.1 * sign + 0.05)
        values = Number(-0.1), Number(-0.2), Number(-0.2), change
        metrics = dict.fromkeys(METRICS, measuring.Correlations(*values))
        return shuffled._replace(correlations=dict.fromkeys(KERNELS, metrics))

    networks = {str(n): network(n) for n in range(5)}
    result = Result(planted(samples=samples), networks)
    # By rank the paper's inner product itself is better in 3 of 7 networks alone.
    odd = "agrees" if better == 2 else "differs"
    for finding in findings(result):
        assert finding.source == (
            table if "Pearson" in finding.statement else "Table 4"
        )
        assert (finding.verdict == odd) is (str(finding.paper[0]) == "3 of 7 networks")
        share, below, above, *_ = finding.ours
        assert str(share) == f"{better} of 5 networks"
        assert (below.values[0].value, above.values[0].value) == (better, 5 - better)
        assert "gives -0.20, -0.20" in finding.reason


# Published classifiers


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    root = tmp_path_factory.mktemp("imagenet")
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 14))
    write_noise(root / "val", names, 40, 48)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_torchvision_resnet(folder / "model.safetensors")
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.4],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.mark.slow
def test_published_classifiers_see_the_users_images(imagenet, checkpoint, tmp_path):
    config = OutputCorrelationConfig(
        OnImageNet(batch_size=3), (str(checkpoint),), 12, resamples=40, data=imagenet
    )
    session = Session(tmp_path / "steps")
    result = measure(config, str(checkpoint), session)
    assert np.isnan(result.accuracy) and result.title == str(checkpoint)
    # All that was written lies below the session's folder.
    assert {p.name for p in checkpoint.iterdir()} == {
        "model.safetensors",
        "preprocessor_config.json",
    }
    draw = Draw(12, config.seed, imagenet)
    answers = config.classifiers.look(
        f"{checkpoint}/answers", str(checkpoint), draw, session
    )
    names = sorted((imagenet / "val").iterdir())
    chosen = np.sort(np.random.default_rng(1).choice(13, 12, replace=False))
    pixels = [
        np.asarray(Image.open(names[i]).resize((32, 32), Image.Resampling.BILINEAR))
        for i in chosen
    ]
    images = (np.stack(pixels) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    logits = load(checkpoint)(images.astype(np.float32))
    np.testing.assert_allclose(answers.logits, logits, rtol=1e-3, atol=1e-4)
    tokens = np.asarray(answers.tokens["last"])
    assert tokens.shape == (12, 16, 8)
    check_values(result.correlations, tokens, logits)


@pytest.mark.slow
def test_a_network_without_classes_is_refused(imagenet, tmp_path):
    from checkpoints import write_vit

    network = str(write_vit(tmp_path / "vit"))
    draw = Draw(2, 0, imagenet)
    with pytest.raises(ValueError, match="must be classifiers, got .*vit"):
        OnImageNet().look("", network, draw, Session(tmp_path / "steps"))


def test_networks_have_the_titles_of_their_origin():
    titles = {name: title(name) for name in ("resnet50", "efficientnet-lite0", "vit-2")}
    assert titles == {
        "resnet50": "ResNet50",
        "efficientnet-lite0": "EfficientNet-Lite0",
        "vit-2": "vit-2",
    }


def test_the_papers_scales_are_the_papers():
    first, fourth = (STUDY.scales[name] for name in ("paper", "paper-table4"))
    assert (first.samples, fourth.samples) == (2000, 20000)
    assert (
        first.networks
        == fourth.networks
        == tuple(TABLE_1)
        == tuple(TABLE_4["spearman"])
    )
    assert len(first.networks) == 7 and first.matcher == sj.BatchOptimal(512)
    assert published("pearson", "resnet50", "cosine", 2000) == (-0.248, -0.320)
    assert published("pearson", "resnet50", "RBF", 20000) == (0.028, 0.015)
    assert published("spearman", "vit-l32", "inner product", 2000) == (-0.029, -0.014)
    assert published("pearson", "resnet-10", "cosine", 240) == (None, None)
