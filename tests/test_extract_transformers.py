"""Features of torch networks of transformers, which stand for what users bring."""

import numpy as np
import pytest
from networks import pixels

from semrsm_jax.features import extract, extract_to_store

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def as_torch(images) -> "torch.Tensor":
    return torch.from_numpy(images).permute(0, 3, 1, 2)


SIZES = {"hidden_size": 16, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}


@pytest.fixture(scope="module")
def hf():
    torch.manual_seed(0)
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def vit(hf):
    config = hf.ViTConfig(num_hidden_layers=3, intermediate_size=32, **SIZES)
    return hf.AutoModel.from_config(config)


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    return pixels((16, 16), 3)


def vit_layers(vit) -> list[str]:
    """The blocks, by the name that this release of transformers gives them."""
    modules = dict(vit.named_modules())
    ends = ("layer.0", "layers.0")
    block = next(type(m) for name, m in modules.items() if name.endswith(ends))
    return [name for name, module in modules.items() if type(module) is block]


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [("all", slice(None)), ("patches", slice(1, None)), ("cls", slice(1))],
)
def test_hidden_states_of_an_auto_model(vit, small, tokens, rows):
    layers = vit_layers(vit)
    assert len(layers) == 3
    features = extract(vit, small, [*layers, "layernorm"], batch_size=2, tokens=tokens)
    vit.eval()
    with torch.no_grad():
        output = vit(as_torch(small), output_hidden_states=True)
    # The last of the hidden states may be normalized or not, by release.
    expected = dict(zip(layers[:2], output.hidden_states[1:3], strict=True))
    expected["layernorm"] = output.last_hidden_state
    for name, state in expected.items():
        np.testing.assert_allclose(
            features[name], state[:, rows].numpy(), rtol=1e-5, atol=1e-5
        )


def test_a_model_output_gives_its_hidden_state(hf, small):
    config = hf.ViTConfig(num_hidden_layers=1, intermediate_size=32, **SIZES)
    model = hf.ViTForImageClassification(config).eval()
    features = extract(model, small, ["vit", "classifier"])
    with torch.no_grad():
        expected = model.vit(as_torch(small)).last_hidden_state
    np.testing.assert_allclose(features["vit"], expected, rtol=1e-5, atol=1e-5)
    assert features["classifier"].shape == (3, 1, 2)


def test_registers_stand_before_the_patches(hf, small):
    config = hf.Dinov2WithRegistersConfig(
        num_hidden_layers=1, num_register_tokens=3, **SIZES
    )
    model = hf.AutoModel.from_config(config)
    every = extract(model, small, ["layernorm"])["layernorm"]
    patches = extract(model, small, ["layernorm"], tokens="patches")["layernorm"]
    assert every.shape == (3, 20, 16)
    np.testing.assert_array_equal(patches, every[:, 4:])


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
