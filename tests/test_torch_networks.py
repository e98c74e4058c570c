"""Tokens of the networks that people bring, against hooks written by hand."""

import re
from pathlib import Path

import numpy as np
import pytest
from networks import pixels
from torch_cases import CASES, Case, rows_of_the_page

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from semrsm_jax.features import block_layers, extract, layer_names  # noqa: E402

# Of each library some that are read in different ways; the others take longer.
_QUICK = {
    "timm:vit_small_patch14_reg4_dinov2",
    "timm:swin_tiny_patch4_window7_224",
    "timm:cait_xxs24_224",
    "transformers:CLIP",
}


def build(case: Case) -> "torch.nn.Module":
    torch.manual_seed(0)
    library, _, name = case.source.partition(":")
    if library == "transformers":
        transformers = pytest.importorskip("transformers")
        config = getattr(transformers, f"{name}Config")(**case.options)
        return getattr(transformers, f"{name}Model")(config).eval()
    if library == "timm":
        timm = pytest.importorskip("timm")
        return timm.create_model(name, pretrained=False, **case.options).eval()
    models = pytest.importorskip("torchvision.models")
    return models.get_model(name, weights=None, **case.options).eval()


def by_hand(model, layers: dict, images: np.ndarray) -> dict[str, np.ndarray]:
    """What hooks see, brought to (N, S, C) as it is written for each layer."""
    outputs, hooks = {}, []
    modules = dict(model.named_modules())
    for name in layers:

        def keep(module, inputs, output, name=name):
            is_tensor = isinstance(output, torch.Tensor)
            # A copy: a module that follows may write to it.
            outputs[name] = (output if is_tensor else list(output)[0]).clone()

        hooks.append(modules[name].register_forward_hook(keep))
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        if hasattr(model, "get_image_features"):
            model.get_image_features(pixel_values=batch)
        else:
            model(batch)
    for hook in hooks:
        hook.remove()
    return {
        name: read_by_hand(model, name, outputs[name], layout).numpy()
        for name, (layout, _) in layers.items()
    }


def read_by_hand(model, name, output, layout):
    if layout == "NCHW":
        return output.flatten(2).transpose(1, 2)
    if layout == "NHWC":
        return output.flatten(1, 2)
    if layout == "rolled":  # Hiera
        numbers = list(map(int, re.findall(r"\d+", name)))
        owner = model if hasattr(model, "reroll") else model.encoder
        return owner.reroll(output, numbers[0]).flatten(1, 2)
    return output


def pattern(text: str) -> str:
    """A pattern of the table as a regular expression."""
    text = text.replace(".", r"\.").replace("**", "ANY").replace("*", "[^.]*")
    return text.replace("ANY", ".*")


def read_layers(case: Case, model) -> dict[str, tuple[str, int] | None]:
    """All blocks of the network and other layers of the table, with their readings."""
    names, layers = layer_names(model), {}
    for key, reading in case.layers.items():
        for name in names:
            if re.fullmatch(pattern(key), name) and name not in layers:
                layers[name] = reading
    blocks = block_layers(model)
    assert blocks, "no blocks"
    assert set(blocks) <= set(layers), set(blocks) - set(layers)
    return layers


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=case.source,
            marks=[] if case.source in _QUICK else [pytest.mark.slow],
        )
        for case in CASES
    ],
)
def test_tokens_equal_those_of_hooks_by_hand(case):
    model, images = build(case), pixels((case.side, case.side), 2)
    layers = read_layers(case, model)
    for name in [name for name, reading in layers.items() if reading is None]:
        with pytest.raises(ValueError, match="may be read as|none stands for|random"):
            extract(model, images, [name])
        del layers[name]
    if not layers:
        return
    expected = by_hand(model, layers, images)
    features = extract(model, images, list(layers))
    for name, value in expected.items():
        np.testing.assert_allclose(
            features[name], value, rtol=1e-4, atol=1e-4, err_msg=name
        )
    if "Yolos" in case.source:  # its patches stand in the middle
        with pytest.raises(ValueError, match="prefix_tokens must be"):
            extract(model, images, list(layers), tokens="patches")
        return
    patches = {n: r[1] for n, r in layers.items() if r[1] < expected[n].shape[1]}
    features = extract(model, images, list(patches), tokens="patches")
    for name, prefix in patches.items():
        np.testing.assert_allclose(
            features[name], expected[name][:, prefix:], rtol=1e-4, atol=1e-4
        )
    cls = [name for name, reading in layers.items() if reading[1] and case.cls]
    if cls:
        features = extract(model, images, cls, tokens="cls")
    for name in cls:
        np.testing.assert_allclose(
            features[name], expected[name][:, :1], rtol=1e-4, atol=1e-4
        )
    without = next((name for name in layers if name not in cls), None)
    if without:
        with pytest.raises(ValueError, match="has no CLS token|holds no CLS token"):
            extract(model, images, [without], tokens="cls")


def test_the_page_shows_the_table():
    assert len({case.source for case in CASES}) >= 40
    page = Path(__file__).parents[1] / "docs" / "guide" / "networks.md"
    shown = page.read_text().rpartition("|---:|\n")[2].splitlines()
    assert shown == rows_of_the_page()
