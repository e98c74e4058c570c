"""Features of torch networks; transformers stands for what users bring."""

import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import jax.numpy as jnp  # noqa: E402

from semrsm_jax.features import extract, extract_to_store, list_layers  # noqa: E402


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
    return np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32)


def as_torch(images) -> "torch.Tensor":
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def as_tokens(maps) -> np.ndarray:
    return maps.flatten(2).transpose(1, 2).detach().numpy()


LAYERS = ["head", "first.conv", "shared", "drop", "several", "lstm"]


def test_layers_are_those_of_named_modules(net):
    assert list_layers(net) == [name for name, _ in net.named_modules() if name]
    assert list_layers(net)[:3] == ["first", "first.conv", "shared"]


def test_maps_tuples_and_dicts_become_tokens(net, images):
    found = extract(net, images, LAYERS, batch_size=2)
    assert list(found) == LAYERS
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
            found[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_the_model_is_left_as_it_was(net, images):
    net.train()
    net.norm.eval()
    modes = {name: module.training for name, module in net.named_modules()}
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.batches.clear()
    extract(net, images, ["drop"], batch_size=2)
    assert net.batches == [(2, 3, 6, 7), (2, 3, 6, 7), (1, 3, 6, 7)]
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

    extract(Watching(), images, ["layers.1"], batch_size=1, progress=progress)
    assert len(alive) == 20
    # Each batch was brought to the host; of the layers nothing is left.
    assert counts == [0] * 5


def test_half_precision_and_double(images):
    for dtype, expected in ((torch.bfloat16, jnp.bfloat16), (torch.half, jnp.float16)):
        net = Block().to(dtype)
        found = extract(net, images, ["conv"])["conv"]
        assert found.dtype == expected
        with torch.no_grad():
            direct = net.conv(as_torch(images).to(dtype)).float()
        np.testing.assert_array_equal(np.asarray(found, np.float32), as_tokens(direct))


def test_double_precision_stays_double(x64, images):
    images = images.astype(np.float64)
    net = Block().double()
    found = extract(net, images, ["conv"])["conv"]
    assert found.dtype == jnp.float64
    expected = as_tokens(net.conv(as_torch(images)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_model_without_parameters(images):
    net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.AvgPool2d(2))
    found = extract(net, images, ["0", "1"], layout="NCHW")
    np.testing.assert_array_equal(found["0"], np.maximum(images, 0).reshape(5, -1, 3))
    assert found["1"].shape == (5, 9, 3)


def test_layout_of_models_that_keep_channels_last(images):
    class Last(torch.nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    net = torch.nn.Sequential(Last(), torch.nn.Identity())
    found = extract(net, images, ["1"], layout="NHWC")["1"]
    np.testing.assert_array_equal(found, images.reshape(5, -1, 3))


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
            {"tokens": "patches", "layers": ["lstm"]},
            ValueError,
            "prefix_tokens must be the number of tokens of 'lstm'",
        ),
        (
            {"tokens": "cls", "layers": ["lstm"], "prefix_tokens": 0},
            ValueError,
            "'lstm' has no CLS token",
        ),
        (
            {"tokens": "patches", "layers": ["lstm"], "prefix_tokens": 42},
            ValueError,
            "none is left",
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


def test_an_output_that_is_no_tensor(images):
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


# transformers


@pytest.fixture(scope="module")
def vit():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=4,
    )
    return transformers.AutoModel.from_config(config)


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)


def vit_layers(vit) -> list[str]:
    """The blocks, whatever this release of transformers calls them."""
    block = type(
        next(
            m
            for n, m in vit.named_modules()
            if n.endswith("layer.0") or n.endswith("layers.0")
        )
    )
    return [name for name, m in vit.named_modules() if type(m) is block]


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [("all", slice(None)), ("patches", slice(1, None)), ("cls", slice(1))],
)
def test_hidden_states_of_an_auto_model(vit, small, tokens, rows):
    layers = vit_layers(vit)
    assert len(layers) == 3
    found = extract(vit, small, [*layers, "layernorm"], batch_size=2, tokens=tokens)
    vit.eval()
    with torch.no_grad():
        output = vit(as_torch(small), output_hidden_states=True)
    # The last of the hidden states may be normalised or not, by release.
    for name, state in zip(layers[:2], output.hidden_states[1:3], strict=True):
        np.testing.assert_allclose(
            found[name], state[:, rows].numpy(), rtol=1e-5, atol=1e-5
        )
    np.testing.assert_allclose(
        found["layernorm"],
        output.last_hidden_state[:, rows].numpy(),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_model_output_gives_its_hidden_state(small):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=4,
    )
    model = transformers.ViTForImageClassification(config).eval()
    found = extract(model, small, ["vit", "classifier"])
    with torch.no_grad():
        expected = model.vit(as_torch(small)).last_hidden_state
    np.testing.assert_allclose(found["vit"], expected, rtol=1e-5, atol=1e-5)
    assert found["classifier"].shape == (3, 1, 2)


def test_registers_stand_before_the_patches(small):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        num_register_tokens=3,
    )
    model = transformers.AutoModel.from_config(config)
    whole = extract(model, small, ["layernorm"])["layernorm"]
    patches = extract(model, small, ["layernorm"], tokens="patches")["layernorm"]
    assert whole.shape == (3, 20, 16)
    np.testing.assert_array_equal(patches, whole[:, 4:])


def test_resumes_in_the_store(vit, small, tmp_path):
    path, done = tmp_path / "features.zarr", []

    def stop(k, total):
        done.append(k)
        if len(done) == 2:
            raise KeyboardInterrupt

    arguments = (vit, small, ["layernorm"], path)
    with pytest.raises(KeyboardInterrupt):
        extract_to_store(*arguments, batch_size=1, progress=stop)
    assert not vit.layernorm._forward_hooks
    store = extract_to_store(
        *arguments, batch_size=1, progress=lambda *x: done.append(x)
    )
    assert done == [1, 2, (2, 3), (3, 3)]
    expected = extract(vit, small, ["layernorm"])["layernorm"]
    np.testing.assert_allclose(store.layers["layernorm"][:], expected, atol=1e-6)
    with torch.no_grad():
        vit.layernorm.bias += 1
    with pytest.raises(ValueError, match="parameters_sha256|other|another"):
        extract_to_store(*arguments, batch_size=1)
    with torch.no_grad():
        vit.layernorm.bias -= 1
