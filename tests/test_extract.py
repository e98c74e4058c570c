"""Features into memory and into a store, from arrays and from folders of images."""

import json
import tracemalloc

import jax
import numpy as np
import pytest
from class_images import write_noise
from flax import nnx
from networks import pixels
from stored_runs import times

from semrsm_jax.features import (
    Preprocessing,
    _flax,
    _nnx,
    extract,
    extract_to_store,
    layer_names,
    open_folder,
)
from semrsm_jax.features._tokens import TokenRule
from semrsm_jax.features.preprocessing import Exactly
from semrsm_jax.store import FeatureStore


class Config:
    prefix_tokens = 2


class Transformer(nnx.Module):
    """Two tokens before those of 4 x 4 patches; what follows a layer is expensive."""

    def __init__(self, rngs: nnx.Rngs):
        self.config = Config
        self.embed = nnx.Conv(3, 8, (4, 4), (4, 4), rngs=rngs)
        self.prefix = nnx.Param(jax.random.normal(rngs.params(), (1, 2, 8)))
        self.layers = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(4)])
        self.head = nnx.Linear(8, 5000, rngs=rngs)

    def __call__(self, images):
        x = self.embed(images)
        x = x.reshape(x.shape[0], -1, 8)
        prefix = self.prefix[...].repeat(x.shape[0], axis=0)
        x = jax.numpy.concatenate([prefix, x], axis=1)
        for layer in self.layers:
            x = jax.numpy.tanh(layer(x))
        return self.head(x[:, 0])


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(nnx.Rngs(0))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pixels((8, 12), 7)


class Source:
    """Images as they are read batch by batch, with what was read."""

    digest = "of these images"

    def __init__(self, images):
        self.images, self.parts = images, []
        self.ids = [f"image {k}" for k in range(len(images))]

    def __len__(self):
        return len(self.images)

    def read(self, start, stop):
        self.parts.append((start, stop))
        return self.images[start:stop]


LAYERS = ["layers.2", "embed"]


@pytest.mark.slow
def test_tokens_that_the_config_counts(model, images):
    whole = extract(model, images, LAYERS)
    patches = extract(model, images, LAYERS, tokens="patches")
    cls = extract(model, images, ["layers.2"], tokens="cls")
    assert whole["layers.2"].shape == (7, 8, 8)
    np.testing.assert_array_equal(patches["layers.2"], whole["layers.2"][:, 2:])
    np.testing.assert_array_equal(patches["embed"], whole["embed"])
    np.testing.assert_array_equal(cls["layers.2"], whole["layers.2"][:, :1])
    given = extract(model, images, ["layers.2"], tokens="patches", prefix_tokens=3)
    np.testing.assert_array_equal(given["layers.2"], whole["layers.2"][:, 3:])


def compiled(model, images, layers):
    graphdef, state = nnx.split(model)
    rule = TokenRule()
    arguments = (_nnx.captured, graphdef, state, images, layers, rule, None)
    return _flax._compiled_forward.lower(*arguments).compile()


def test_only_the_layers_asked_for_are_kept_or_computed(optimized, model, images):
    """The compiled program returns these alone, and stops where the last of them is."""
    one = compiled(model, images, ("layers.0",))
    assert one.memory_analysis().output_size_in_bytes == pytest.approx(
        7 * 8 * 8 * 4, abs=64
    )
    two = compiled(model, images, ("layers.0", "layers.3"))
    assert two.memory_analysis().output_size_in_bytes == pytest.approx(
        2 * 7 * 8 * 8 * 4, abs=128
    )
    head = compiled(model, images, ("head",)).cost_analysis()["flops"]
    assert head - two.cost_analysis()["flops"] >= 2 * 7 * 8 * 5000
    assert "5000" not in two.as_text()
    assert "5000" in compiled(model, images, ("head",)).as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of the host's memory")
def test_peak_of_memory_is_that_of_the_layers():
    """Batches go straight into the result, which JAX takes over without a copy."""
    wide = nnx.Sequential(nnx.Conv(3, 512, (1, 1), rngs=nnx.Rngs(0)), nnx.relu)
    images = np.ones((64, 8, 12, 3), np.float32)
    size = 64 * 8 * 12 * 512 * 4
    extract(wide, images[:4], ["layers.0"], batch_size=4)
    tracemalloc.start()
    try:
        features = extract(wide, images, ["layers.0"], batch_size=4)["layers.0"]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert features.nbytes == size
    # NumPy's buffer is still there: JAX holds it, and made none of its own.
    assert size <= held < 1.1 * size
    assert peak < 1.2 * size


@pytest.mark.slow
def test_double_precision_of_arrays_on_the_device(x64):
    """Batches are cut where x64 is enabled: that is a setting of the thread."""
    linear = nnx.Linear(3, 2, param_dtype=jax.numpy.float64, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (3, 4, 4, 3), jax.numpy.float64)
    network = nnx.Sequential(linear)
    features = extract(network, images, ["layers.0"], batch_size=2)["layers.0"]
    assert features.dtype == jax.numpy.float64
    np.testing.assert_allclose(features, linear(images).reshape(3, 16, 2), rtol=1e-12)


