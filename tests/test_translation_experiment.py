"""The translation experiment: right numbers, resumed where it stopped, any folder."""

import json
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from class_images import write_noise
from flax import nnx
from PIL import Image
from scipy.stats import mannwhitneyu
from study_runs import check_resumes

from experiments.data.images import draw_files, read_squares
from experiments.frame.environment import plain
from experiments.frame.finding import Finding
from experiments.frame.networks import Published
from experiments.frame.session import Session
from experiments.scenes.parts import BACKGROUNDS, crop, photograph
from experiments.translation.config import SCALES, Case, WindowsConfig
from experiments.translation.findings import findings, rows, summary
from experiments.translation.measure import run
from experiments.translation.pictures import ImageFiles, Photographs
from semrsm_jax import RBF, Exact, Identity, center, rsm
from semrsm_jax.demo import windows
from semrsm_jax.demo.separation import Estimate
from semrsm_jax.features import extract
from semrsm_jax.models import ViT, ViTConfig


@dataclass(frozen=True)
class Pixels:
    """A network whose tokens are the pixels of the image, finer and coarser."""

    name: str
    trained: bool = True
    layers: tuple[str, ...] = ("fine", "coarse")
    opened: ClassVar[list[str]] = []

    @property
    def title(self):
        return f"{self.name}, by itself"

    def open(self, images):
        self.opened.append(self.name)
        return self.tokens

    def tokens(self, pictures):
        return {
            layer: jnp.asarray(
                pictures[:, ::step, ::step].reshape(len(pictures), -1, 3)
            )
            for layer, step in zip(self.layers, (2, 4), strict=True)
        }


