"""Features of torch networks as users write them: layers, axes, randomness."""

import gc
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from networks import pixels

from semrsm_jax.features import extract, layer_names

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Function(torch.nn.Module):
    """A layer of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(torch.nn.Module):
    """What users write: sharing, tuples, dicts, random layers, statistics."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = Block(), Block()
        self.norm = torch.nn.BatchNorm2d(3)
        self.drop = torch.nn.Dropout(0.5)
        # Gives its state behind something else, as transformers' layers do.
        self.several = Function(lambda x: {"loss": None, "state": x + 1, "weights": x})
        self.permuted = Function(lambda x: x.permute(1, 0, 2, 3))
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


def after_convolution(*functions) -> "torch.nn.Module":
    """A map of 5 channels, then functions; layers are named "0", "1", ..."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 5, 1)
    return torch.nn.Sequential(convolution, *map(Function, functions))


def as_torch(images) -> "torch.Tensor":
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def as_tokens(maps) -> np.ndarray:
    return maps.flatten(2).transpose(1, 2).detach().numpy()


LAYERS = ["head", "first.conv", "shared", "drop", "several", "lstm"]


def test_layers_are_those_of_named_modules(net):
    assert layer_names(net) == [name for name, _ in net.named_modules() if name]
    assert layer_names(net)[:3] == ["first", "first.conv", "shared"]


def test_maps_tuples_and_dicts_become_tokens(net, images):
    features = extract(net, images, LAYERS, batch_size=2)
    assert list(features) == LAYERS
    net.eval()
    with torch.no_grad():
        first = net.first(as_torch(images))
        once = net.shared(first)
        last = net.shared(once)
        drop = net.norm(last)
        state, _ = net.lstm((drop + 1).flatten(2).transpose(1, 2))
        expected = {
            "head": net.head(state.mean(1))[:, None].numpy(),
            "first.conv": as_tokens(net.first.conv(as_torch(images))),
            "shared": as_tokens(last),  # the second of its two calls
            "drop": as_tokens(drop),  # no dropout in evaluation
            "several": as_tokens(drop + 1),
            "lstm": state.numpy(),
        }
    for name, value in expected.items():
        np.testing.assert_allclose(
            features[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_the_model_is_left_as_it_was(net, images):
    net.train()
    net.norm.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.batches.clear()
    extract(net, images, ["drop"], batch_size=2)
    # The second call is the test that an image alone has the same tokens.
    assert [batch[0] for batch in net.batches] == [2, 1, 2, 1]
    with pytest.raises(ValueError, match="the model cannot take shape"):
        extract(net, images, ["drop", "several"], call=lambda m, x: m(x, x))
    assert {name: module.training for name, module in net.named_modules()} == modes
    assert all(not module._forward_hooks for module in net.modules())
    assert torch.is_grad_enabled()
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_only_the_layers_asked_for_are_kept(images):
    """While the batches are computed, no activation of another layer is alive."""
    alive: list[weakref.ref] = []

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Block() for _ in range(4)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
                alive.append(weakref.ref(x))
            return x

    counts = []

    def progress(done, total):
        gc.collect()
        counts.append(sum(ref() is not None for ref in alive))

    gc.freeze()  # cycles are looked for among what is made from here on
    extract(Watching(), images, ["layers.1"], batch_size=1, progress=progress)
    gc.unfreeze()
    assert len(alive) == 24
    # Each batch was brought to the host; of the layers nothing is left.
    assert counts == [0] * 5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_dtype_of_the_model_stays(x64, images, dtype):
    kind = getattr(torch, dtype)
    net = Block().to(kind)
    images = images.astype("float64" if dtype == "float64" else "float32")
    features = extract(net, images, ["conv"])["conv"]
    assert features.dtype == jnp.dtype(dtype)
    with torch.no_grad():
        direct = net.conv(as_torch(images).to(kind)).double()
    rtol = 1e-12 if dtype == "float64" else 0
    np.testing.assert_allclose(features.astype("f8"), as_tokens(direct), rtol=rtol)


PATCHES = {"tokens": "patches", "layers": ["lstm"]}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": ["firs"]}, ValueError, r"unknown layer 'firs'.*'first'"),
        ({"layers": ["unused"]}, ValueError, "does not call 'unused'"),
        ({"layers": ["permuted"]}, ValueError, r"shape \(3, 5, 7, 6\)|\(3, 5, 6, 7\)"),
        ({"tokens": "cls"}, ValueError, "no CLS token; tokens='cls' fits"),
        ({"tokens": "some"}, ValueError, "tokens must be one of 'all', 'patches'"),
        ({"layout": "CHW"}, ValueError, "layout must be one of 'NHWC', 'NCHW'"),
        (
            {"layers": ["lstm", "drop"], "layout": {"lst": "NSC"}},
            ValueError,
            "layout: 'lst' is none of the layers lstm, drop",
        ),
        ({"layers": ["drop"], "layout": {"drop": "NSC"}}, ValueError, "does not fit"),
        (PATCHES | {"prefix_tokens": 42}, ValueError, "none is left"),
        (
            PATCHES | {"tokens": "cls", "prefix_tokens": 0},
            ValueError,
            "'lstm' has no CLS token",
        ),
        ({"prefix_tokens": -1}, ValueError, "prefix_tokens must be at least 0"),
        ({"images": np.ones((2, 6, 7, 4))}, ValueError, "the model cannot take shape"),
        ({"call": 3}, TypeError, "call must be callable"),
        ({"model": torch.nn.Linear}, TypeError, "model must be a flax.nnx.Module"),
    ],
)
def test_refused(net, images, arguments, error, message):
    good = {"model": net, "images": images, "layers": ["drop"]}
    with pytest.raises(error, match=message):
        extract(**(good | arguments))


def test_a_cube_is_read_as_what_follows_takes_it():
    images = pixels((5, 5), 2)
    swap = after_convolution(lambda x: x.permute(0, 2, 3, 1))
    cube = torch.nn.Sequential(*swap, torch.nn.Linear(5, 4))
    maps, last = extract(cube, images, ["0", "1"]).values()
    np.testing.assert_array_equal(maps, last)


def test_tensors_and_channels_first_are_accepted(net, images):
    expected = extract(net, images, ["drop"])["drop"]
    for given in (as_torch(images), np.moveaxis(images, -1, 1)):
        np.testing.assert_array_equal(extract(net, given, ["drop"])["drop"], expected)
    with pytest.raises(ValueError, match=r"may be \(N, C, H, W\) or \(N, H, W, C\)"):
        extract(net, np.ones((2, 3, 7, 3), "f"), ["drop"])


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


def test_what_a_later_module_overwrites_is_kept(images):
    net = after_convolution(torch.relu_)
    maps, positive = extract(net, images, ["0", "1"]).values()
    assert maps.min() < 0
    np.testing.assert_array_equal(positive, np.maximum(maps, 0))


def test_images_must_be_on_the_first_axis(images):
    """Also where there are as many tokens as images."""
    net = after_convolution(lambda x: x.flatten(2).permute(2, 0, 1))
    images = np.repeat(images, 9, axis=0)[:42]
    with pytest.raises(ValueError, match="its first axis is not that of the images"):
        extract(net, images, ["1"], batch_size=42)
