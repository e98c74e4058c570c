"""Every network against the transformers class of the same name, weights and all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import abstract, pixels

from semrsm_jax.features import extract
from semrsm_jax.models import VARIANTS, load
from semrsm_jax.models.checkpoint._loading import ARCHITECTURES
from semrsm_jax.models.checkpoint._rules import sources
from semrsm_jax.models.checkpoint._settings import ACTIVATIONS
from semrsm_jax.models.weights import parameter_paths

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
pytestmark = [pytest.mark.torch]
from marks import slow, with_long  # noqa: E402
from transformers_cases import CASES, FULL, REAL, randomized  # noqa: E402


def expected(model, run, x):
    with torch.no_grad():
        states, last = run(model, torch.tensor(x.transpose(0, 3, 1, 2)))
    return [state.numpy() for state in states], last.numpy()


def assert_close(ours, theirs):
    ours = np.asarray(ours, np.float32).reshape(theirs.shape)
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def check(case, folder):
    make, run, names, sizes = case
    model = randomized(make())
    model.save_pretrained(folder)
    network = load(folder)
    for size in sizes:
        x = pixels(size)
        states, last = expected(model, run, x)
        assert len(states) == len(names)
        # Both at once, so that what they share is compiled once.
        both = nnx.jit(lambda network, x: (extract(network, x, names), network(x)))
        with jax.default_matmul_precision("highest"):
            features, output = both(network, jnp.asarray(x))
        for name, state in zip(names, states, strict=True):
            assert 1e-2 < state.std() < 1e3  # neither dead nor exploding
            assert_close(features[name], state)
        assert_close(output, last)


# Options beyond those of the twelve, and siblings of those that are tried by default.
LATER = {"resnet-v1", "bit-same", "bit-dilated", "clipseg-refined", "sam-plain"}
LATER |= {"dinov2-giant", "bit-50", "convnextv2-base"}
SLOW = [slow(name) for name in sorted(LATER)]


@pytest.mark.parametrize("name", [*(n for n in CASES if n not in LATER), *SLOW])
def test_every_hidden_state_and_the_output_are_those_of_transformers(name, tmp_path):
    check(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", with_long(REAL, "vit-b16-real", "clip-b32-real"))
def test_real_configs_too(name, tmp_path):
    check(REAL[name], tmp_path)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name):
    x = np.linspace(-8, 8, 101, dtype=np.float32)
    theirs = hf.activations.ACT2FN[name](torch.tensor(x)).numpy()
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x)), theirs, atol=1e-5)


TEXT_ONLY = ("clip.text_model.", "clip.text_projection.", "clip.logit_scale")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    with_long(FULL, "dinov2-giant", "dinov2-giant-classifier", "resnet101", "vit-l32"),
)
def test_full_size_networks_have_the_parameters_of_transformers(name):
    from transformers.core_model_loading import revert_weight_conversion

    kind, make = FULL[name]
    with torch.device("meta"):
        model = make()
    # The names that save_pretrained writes, which are those of the hub.
    saved = revert_weight_conversion(model, model.state_dict())
    theirs = {
        key.removeprefix("vision_model."): tuple(value.shape)
        for key, value in saved.items()
        if not key.startswith(TEXT_ONLY) and not key.endswith("num_batches_tracked")
    }
    variant = VARIANTS[name]
    network = abstract(variant.build, variant.config)
    # A bare backbone has no prefix in transformers.
    bare = {"clip-b32": "vision_model.", "dinov2-giant": "dinov2."}
    prefix = bare.get(name, "")
    shapes = {path: leaf.shape for path, leaf in parameter_paths(network).items()}
    rules, prefixes = ARCHITECTURES[kind].rules, ARCHITECTURES[kind].prefixes
    ours = {
        name.removeprefix(prefix): options[0].shape
        for _, options in sources(rules, prefixes, shapes)
        for name in options[0].names
    }
    assert ours == theirs


BFLOAT16 = ["resnet50", "bit-50", "convnextv2-base", "vit-b16", "dinov2-giant"]
BFLOAT16 += ["clip-b32", "clipseg-rd64", "sam-b"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", with_long(BFLOAT16, "clipseg-rd64", "bit-50", "sam-b", "clip-b32")
)
def test_bfloat16_tokens_point_where_those_of_float32_do(name, tmp_path):
    make, _, names, sizes = CASES[name]
    randomized(make()).save_pretrained(tmp_path)
    x = pixels(sizes[0])
    exact = extract(load(tmp_path), x, names)
    rounded = extract(load(tmp_path, dtype="bfloat16"), x, names)
    for name in names:
        assert rounded[name].dtype == jnp.bfloat16
        a, b = np.asarray(exact[name]), np.asarray(rounded[name], np.float32)
        norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        cosine = (a * b).sum(-1) / np.maximum(norms, 1e-12)
        assert (norms > 0).mean() > 0.9
        assert (1 - cosine[norms > 0]).max() <= 2e-2
