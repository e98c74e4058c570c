"""Features of flax.linen networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from networks import pixels

from semrsm_jax.features import extract, layer_names

TRACES = []


class Block(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.width, (3, 3))(x))
        return nn.relu(nn.Conv(self.width, (3, 3))(x))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x, x


class Net(nn.Module):
    """Compact and named submodules, one shared, statistics, random layers."""

    classes: int = 2

    def setup(self):
        self.shared = Block(4)
        self.stem = nn.Conv(4, (3, 3))
        self.blocks = [Block(4), Block(4)]
        self.norm = nn.BatchNorm()
        self.drop = nn.Dropout(0.5)
        self.pair = Pair()
        self.unused = nn.Dense(1)
        self.head = nn.Dense(self.classes)

    def __call__(self, x, train=False):
        TRACES.append(x.shape)
        self.sow("intermediates", "mine", x)
        x = self.shared(self.shared(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = self.drop(self.norm(x, use_running_average=not train), not train)
        self.pair(x)
        return self.head(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pixels((6, 7), 5)


@pytest.fixture(scope="module")
def net(images) -> tuple[Net, dict]:
    return Net(), Net().init(jax.random.key(0), images[:1])


def test_layers_are_those_that_a_call_reaches(net, images):
    module, variables = net
    names = layer_names(module, images, variables=variables)
    expected = "stem shared shared.Conv_0 shared.Conv_1 blocks_0 blocks_0.Conv_0 "
    expected += "blocks_0.Conv_1 blocks_1 blocks_1.Conv_0 blocks_1.Conv_1 norm drop "
    assert names == (expected + "pair head").split()
    shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
    assert layer_names(module.bind(variables), shape) == names
    with pytest.raises(ValueError, match="images must be given for a flax.linen"):
        layer_names(module, variables=variables)


def test_features_are_the_outputs(net, images):
    module, variables = net
    layers = ["head", "stem", "shared", "blocks_0.Conv_1", "drop"]
    features = extract(module, images, layers, variables=variables, batch_size=2)
    assert list(features) == layers

    def parts(module, images):
        stem = module.stem(images)
        shared = module.shared(module.shared(stem))
        x = module.blocks[1](module.blocks[0](shared))
        drop = module.norm(x, use_running_average=True)
        return stem, shared, drop, module.head(drop.mean(axis=(1, 2)))

    run = jax.jit(lambda v, x: module.apply(v, x, method=parts))
    stem, shared, drop, head = run(variables, images)
    expected = {"stem": stem, "shared": shared, "drop": drop, "head": head[:, None]}
    for name, value in expected.items():
        tokens = np.asarray(value).reshape(5, -1, value.shape[-1])
        np.testing.assert_allclose(
            features[name], tokens, rtol=1e-4, atol=1e-5, err_msg=name
        )
    assert features["blocks_0.Conv_1"].shape == (5, 42, 4)
    bound = extract(module.bind(variables), images, ["stem"], batch_size=2)
    np.testing.assert_array_equal(bound["stem"], features["stem"])


def test_one_trace_for_all_batches_and_calls(net, images):
    _, variables = net
    extract(Net(), images, ["drop"], variables=variables, batch_size=3)
    TRACES.clear()
    again = jax.tree.map(lambda leaf: leaf + 1, variables)
    extract(Net(), images, ["drop"], variables=again, batch_size=3)
    assert TRACES == [(5, 6, 7, 3)]  # the layers are listed, in shape only


def in_training(module, images):
    return module(images, train=True)


def test_call_passes_what_the_model_needs(net, images):
    module, variables = net
    with pytest.raises(Exception, match="batch_stats|dropout"):
        extract(module, images, ["stem"], variables=variables, call=in_training)

    class Strict(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dropout(0.5, deterministic=not train)(nn.Dense(2, name="d")(x))

    variables = Strict().init(jax.random.key(0), images, False)
    options = {"variables": variables, "call": lambda m, x: m(x, train=False)}
    features = extract(Strict(), images, ["d", "Dropout_0"], **options)
    np.testing.assert_array_equal(features["d"], features["Dropout_0"])
    with pytest.raises(ValueError, match="cannot take shape.*missing.*'train'"):
        extract(Strict(), images, ["d"], variables=variables)


def test_inside_jit_and_grad(net, images):
    module, variables = net

    def total(images):
        return extract(module, images, ["stem"], variables=variables)["stem"].sum()

    def direct(images):
        return module.apply(variables, images, method=lambda m, x: m.stem(x).sum())

    np.testing.assert_allclose(
        jax.jit(jax.grad(total))(images), jax.grad(direct)(images), rtol=1e-4, atol=1e-5
    )


def test_patches_and_cls_of_a_transformer():
    class Tokens(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(4, (4, 4), (4, 4))(x).reshape(x.shape[0], -1, 4)
            cls = jnp.full((x.shape[0], 2, 4), 7.0)
            x = jnp.concatenate([cls, x], axis=1)
            return nn.Dense(4, kernel_init=nn.initializers.ones, name="d")(x)

    images = np.ones((2, 8, 8, 3), np.float32)
    variables = Tokens().init(jax.random.key(0), images)
    options = {"variables": variables, "prefix_tokens": 2}
    every = extract(Tokens(), images, ["d"], **options)["d"]
    assert every.shape == (2, 6, 4)
    for tokens, rows in (("patches", slice(2, None)), ("cls", slice(1))):
        kept = extract(Tokens(), images, ["d"], tokens=tokens, **options)["d"]
        np.testing.assert_array_equal(kept, every[:, rows])
    maps = extract(Tokens(), images, ["Conv_0"], tokens="patches", **options)
    assert maps["Conv_0"].shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": ["unused"]}, ValueError, "unknown layer 'unused'; nearest"),
        ({"layers": ["block_0"]}, ValueError, "nearest are .*'blocks_0'"),
        ({"layers": ["pair"]}, TypeError, "'pair' gives tuple, expected an array"),
        ({"variables": None}, ValueError, "variables must be given"),
        ({"tokens": "cls"}, ValueError, "no CLS token"),
        ({"layers": ["head"], "tokens": "patches"}, ValueError, "no patches"),
        ({"images": np.ones((2, 6, 7, 4), "f")}, ValueError, "cannot take shape"),
    ],
)
def test_refused(net, images, arguments, error, message):
    module, variables = net
    good = {"model": module, "images": images, "layers": ["stem"]}
    with pytest.raises(error, match=message):
        extract(**(good | {"variables": variables} | arguments))
