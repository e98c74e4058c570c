"""Layers of torch networks: axes, randomness, outputs that are no features."""

import numpy as np
import pytest
from networks import pixels

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


from semrsm_jax.features import extract  # noqa: E402


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Several(torch.nn.Module):
    """Gives its state behind something else, as transformers' layers do."""

    def forward(self, x):
        return {"loss": None, "state": x + 1, "weights": x}


class Permuted(torch.nn.Module):
    def forward(self, x):
        return x.permute(1, 0, 2, 3)


class Net(torch.nn.Module):
    """What users write: sharing, tuples, dicts, random layers, statistics."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = Block(), Block()
        self.norm = torch.nn.BatchNorm2d(3)
        self.drop = torch.nn.Dropout(0.5)
        self.several, self.permuted = Several(), Permuted()
        self.lstm = torch.nn.LSTM(3, 4, batch_first=True)
        self.unused = torch.nn.Linear(1, 1)
        self.head = torch.nn.Linear(4, 2)
        self.batches = []

    def forward(self, pixels):
        self.batches.append(tuple(pixels.shape))
        x = self.drop(self.norm(self.shared(self.shared(self.first(pixels)))))
        x = self.several(x)["state"]
        self.permuted(x)
        x, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return self.head(x.mean(1))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pixels((6, 7), 5)


def test_a_model_without_parameters(images):
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AvgPool2d(2))
    first, second = extract(net, images, ["0", "1"], layout="NCHW").values()
    np.testing.assert_array_equal(first, np.maximum(images, 0).reshape(5, -1, 3))
    assert second.shape == (5, 9, 3)


def test_layout_of_models_that_keep_channels_last(images):
    class Last(torch.nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    net = torch.nn.Sequential(Last(), torch.nn.Identity())
    features = extract(net, images, ["1"], layout="NHWC")["1"]
    np.testing.assert_array_equal(features, images.reshape(5, -1, 3))


PATCHES = {"tokens": "patches", "layers": ["lstm"]}


def test_a_layer_of_as_many_tokens_as_the_grid_has_no_prefix(net, images):
    every = extract(net, images, ["lstm"])["lstm"]
    np.testing.assert_array_equal(extract(net, images, **PATCHES)["lstm"], every)


def test_an_output_that_is_not_a_floating_tensor(images):
    class Words(torch.nn.Module):
        def forward(self, x):
            return "words"

    class Places(torch.nn.Module):
        def forward(self, x):
            return x.argmax(1)

    for module, kind in ((Words(), "str"), (Places(), "torch.int64")):
        net = torch.nn.ModuleDict({"inner": module})
        with pytest.raises(TypeError, match=f"'inner' gives {kind}"):
            extract(net, images, ["inner"], call=lambda m, x: m["inner"](x))


class Function(torch.nn.Module):
    """A layer of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def after_convolution(*functions) -> "torch.nn.Module":
    """A map of 5 channels, then functions; layers are named "0", "1", ..."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 5, 1)
    return torch.nn.Sequential(convolution, *map(Function, functions))


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
