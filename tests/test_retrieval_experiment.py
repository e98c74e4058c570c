"""The retrieval experiment, from images to scores, on each source of images."""

import dataclasses

import numpy as np
import pytest
from checkpoints import write_vit
from retrieval_data import annotation, frame, write_ego, write_streets
from study_runs import run_study

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
pytest.importorskip("sklearn")

from experiments.frame.finding import Number
from experiments.frame.session import Session
from experiments.retrieval.collection import (
    OTHER_SCENES,
    SAME_SCENE,
    Collection,
    Groups,
    Measure,
)
from experiments.retrieval.config import SCALES, RetrievalConfig
from experiments.retrieval.datasets import Cityscapes, EgoObjects
from experiments.retrieval.findings import findings, rows, summary
from experiments.retrieval.measure import GAIN, LEAD, hub_share, run, select
from experiments.retrieval.neighbors import KERNELS, WITH, WITHOUT, Key, cosines
from experiments.retrieval.paper import CITYSCAPES_IOU, EGOOBJECTS_F1
from experiments.retrieval.study import STUDY
from semrsm_jax import Identity, rsm
from semrsm_jax.retrieval import AveragePooling, class_iou, instance_f1

# Of each group two videos, of each video two frames.
GROUPS, VIDEOS, FRAMES = 4, 2, 2


def halves(seed):
    """An image with two textures, left and right."""
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(18, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_vit(tmp_path_factory.mktemp("network") / "tiny-vit"))


@pytest.fixture(scope="module")
def ego(tmp_path_factory):
    """Frames of 4 groups, each of which shows a category of its own, and one that all
    show.
    """
    images, annotations, pixels = [], [], []
    for number in range(GROUPS * VIDEOS * FRAMES):
        group, video = number // (VIDEOS * FRAMES), number // FRAMES % VIDEOS
        images.append(frame(number, f"G{group}", f"0{video}"))
        for category in (group, 9):
            annotations.append(annotation(len(annotations), number, category))
        pixels.append(halves(number))
    return write_ego(
        tmp_path_factory.mktemp("data") / "ego", images, annotations, pixels
    )


@pytest.fixture(scope="module")
def of_frames(ego, checkpoint):
    return dataclasses.replace(
        SCALES["paper"],
        networks=(checkpoint,),
        queries=6,
        sizes=(5, 10),
        k=3,
        resamples=50,
        shown=2,
        baselines=(("average pooling", AveragePooling()),),
        data=ego,
    )


@pytest.fixture(scope="module")
def result(of_frames, tmp_path_factory):
    """Result, and the folder of its steps."""
    folder = tmp_path_factory.mktemp("steps")
    return run(of_frames, Session(folder)), folder


@pytest.mark.slow
def test_neighbors_are_those_of_the_plain_computation(result, of_frames, checkpoint):
    collection, found = result[0].collection, result[0].neighbors[checkpoint]
    ((layer, (x, y)),) = collection.features(checkpoint).items()
    x, y = np.asarray(x), np.asarray(y)
    mean = y.mean((0, 1))
    assert found.tokens == {layer: 17}
    for how, matcher in ((WITH, of_frames.matcher), (WITHOUT, Identity())):
        for name, kernel in KERNELS.items():
            K = np.array(rsm(x - mean, y - mean, matcher, kernel=kernel))
            for protocol, groups in collection.protocols.items():
                for size in of_frames.sizes:
                    allowed = groups.queries[:, None] != groups.database[None]
                    allowed &= np.arange(10) < size
                    ranked = np.where(allowed, K, -np.inf)
                    best = ranked.argmax(1)
                    index = found.index[Key(layer, name, how, protocol, size)]
                    assert index.shape == (6, 3)
                    there = allowed.any(1)
                    np.testing.assert_array_equal(index[there, 0], best[there])
                    assert (index[~there] == -1).all()
                    assert index.max() < size


def test_queries_and_database_share_no_frame_and_no_video_is_its_own_neighbor(
    result, of_frames
):
    collection = result[0].collection
    videos, scenes = collection.protocols.values()
    assert list(collection.protocols) == [SAME_SCENE, OTHER_SCENES]
    # A group has two videos; scenes are left out whole.
    assert len({*videos.queries, *videos.database}) == GROUPS * VIDEOS
    assert len({*scenes.queries, *scenes.database}) == GROUPS
    for found in result[0].neighbors.values():
        for key, index in found.index.items():
            groups = collection.protocols[key.protocol]
            for query, row in enumerate(index):
                assert groups.queries[query] not in groups.database[row[row >= 0]]
    pictures = [collection.query(n).tobytes() for n in range(of_frames.queries)]
    pictures += [collection.entry(n).tobytes() for n in range(of_frames.sizes[-1])]
    assert len(set(pictures)) == 16


def test_scores_are_means_over_queries_and_gains_are_paired(result, checkpoint):
    collection, scores = result[0].collection, result[0].scores
    assert collection.measures["F1"].score is instance_f1
    assert collection.measures["IoU"].score is class_iou
    found = result[0].neighbors[checkpoint]
    (layer,) = found.tokens
    key = Key(layer, "cosine", WITH, SAME_SCENE, 10)
    _, queries, database = collection.measures["F1"]

    def f1(how):
        index = found.index[key._replace(how=how)][:, 0]
        shared = np.minimum(queries, database[index]).sum(1)
        return 2 * shared / (queries.sum(1) + database[index].sum(1))

    where = {
        "method": "cosine",
        "protocol": SAME_SCENE,
        "database": 10,
        "k": 1,
    }
    for quantity, expected in (
        (WITH, f1(WITH).mean()),
        (WITHOUT, f1(WITHOUT).mean()),
        (GAIN, (f1(WITH) - f1(WITHOUT)).mean()),
    ):
        (entry,) = select(scores, measure="F1", quantity=quantity, **where)
        assert entry.interval.value == pytest.approx(expected)
        assert entry.interval.low <= entry.interval.value <= entry.interval.high
        assert (entry.network, entry.layer, entry.tokens) == (checkpoint, layer, 17)
    (lead,) = select(
        scores, measure="F1", quantity=LEAD, **{**where, "method": "average pooling"}
    )
    (pooled,) = select(
        scores, measure="F1", quantity=WITH, **{**where, "method": "average pooling"}
    )
    assert lead.interval.value == pytest.approx(f1(WITH).mean() - pooled.interval.value)


