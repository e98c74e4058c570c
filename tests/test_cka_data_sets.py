"""The paper's data sets and networks, as the CKA experiment takes them."""

import numpy as np
import pytest
from checkpoints import write_torchvision_resnet
from class_images import tiny, write_noise  # noqa: F401
from study_runs import run_study

import semrsm_jax as sj
from experiments.cka.datasets import Cifar100Images, ImageNetImages, TinyImageNetImages
from experiments.cka.sources import OnDataSet
from experiments.cka.study import STUDY
from experiments.data.draw import Draw
from experiments.frame.session import Session, silent
from semrsm_jax.models import load


@pytest.fixture
def data(tmp_path, tiny):
    """A few images of each data set, and two ResNets for small images."""
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (9, 3074), np.uint8)
    records[:, 0], records[:, 1] = np.arange(9) % 20, np.arange(9)
    (tmp_path / "cifar-100-binary").mkdir()
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(records.tobytes())
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 5))
    write_noise(tmp_path / "imagenet/val", names, 200, 240)
    for seed in (0, 1):
        path = tmp_path / f"checkpoints/cifar100/resnet-seed{seed}.safetensors"
        write_torchvision_resnet(path, seed)
    return tmp_path


def test_data_sets_are_prepared_as_their_networks_expect(data):
    images, labels = Cifar100Images().open(data, 8, 0, silent)
    assert labels is not None
    assert images.shape == (8, 32, 32, 3) and images.dtype == np.float32
    raw = np.fromfile(data / "cifar-100-binary/test.bin", np.uint8).reshape(9, 3074)
    first = raw[labels[0], 2:].reshape(3, 32, 32).transpose(1, 2, 0)
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    np.testing.assert_allclose(images[0], (first / 255 - mean) / std, atol=1e-5)
    images, labels = TinyImageNetImages().open(data, 4, 0, silent)
    assert labels is not None
    assert images.read(0, 4).shape == (4, 64, 64, 3) and labels.tolist() == [1, 0, 2, 1]
    images, labels = ImageNetImages().open(data, 3, 0, silent)
    assert images.read(0, 3).shape == (3, 160, 160, 3) and labels is None


@pytest.mark.slow
def test_the_users_networks_are_read_block_by_block(data, tmp_path):
    source = OnDataSet(Cifar100Images(), batch_size=4)
    session = Session(tmp_path / "steps")
    seen = source.look("tokens", "cifar100/resnet-seed1", Draw(6, 1, data), session)
    blocks = [f"resnet.encoder.stages.{k}.layers.0" for k in range(4)]
    assert list(seen.tokens) == ["resnet.embedder", *blocks]
    # A first convolution of 3x3: stride 1, and no max-pool.
    sizes = [(1024, 4), (1024, 4), (256, 8), (64, 8), (16, 8)]
    assert [x.shape for x in seen.tokens.values()] == [(6, *size) for size in sizes]
    images, labels = Cifar100Images().open(data, 6, 1, silent)
    model = load(data / "checkpoints/cifar100/resnet-seed1.safetensors")
    assert seen.accuracy == np.mean(np.argmax(model(images), 1) == labels)
    np.testing.assert_allclose(
        seen.tokens["resnet.embedder"][:],
        np.reshape(model.resnet.embedder(images), (6, 1024, 4)),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_first_convolution_of_7x7_keeps_the_stem_of_imagenet(tmp_path):
    for kernel, stem in ((3, "cifar"), (7, "imagenet")):
        path = write_torchvision_resnet(tmp_path / f"{stem}.safetensors", 0, kernel)
        assert load(path).config.stem == stem


def test_an_empty_folder_lacks_its_data_sets(tmp_path):
    result = run_study(STUDY, tmp_path / "out", "--data", tmp_path, scale="paper")
    assert result.exit_code == 2 and "must look like this" in result.output
    assert "cifar-100-binary does not exist" in result.output


def test_a_missing_checkpoint_is_named(data):
    source = OnDataSet(Cifar100Images())
    with pytest.raises(ValueError, match="cifar100/resnet18-seed0 does not exist, nor"):
        source.look("", "cifar100/resnet18-seed0", Draw(4, 0, data), Session())


def test_the_papers_scales_are_the_papers():
    paper = STUDY.scales["paper"]
    names = ["CIFAR-100", "Tiny-ImageNet", "ImageNet"]
    assert [part.name for part in paper.parts] == names
    for part in paper.parts:
        names = [each.name for each in part.architectures]
        assert names == ["ResNet18", "ResNet34", "ResNet101"]
        assert part.batch == 250
    matchers = [sj.Exact(), sj.BatchOptimal(512), sj.BatchOptimal(512)]
    assert [part.matcher for part in paper.parts] == matchers
    assert len(paper.parts[0].architectures[0].networks) == 3
