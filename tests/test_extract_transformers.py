"""Features of a torch network of transformers, which stands for what users bring."""

import numpy as np
import pytest
from networks import pixels

from semrsm_jax.features import extract, extract_to_store

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

IMAGES = pixels((16, 16), 3)


@pytest.fixture
def model():
    hf = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = hf.ViTConfig(num_hidden_layers=1, image_size=16, patch_size=4, **sizes)
    torch.manual_seed(0)
    return hf.ViTForImageClassification(config).eval()


def test_a_model_output_gives_its_hidden_state(model):
    features = extract(model, IMAGES, ["vit", "classifier"])
    with torch.no_grad():
        images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
        expected = model.vit(images).last_hidden_state
    np.testing.assert_allclose(features["vit"], expected, rtol=1e-5, atol=1e-5)
    assert features["classifier"].shape == (3, 1, 2)


def test_other_parameters_are_another_network(model, tmp_path):
    arguments = (model, IMAGES, ["vit.layernorm"], tmp_path / "features.zarr")
    extract_to_store(*arguments)
    with torch.no_grad():
        model.vit.layernorm.bias += 1
    with pytest.raises(ValueError, match="parameters_sha256"):
        extract_to_store(*arguments)