def test_table_has_a_row_for_everything(result, of_frames):
    table = rows(result[0])
    # kernels and a descriptor, protocols, sizes, measures, k of 1 and 3
    assert len(table) == (3 + 1) * 2 * 2 * 2 * 2
    kernels = [row for row in table if row["method"] in KERNELS]
    for row in kernels:
        gain = row[WITH] - row[WITHOUT]
        assert row[GAIN] == pytest.approx(gain) and np.isnan(row[LEAD])
        assert row[f"{GAIN}, low"] <= row[GAIN] <= row[f"{GAIN}, high"]
    entries = summary(result[0])
    assert entries["images"] == "EgoObjects" and entries["database"] == 10
    (text,) = (v for k, v in entries.items() if k.endswith(f"F1, {SAME_SCENE}"))
    assert text.split(" of ")[1].startswith("3")


@pytest.mark.parametrize("low", [0.01, -0.01])
def test_findings_judge_gains_by_their_intervals(result, checkpoint, low):
    def changed(score):
        # A gain that falls with the database.
        value = 0.2 if score.database == 5 else 0.1
        return score._replace(interval=Number(value, low, 0.3))

    of = result[0]._replace(scores=[changed(score) for score in result[0].scores])
    cosine, _, rbf, sizes, *others = findings(of)
    for finding in (cosine, rbf):
        assert finding.verdict == ("agrees" if low > 0 else "differs")
        (gain,) = finding.ours
        assert gain.label == checkpoint and gain.values == ((0.1, low, 0.3),)
        assert str(finding.paper[0]) == "5 of 5 networks gain"
    assert "cosine" in rbf.reason or low > 0  # its hubs stand beside
    assert sizes.verdict == "agrees"
    assert [n.value for n in sizes.ours[0].values] == pytest.approx([0.2, 0.1])
    assert [str(n)[:6] for n in sizes.paper] == ["mean g"]
    counts, lead = others[0], others[-1]
    assert str(counts.ours[0]) == ("3 of 3" if low > 0 else "0 of 3")
    assert "over average pooling" in lead.statement and lead.verdict == "not asked"


def test_the_papers_tables_are_read_as_they_are_printed():
    clipseg = EGOOBJECTS_F1[5000]["CLIPSeg"]
    assert clipseg["cosine"].gain == pytest.approx(0.555)
    assert CITYSCAPES_IOU["SAM ViT/B32"]["inner product"] == (0.687, 0.677)
    for size, table in EGOOBJECTS_F1.items():
        # The paper: invariance improves every one of them.
        assert all(p.gain > 0 for k in table.values() for p in k.values()), size
    with pytest.raises(TypeError):
        CITYSCAPES_IOU["CLIP"] = {}


def test_what_is_there_is_not_computed_again(result, of_frames, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("experiments.retrieval.datasets.load_network", fail)
    monkeypatch.setattr(Session, "run", fail)
    again = run(of_frames, Session(result[1]))
    assert again.scores == result[0].scores


def test_interrupted_run_goes_on(of_frames, result, tmp_path, monkeypatch):
    extracted, whole = [], Session.run

    def extract(self, name, *args, **kwargs):
        extracted.append(name)
        return features(self, name, *args, **kwargs)

    def stop(self, name, *args, **kwargs):
        if name.endswith(WITHOUT):
            raise KeyboardInterrupt
        return whole(self, name, *args, **kwargs)

    features = Session.features
    monkeypatch.setattr(Session, "features", extract)
    monkeypatch.setattr(Session, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        run(of_frames, Session(tmp_path))
    monkeypatch.setattr(Session, "run", whole)
    done = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("c.*") if p.is_file()}
    assert done
    again = run(of_frames, Session(tmp_path))
    assert again.scores == result[0].scores
    assert done == {p: p.stat().st_mtime_ns for p in done}


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
    found = run(config, Session(tmp_path / "steps"))
    assert {entry.measure for entry in found.scores} == {"IoU"}
    assert {entry.database for entry in found.scores} == {4}
    # Road alone of three classes, or both of two.
    allowed = {1 / 3, 1.0, 2 / 3}
    scores = [e.interval.value for e in found.scores if e.quantity == WITH]
    assert all(min(abs(s - a) for a in allowed) < 1e-6 for s in scores)
    few = dataclasses.replace(config, sizes=(5,))
    with pytest.raises(ValueError, match="'train' has 4 images, 5 are needed"):
        run(few, Session(tmp_path / "few"))


@pytest.mark.parametrize(
    ("scale", "name"),
    [("paper", "EgoObjectsV1_unified_eval.json"), ("paper-cityscapes", "gtFine/val")],
)
def test_missing_data_say_where_to_get_them(tmp_path, scale, name):
    for given in ([], ["--data", tmp_path / "none"]):
        found = run_study(STUDY, tmp_path / "out", *given, scale=scale)
        assert found.exit_code == 2
        assert "https://" in found.output and name in found.output


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