def test_store_equals_memory_whatever_the_batch(model, images, tmp_path):
    expected = extract(model, images, LAYERS, tokens="patches")
    options = {"batch_size": 3, "tokens": "patches", "metadata": {"why": "a test"}}
    (tmp_path / "a.zarr").mkdir()
    store = extract_to_store(model, images, LAYERS, tmp_path / "a.zarr", **options)
    assert store.complete
    opened = FeatureStore.open(tmp_path / "a.zarr")
    assert list(opened.ids) == [str(k) for k in range(7)]
    assert set(opened.layers) == set(LAYERS)
    for name in LAYERS:
        np.testing.assert_allclose(opened.layers[name][:], expected[name], atol=1e-6)
    assert opened.metadata["why"] == "a test"
    assert opened.metadata["extraction"]["tokens"] == "patches"
    assert opened.metadata["extraction"]["prefix_tokens"] == 2


class Stopped(Exception):
    pass


def test_only_missing_batches_are_computed_and_written(model, images, tmp_path):
    def stop(done, total):
        if done == 4:
            raise Stopped

    source, done = Source(images), []
    arguments = (model, source, ["embed"], tmp_path / "a.zarr")
    with pytest.raises(Stopped):
        extract_to_store(*arguments, batch_size=2, progress=stop)
    assert not FeatureStore.open(tmp_path / "a.zarr").complete
    before = times(tmp_path)
    assert before
    source.parts.clear()
    store = extract_to_store(
        *arguments, batch_size=2, progress=lambda *x: done.append(x)
    )
    # The first image is read for its shape, which some frameworks need for the layers.
    assert source.parts == [(0, 1), (4, 6), (6, 7)]
    assert done == [(4, 7), (6, 7), (7, 7)]
    assert before.items() <= times(tmp_path).items()
    np.testing.assert_allclose(
        store.layers["embed"][:], extract(model, images, ["embed"])["embed"], atol=1e-6
    )
    source.parts.clear()
    again = extract_to_store(*arguments, batch_size=2)
    assert again.complete
    assert source.parts == [(0, 1)]


def test_a_store_of_something_else_is_refused(model, images, tmp_path):
    path = tmp_path / "a.zarr"
    extract_to_store(model, images, ["embed"], path, batch_size=4)
    with pytest.raises(ValueError, match="holds the layers embed, expected head"):
        extract_to_store(model, images, ["head"], path, batch_size=4)
    others = {
        "model": Transformer(nnx.Rngs(1)),
        "images": images + 1,
        "tokens": "patches",
        "batch_size": 2,
        "metadata": {"a": 1},
    }
    good = {"model": model, "images": images, "batch_size": 4}
    # None, the default, is decided by layer; so is not what the model states.
    for name, value in [*others.items(), ("prefix_tokens", 0), ("prefix_tokens", 2)]:
        with pytest.raises(ValueError, match="a.zarr"):
            extract_to_store(layers=["embed"], path=path, **(good | {name: value}))
    assert extract_to_store(model, images, ["embed"], path, batch_size=4).complete


def test_layers_may_be_asked_for_in_another_order(model, images, tmp_path):
    arguments = {"path": tmp_path / "a.zarr", "batch_size": 4}
    extract_to_store(model, images, LAYERS, **arguments)
    (record,) = (tmp_path / "a.zarr" / "crc32c").glob("c.1.*")
    record.unlink()
    extract_to_store(model, images, LAYERS[::-1], **arguments)
    store = FeatureStore.open(tmp_path / "a.zarr")
    assert store.missing(verify=True) == []


def test_bfloat16_is_stored_without_loss(images, tmp_path):
    half = jax.numpy.bfloat16
    conv = nnx.Conv(3, 4, (3, 3), dtype=half, param_dtype=half, rngs=nnx.Rngs(0))
    network = nnx.Sequential(conv)
    expected = extract(network, images, ["layers.0"])["layers.0"]
    assert expected.dtype == jax.numpy.bfloat16
    store = extract_to_store(network, images, ["layers.0"], tmp_path / "a.zarr")
    assert store.layers["layers.0"].dtype == np.float32
    np.testing.assert_array_equal(
        store.layers["layers.0"][:], np.asarray(expected, "f4")
    )


def test_a_folder_of_images(model, tmp_path):
    write_noise(tmp_path, ("b.png", "a.png", "c.png"), 9, 9)
    preprocess = Preprocessing(resize=Exactly(8, 12), crop=None)
    folder = open_folder(tmp_path, preprocess)
    features = extract(model, folder, LAYERS, batch_size=2)
    expected = extract(model, folder.read(0, 3), LAYERS)
    for name in LAYERS:
        np.testing.assert_allclose(features[name], expected[name], atol=1e-5)
    store = extract_to_store(model, folder, LAYERS, tmp_path / "f.zarr", batch_size=2)
    assert list(store.ids) == ["a.png", "b.png", "c.png"]
    json.dumps(store.metadata)


def test_a_batch_of_another_size_is_refused(model, images):
    class Mixed(Source):
        def read(self, start, stop):
            side = 4 if start else None  # one token, which would fill all
            return super().read(start, stop)[:, :side, :side]

    with pytest.raises(ValueError, match="one size: from image 4 on, layer 'embed'"):
        extract(model, Mixed(images), ["embed"], batch_size=4)


def test_sources_refused(model):
    for images, error, message in (
        (np.zeros((0, 8, 8, 3), "f4"), ValueError, "at least one image"),
        (np.zeros((1, 8, 8, 3), np.uint8), TypeError, "images must be floating"),
        (np.full((1, 8, 8, 3), np.nan, "f4"), ValueError, "images must be finite"),
    ):
        with pytest.raises(error, match=message):
            extract(model, Source(images), ["embed"])


def test_layers_of_any_framework_and_no_other(model):
    assert layer_names(model)[0] == "embed"
    with pytest.raises(TypeError, match="flax.nnx.Module, flax.linen.Module or torch"):
        layer_names(lambda x: x)