CONFIG = WindowsConfig(
    pictures=Photographs(),
    cases=(
        Case("resnet", (Pixels("one"), Pixels("two", trained=False)), 20, 16),
        Case("vit", (Pixels("three"),), 23, 16),
    ),
    batches=2,
    crops=3,
    replicates=50,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run with all that it kept."""
    folder = tmp_path_factory.mktemp("translation")
    return run(CONFIG, Session(folder)), folder


@pytest.mark.slow
def test_rsms_are_those_of_the_windows(done):
    result, folder = done
    crops = CONFIG.pictures(CONFIG, CONFIG.cases[0], Session(folder))
    assert crops.scenes.shape == (2, 3)
    assert all(len(set(scenes)) == 3 for scenes in crops.scenes)
    network, *_ = CONFIG.cases[0].networks
    tokens = network.open(windows(crops.read(0), 16))
    features = tokens(windows(crops.read(1), 16))
    for layer, outcome in zip(network.layers, result[0].result.stages, strict=True):
        x = center(features[layer])
        for matcher, scores in (
            (Identity(), outcome.spatio_semantic),
            (Exact(), outcome.semantic),
        ):
            expected = rsm(x, matcher=matcher, kernel=RBF())
            np.testing.assert_allclose(scores.rsms[1], expected, atol=1e-5)
        assert (outcome.tokens, outcome.channels) == x.shape[1:]
        scores = outcome.semantic
        pairs = scores.overlapping, scores.unrelated
        wins = mannwhitneyu(*pairs).statistic
        expected = wins / (len(pairs[0]) * len(pairs[1]))
        assert scores.auroc.value == pytest.approx(expected)


def test_windows_overlap_as_the_paper_says():
    resnet, vit = SCALES["paper"].cases
    assert (resnet.crop, resnet.window) == (84, 64)
    assert (vit.crop, vit.window, vit.shift % 16) == (324, 224, 4)
    assert SCALES["bundled"].cases[1].shift % 8 == 4
    (ours,) = SCALES["pretrained"].cases
    assert (ours.crop, ours.window) == (324, 224)
    with pytest.raises(ValueError, match="overlap"):
        Case("far", (), 40, 16)


def test_crops_are_of_tiles_that_no_network_was_trained_on(tmp_path, monkeypatch):
    boxes = []

    def spy(scene, split, share, rng):
        box = crop(scene, split, share, rng)
        boxes.append((scene, split, box))
        return box

    monkeypatch.setattr("experiments.translation.pictures.crop", spy)
    crops = Photographs()(CONFIG, CONFIG.cases[0], Session(tmp_path))
    assert {split for _, split, _ in boxes} == {"test"}
    scene, _, box = boxes[-1]
    assert scene == BACKGROUNDS[crops.scenes[1, 2]]
    expected = photograph(scene).resize((20, 20), Image.Resampling.BILINEAR, box)
    np.testing.assert_allclose(crops.read(1)[2], np.asarray(expected) / np.float32(255))


@pytest.mark.slow
def test_interrupted_run_goes_on_and_second_run_computes_nothing(
    done, tmp_path, monkeypatch
):
    result, _ = done
    Pixels.opened.clear()
    again, calls, kept = check_resumes(
        *(monkeypatch, Pixels, "tokens"),
        lambda calls: len(calls) == 2,
        lambda: run(CONFIG, Session(tmp_path)),
        *(tmp_path, "*.npz"),
    )
    assert len(kept) == 2  # the crops, and the first batch
    assert Pixels.opened == ["one", "one", "two", "three"]
    assert [network.name for network, _ in calls] == "one two two three three".split()
    for one, other in zip(result, again, strict=True):
        for a, b in zip(one.result.stages, other.result.stages, strict=True):
            np.testing.assert_array_equal(a.semantic.rsms, b.semantic.rsms)
    run(CONFIG, Session(tmp_path))
    assert len(Pixels.opened) == 4


@pytest.mark.slow
def test_rows_and_summary_say_what_was_found(done):
    result, _ = done
    table = rows(result)
    assert len(table) == 2 * 3 * 2
    assert {row["rsm"] for row in table} == {"spatio-semantic", "semantic"}
    assert [row["network"] for row in table[::4]] == ["one", "two", "three"]
    assert [row["weights"] for row in table[::4]] == ["trained", "random", "trained"]
    entries = summary(result)
    title = "two, by itself"
    better = sum(layer.gain.low > 0 for layer in result[1].result.stages)
    assert entries[f"{title}: layers where semantic is better"] == better
    last = result[1].result.stages[-1]
    assert entries[f"{title}: AUROC, semantic, last layer"] == last.semantic.auroc


@pytest.mark.slow
@pytest.mark.parametrize("low", [0.01, -0.01])
def test_findings_agree_where_all_gains_are_above_zero(done, low):
    networks = []
    for each in done[0]:
        *first, last = (
            stage._replace(gain=Estimate(0.3, 0.1, 0.4)) for stage in each.result.stages
        )
        last = last._replace(gain=Estimate(0.3, low, 0.4))
        changed = each.result._replace(stages=(*first, last))
        networks.append(each._replace(result=changed))
    claim, *others = findings(networks)
    assert claim.verdict == ("agrees" if low > 0 else "differs")
    share, gains = claim.ours
    assert share.values[0].value == (2 if low > 0 else 1) and "of 2 layers" in str(
        share
    )
    assert gains.values[1] == (0.3, low, 0.4)
    assert "coarse (spatio-semantic 0." in claim.reason or low > 0
    assert "1 tokens" in claim.reason or low > 0  # 4 of 16 pixels, 4 x 4 tokens
    # The other network is a case of its own, without random weights.
    assert [f.source for f in others].count("Appendix B, Fig. 7") == 3
    for each in (claim, *others):
        fields = json.loads(json.dumps(plain(asdict(each))))
        assert Finding.from_json(fields) == each


def _tree(folder, count):
    write_noise(folder, (f"n0{k % 2}/image {k}.JPEG" for k in range(count)), 30, 40)
    (folder / "n00" / "words.txt").write_text("surplus")


def test_images_of_a_folder_are_drawn_and_resampled_whole(tmp_path):
    _tree(tmp_path / "data", 7)
    with Image.open(tmp_path / "data/n01/image 3.JPEG") as image:
        image.save(image.filename, "PNG")
    config = replace(CONFIG, pictures=ImageFiles(), data=tmp_path / "data")
    crops = ImageFiles()(config, config.cases[1], Session(tmp_path / "steps"))
    assert sorted(crops.scenes.flat) == [0, 1, 2, 3, 4, 5]
    images = np.concatenate([crops.read(0), crops.read(1)])
    assert images.shape == (6, 23, 23, 3) and 0 <= images.min() < images.max() <= 1
    files = draw_files(tmp_path / "data", 6, np.random.default_rng((0, 0)))
    assert len(set(files)) == 6
    np.testing.assert_array_equal(images, read_squares(tmp_path / "data", files, 23))


@pytest.mark.parametrize("case", ["none", "missing", "file", "few", "broken"])
def test_bad_folders_are_told_of_with_where_to_get_the_data(case, tmp_path):
    folder = tmp_path / "data"
    wrong = {
        "none": "must name its folder",
        "missing": "does not exist",
        "file": "is a file",
        "few": "at least 200 images, found 2",
        "broken": "not an image that Pillow can read",
    }[case]
    if case == "file":
        folder.write_text("")
    if case in ("few", "broken"):
        _tree(folder, 2)
    count = 200 if case == "few" else 2
    if case == "broken":
        (folder / "n00" / "image 0.JPEG").write_bytes(b"none")
    given = None if case == "none" else folder
    with pytest.raises(ValueError, match=wrong) as error:
        files = draw_files(given, count, np.random.default_rng(0))
        read_squares(given, files, 8)
    if case != "broken":
        assert "image-net.org" in str(error.value) and "*.JPEG" in str(error.value)


@pytest.mark.slow
def test_published_networks_are_normalized_and_have_no_class_token(monkeypatch):
    small = ViTConfig(
        image_size=(32, 32), patch_size=(16, 16), width=8, depth=1, heads=2, hidden=8
    )
    model = ViT(small, rngs=nnx.Rngs(0))
    monkeypatch.setattr("experiments.frame.networks.load", lambda source: model)
    half = (0.5, 0.5, 0.5)
    network = Published("vit-b16", ("vit.encoder.layer.0",), half, half)
    assert network.trained and network.title == "ViT-B/16, trained"
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    values = network.open(images)(images)["vit.encoder.layer.0"]
    expected = extract(model, 2 * images - 1, ["vit.encoder.layer.0"])
    np.testing.assert_allclose(
        values, expected["vit.encoder.layer.0"][:, 1:], atol=1e-5
    )
