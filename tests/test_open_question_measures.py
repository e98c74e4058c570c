"""What the open questions measure: layers and their probes, channels, windows."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.frame.finding import Number
from experiments.open_questions import channels, layers, windows
from experiments.open_questions.networks import last_layer, output_of, rest_of
from experiments.open_questions.probes import pooled, probe_accuracy
from experiments.open_questions.question import SEMANTIC, SPATIAL, Result
from experiments.scenes.compose import SceneConfig, compose
from semrsm_jax.matching import BatchOptimal, Exact, Identity
from semrsm_jax.models import ResNet, ResNetConfig


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
