"""Layers of torch networks: axes, randomness, outputs that are no features."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch_modules import Function, after_convolution, images, net  # noqa: E402, F401

from semrsm_jax.features import extract  # noqa: E402


def test_a_model_without_parameters(images):
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AvgPool2d(2))
    first, second = extract(net, images, ["0", "1"], layout="NCHW").values()
    np.testing.assert_array_equal(first, np.maximum(images, 0).reshape(5, -1, 3))
    assert second.shape == (5, 9, 3)


def test_layout_of_models_that_keep_channels_last(images):
    last = Function(lambda x: x.permute(0, 2, 3, 1))
    net = torch.nn.Sequential(last, torch.nn.Identity())
    features = extract(net, images, ["1"], layout="NHWC")["1"]
    np.testing.assert_array_equal(features, images.reshape(5, -1, 3))


def test_a_layer_of_as_many_tokens_as_the_grid_has_no_prefix(net, images):
    every = extract(net, images, ["lstm"])["lstm"]
    patches = extract(net, images, ["lstm"], tokens="patches")["lstm"]
    np.testing.assert_array_equal(patches, every)


def test_an_output_that_is_not_a_floating_tensor(images):
    for function, kind in (
        (lambda x: "words", "str"),
        (lambda x: x.argmax(1), "torch.int64"),
    ):
        net = torch.nn.ModuleDict({"inner": Function(function)})
        with pytest.raises(TypeError, match=f"'inner' gives {kind}"):
            extract(net, images, ["inner"], call=lambda m, x: m["inner"](x))


def test_axes_are_decided_by_layer(images):
    net = after_convolution(lambda x: x.permute(0, 2, 3, 1), lambda x: x.flatten(1, 2))
    maps, last, sequence = extract(net, images, ["0", "1", "2"]).values()
    np.testing.assert_array_equal(maps, last)
    np.testing.assert_array_equal(maps, sequence)
    # What the caller states goes before it.
    other = extract(net, images, ["0", "1"], layout={"1": "NCHW"})
    np.testing.assert_array_equal(other["0"], maps)
    assert other["1"].shape == (5, 35, 6)


def test_a_network_that_is_random_is_refused(images):
    net = after_convolution(lambda x: x + 0.01 * torch.randn_like(x))
    with pytest.raises(ValueError, match="'1' gives other tokens .*allow_random=True"):
        extract(net, images, ["1"], batch_size=2)
    assert extract(net, images, ["1"], allow_random=True)["1"].shape == (5, 42, 5)
    # Statistics of the batch are not random.
    net = after_convolution(lambda x: x - x.mean(0))
    assert extract(net, images, ["1"])["1"].shape == (5, 42, 5)


def test_images_must_be_on_the_first_axis(images):
    """Also where there are as many tokens as images."""
    net = after_convolution(lambda x: x.flatten(2).permute(2, 0, 1))
    images = np.repeat(images, 9, axis=0)[:42]
    with pytest.raises(ValueError, match="its first axis is not that of the images"):
        extract(net, images, ["1"], batch_size=42)
