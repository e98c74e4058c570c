"""Features of flax.nnx networks as users write them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import pixels

from semrsm_jax.features import extract, layer_names

TRACES = []


class Base(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.linear = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x):
        return self.linear(x)


class Inherits(Base):
    """Inherits `__call__`, which `nnx.capture` would miss."""


class Extends(Inherits):
    def __call__(self, x):
        return super().__call__(x) + 1


class Rematerialised(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.inner = Inherits(rngs)

    @nnx.remat
    def __call__(self, x):
        return self.inner(x)


class Pair(nnx.Module):
    def __call__(self, x):
        return x, x


class Swap(nnx.Module):
    """Puts another axis first, as stacked layers do."""

    def __call__(self, x):
        return jnp.moveaxis(x, 0, 1)


class UserModel(nnx.Module):
    """What users write: inherited calls, sharing, containers, random layers."""

    def __init__(self, rngs: nnx.Rngs):
        self.twice = Inherits(rngs)
        self.extends = Extends(rngs)
        self.alias = self.twice
        self.remat = Rematerialised(rngs)
        self.table = nnx.Dict(drop=nnx.Dropout(0.5, rngs=rngs))
        self.items = nnx.data([Inherits(rngs)])
        self.pair, self.swap = Pair(), Swap()
        self.unused = nnx.Linear(1, 1, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.head = nnx.Linear(3, 5, rngs=rngs)

    def __call__(self, x):
        TRACES.append(x.shape)
        self.sow(nnx.Intermediate, "mine", x)
        x = self.alias(self.extends(self.twice(x)))
        self.pair(x), self.swap(x)
        x = self.items[0](self.table.drop(self.remat(x)))
        return self.head(self.norm(x.reshape(x.shape[0], -1, 3)).mean(axis=1))


@pytest.fixture(scope="module")
def user_model() -> UserModel:
    return UserModel(nnx.Rngs(0))


def small_images(n: int = 4) -> np.ndarray:
    return pixels((4, 5), n, seed=n)


def tokens(output) -> np.ndarray:
    return np.asarray(output).reshape(output.shape[0], -1, output.shape[-1])


def test_list_layers_in_order_of_definition(user_model):
    expected = "twice twice.linear extends extends.linear alias alias.linear remat "
    expected += "remat.inner remat.inner.linear table.drop items.0 items.0.linear pair "
    assert layer_names(user_model) == (expected + "swap unused norm head").split()


def test_batches_equal_a_single_pass(user_model):
    done, images, layers = [], small_images(5), ["norm", "twice", "head"]
    single = extract(user_model, images, layers)
    options = {"batch_size": 2, "progress": lambda *x: done.append(x)}
    parts = extract(user_model, images, layers, **options)
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert list(parts) == layers
    for name in layers:
        assert isinstance(parts[name], jax.Array)
        np.testing.assert_allclose(parts[name], single[name], rtol=1e-5, atol=1e-5)


def test_the_model_is_left_as_it_was(user_model):
    user_model.train()
    graphdef = nnx.graphdef(user_model)
    before = jax.tree.map(np.asarray, nnx.state(user_model, nnx.Not(nnx.RngState)))
    extract(user_model, small_images(), ["twice", "norm"])
    assert nnx.graphdef(user_model) == graphdef
    assert type(user_model.twice) is Inherits
    after = nnx.state(user_model, nnx.Not(nnx.RngState))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_one_trace_for_all_batches_calls_and_modes():
    TRACES.clear()
    layers = ["extends", "norm"]
    first = UserModel(nnx.Rngs(3))
    extract(first, small_images(7), layers, batch_size=3)
    assert TRACES == [(3, 4, 5, 3)]
    extract(first, small_images(8), layers, batch_size=3)
    first.eval()
    extract(first, jnp.asarray(small_images(3)), layers, batch_size=3)
    extract(UserModel(nnx.Rngs(4)), small_images(6), layers, batch_size=3)
    assert len(TRACES) == 1


def test_any_module_inherited_shared_nested_or_rematerialised(user_model):
    x = small_images()
    layers = ["twice", "extends", "alias", "remat", "remat.inner", "table.drop"]
    layers += ["items.0", "norm", "head"]
    features = extract(user_model, x, layers)
    once = user_model.twice(x)
    extended = user_model.extends(once)
    last = user_model.twice(extended)
    rematerialised = user_model.remat(last)
    expected = {
        "twice": last,  # the second of its two calls
        "extends": extended,
        "alias": last,
        "remat": rematerialised,
        "remat.inner": rematerialised,
        "table.drop": rematerialised,  # no dropout in evaluation
        "items.0": user_model.items[0](rematerialised),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(
            features[name], tokens(value), rtol=1e-5, atol=1e-6, err_msg=name
        )
    # Statistics that were never updated, and an output without tokens.
    norm = tokens(expected["items.0"]) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(features["norm"], norm, rtol=1e-5, atol=1e-6)
    logits = user_model.head(norm.mean(1))[:, None]
    np.testing.assert_allclose(features["head"], logits, rtol=1e-5, atol=1e-6)


def test_inside_jit_and_grad(user_model):
    x = jnp.asarray(small_images())

    def total(images):
        return extract(user_model, images, ["extends"], batch_size=1)["extends"].sum()

    kernels = [m.linear.kernel[...] for m in (user_model.twice, user_model.extends)]
    gradient = jax.jit(jax.grad(total))(x)
    expected = jnp.broadcast_to(kernels[0] @ kernels[1] @ jnp.ones(3), x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("unused", ValueError, "does not call 'unused'"),
        ("pair", TypeError, "'pair' gives tuple"),
        ("swap", ValueError, r"'swap' gives shape \(4, 3, 5, 3\).*N = 3"),
    ],
)
def test_layers_that_give_no_tokens(user_model, layer, error, message):
    with pytest.raises(error, match=message):
        extract(user_model, small_images(3), [layer])


IMAGES = np.ones((5, 4, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": IMAGES[0]}, ValueError, r"images must have shape \(N, H, W, C\)"),
        ({"images": IMAGES[:0]}, ValueError, "none of them 0"),
        ({"images": IMAGES * np.nan}, ValueError, "images must be finite"),
        ({"images": IMAGES.astype(np.uint8)}, TypeError, "uint8; scale them"),
        ({"images": IMAGES.astype(complex)}, TypeError, "complex128"),
        ({"images": IMAGES.astype(object)}, TypeError, "object"),
        ({"images": IMAGES.astype(str)}, TypeError, "images must be floating"),
        ({"images": IMAGES.tolist()}, TypeError, "array, got list"),
        ({"layers": ["items.9"]}, ValueError, r"'items.9'.*'items.0'"),
        ({"layers": "norm"}, TypeError, r"write \['norm'\]"),
        ({"layers": [0]}, TypeError, "sequence of strings"),
        ({"layers": 3}, TypeError, "sequence of strings"),
        ({"layers": []}, ValueError, "at least one layer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer"),
        ({"progress": 1}, TypeError, "progress must be callable"),
        ({"model": abs}, TypeError, "model must be a flax.nnx.Module"),
    ],
)
def test_arguments_refused(user_model, arguments, error, message):
    good = {"model": user_model, "images": IMAGES, "layers": ["twice"]}
    with pytest.raises(error, match=message):
        extract(**(good | arguments))


def test_a_wrong_number_of_channels_is_explained_for_any_module():
    model = nnx.Sequential(nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"cannot take shape \(2, 8, 8, 1\) float32"):
        extract(model, np.ones((2, 8, 8, 1), np.float32), ["layers.0"])
