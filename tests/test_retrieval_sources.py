"""The sources of the retrieval experiment, its config, and its measures."""

import dataclasses

import numpy as np
import pytest
from retrieval_data import write_streets
from retrieval_frames import checkpoint, ego, of_frames  # noqa: F401

from experiments.frame.session import Session
from experiments.retrieval.collection import Collection, Groups, Measure
from experiments.retrieval.config import SCALES, RetrievalConfig
from experiments.retrieval.datasets import Cityscapes, EgoObjects
from experiments.retrieval.findings import summary
from experiments.retrieval.measure import GAIN, hub_share, run, select
from experiments.retrieval.neighbors import WITH, WITHOUT, cosines
from experiments.retrieval.paper import CITYSCAPES_IOU, EGOOBJECTS_F1
from semrsm_jax.retrieval import AveragePooling, instance_f1


def test_the_papers_tables_are_read_as_they_are_printed():
    clipseg = EGOOBJECTS_F1[5000]["CLIPSeg"]
    assert clipseg["cosine"].gain == pytest.approx(0.555)
    assert CITYSCAPES_IOU["SAM ViT/B32"]["inner product"] == (0.687, 0.677)
    for size, table in EGOOBJECTS_F1.items():
        # The paper: invariance improves every one of them.
        assert all(p.gain > 0 for k in table.values() for p in k.values()), size
    with pytest.raises(TypeError):
        CITYSCAPES_IOU["CLIP"] = {}


@dataclasses.dataclass(frozen=True)
class Moved:
    """Queries show what an image of the database does, each token elsewhere."""

    def collect(self, config, session):
        rng = np.random.default_rng(config.seed)
        y = rng.normal(size=(config.sizes[-1], 9, 16)).astype(np.float32)
        x = np.stack([rng.permutation(tokens) for tokens in y[: config.queries]])
        counts = np.eye(len(y), dtype=int)
        nobody = np.arange(len(x)), len(x) + np.arange(len(y))
        return Collection(
            "moved",
            {"F1": Measure(instance_f1, counts[: len(x)], counts)},
            {"all": Groups(*nobody)},
            np.arange(len(x)),
            lambda n: np.zeros((4, 4, 3), np.uint8),
            lambda n: np.zeros((4, 4, 3), np.uint8),
            lambda network: {"tokens": (x, y)},
        )


@pytest.mark.slow
def test_what_only_moved_is_found_with_invariance_and_not_without(tmp_path):
    config = RetrievalConfig(
        Moved(), ("none",), queries=12, sizes=(12, 24), k=1, resamples=50, baselines=()
    )
    result = run(config, Session(tmp_path))
    for entry in result.scores:
        if entry.quantity == WITH:
            assert entry.interval == (1, 1, 1)
        elif entry.quantity == WITHOUT:
            assert entry.interval.value < 0.4
    gains = select(result.scores, quantity=GAIN)
    assert len(gains) == 6 and all(entry.interval.low > 0 for entry in gains)
    text = summary(result)["gains with an interval above 0, F1, all"]
    assert text == "3 of 3, 0 below 0"


@pytest.mark.slow
def test_cityscapes_compares_the_classes_of_both_splits(tmp_path, checkpoint):
    streets = {
        "train": [("aachen", n, 19, (7, 11 + n)) for n in range(4)],
        "val": [("lindau", n, 19, (7, 11 + 2 * n)) for n in range(2)],
    }
    config = dataclasses.replace(
        SCALES["paper-cityscapes"],
        networks=(checkpoint,),
        queries=2,
        sizes=(4,),
        k=1,
        resamples=20,
        shown=1,
        baselines=(),
        data=write_streets(tmp_path / "streets", streets),
    )
    outcome = run(config, Session(tmp_path / "steps"))
    assert {entry.measure for entry in outcome.scores} == {"IoU"}
    assert {entry.database for entry in outcome.scores} == {4}
    # Road alone of three classes, or both of two.
    allowed = {1 / 3, 1.0, 2 / 3}
    scores = [e.interval.value for e in outcome.scores if e.quantity == WITH]
    assert all(min(abs(s - a) for a in allowed) < 1e-6 for s in scores)
    few = dataclasses.replace(config, sizes=(5,))
    with pytest.raises(ValueError, match="'train' has 4 images, 5 are needed"):
        run(few, Session(tmp_path / "few"))


def test_too_few_frames_say_so(of_frames):
    config = dataclasses.replace(of_frames, sizes=(11,))
    with pytest.raises(ValueError, match="take 17 images, got 16"):
        config.source.collect(config, Session())


def test_paper_scale_is_the_papers():
    config = SCALES["paper"]
    assert config.queries == 2000 and config.sizes == (2500, 5000, 10000)
    assert len(config.networks) == 5 and isinstance(config.source, EgoObjects)
    config = SCALES["paper-cityscapes"]
    assert config.queries == 500 and config.sizes == (2975,)
    assert isinstance(config.source, Cityscapes)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"sizes": (4, 2)}, "sizes must rise"),
        ({"sizes": ()}, "sizes must rise"),
        ({"sizes": (0, 2)}, "sizes must be at least 1"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"networks": ()}, "networks must name at least one"),
    ],
)
def test_config_refuses(change, wrong):
    with pytest.raises(ValueError, match=wrong):
        RetrievalConfig(**{"source": EgoObjects(), "networks": ("a",), **change})


def test_cosines_in_parts_are_those_of_the_whole(rng, monkeypatch):
    x, y = (rng.normal(size=(n, 5, 4)).astype(np.float32) for n in (3, 7))
    expected = AveragePooling()(x, y)
    monkeypatch.setattr("experiments.retrieval.neighbors._BLOCK", 8)
    np.testing.assert_allclose(cosines(AveragePooling(), x, y), expected, atol=1e-6)


def test_hubs_are_the_images_that_are_found_most_often():
    index = np.array([[7, 1], [7, 2], [3, 7], [7, 0], [-1, -1]])
    assert hub_share(index, 100) == pytest.approx(3 / 5)
    assert hub_share(index, 250) == pytest.approx(4 / 5)  # two images
    assert hub_share(index, 20) == pytest.approx(3 / 5)  # at least one
