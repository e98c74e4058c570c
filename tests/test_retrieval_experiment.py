"""The retrieval experiment, from images to scores, stopped and resumed."""

import numpy as np
import pytest
from retrieval_frames import GROUPS, VIDEOS, checkpoint, ego, of_frames  # noqa: F401
from study_runs import check_resumes

from experiments.frame.finding import Number
from experiments.frame.session import Session
from experiments.retrieval.collection import OTHER_SCENES, SAME_SCENE
from experiments.retrieval.findings import findings, rows, summary
from experiments.retrieval.measure import GAIN, LEAD, run, select
from experiments.retrieval.neighbors import KERNELS, WITH, WITHOUT, Key
from semrsm_jax import Identity, rsm
from semrsm_jax.retrieval import class_iou, instance_f1


@pytest.fixture(scope="module")
def result(of_frames, tmp_path_factory):
    """Result, and the folder of its steps."""
    folder = tmp_path_factory.mktemp("steps")
    return run(of_frames, Session(folder)), folder


@pytest.mark.slow
def test_neighbors_are_those_of_the_plain_computation(result, of_frames, checkpoint):
    collection, outcome = result[0].collection, result[0].neighbors[checkpoint]
    ((layer, (x, y)),) = collection.features(checkpoint).items()
    x, y = np.asarray(x), np.asarray(y)
    mean = y.mean((0, 1))
    assert outcome.tokens == {layer: 17}
    for how, matcher in ((WITH, of_frames.matcher), (WITHOUT, Identity())):
        for name, kernel in KERNELS.items():
            K = np.array(rsm(x - mean, y - mean, matcher, kernel=kernel))
            for protocol, groups in collection.protocols.items():
                for size in of_frames.sizes:
                    allowed = groups.queries[:, None] != groups.database[None]
                    allowed &= np.arange(10) < size
                    ranked = np.where(allowed, K, -np.inf)
                    best = ranked.argmax(1)
                    index = outcome.index[Key(layer, name, how, protocol, size)]
                    assert index.shape == (6, 3)
                    there = allowed.any(1)
                    np.testing.assert_array_equal(index[there, 0], best[there])
                    assert (index[~there] == -1).all()
                    assert index.max() < size


@pytest.mark.slow
def test_queries_and_database_share_no_frame_and_no_video_is_its_own_neighbor(
    result, of_frames
):
    collection = result[0].collection
    videos, scenes = collection.protocols.values()
    assert list(collection.protocols) == [SAME_SCENE, OTHER_SCENES]
    # A group has two videos; scenes are left out whole.
    assert len({*videos.queries, *videos.database}) == GROUPS * VIDEOS
    assert len({*scenes.queries, *scenes.database}) == GROUPS
    for outcome in result[0].neighbors.values():
        for key, index in outcome.index.items():
            groups = collection.protocols[key.protocol]
            for query, row in enumerate(index):
                assert groups.queries[query] not in groups.database[row[row >= 0]]
    pictures = [collection.query(n).tobytes() for n in range(of_frames.queries)]
    pictures += [collection.entry(n).tobytes() for n in range(of_frames.sizes[-1])]
    assert len(set(pictures)) == 16


@pytest.mark.slow
def test_scores_are_means_over_queries_and_gains_are_paired(result, checkpoint):
    collection, scores = result[0].collection, result[0].scores
    assert collection.measures["F1"].score is instance_f1
    assert collection.measures["IoU"].score is class_iou
    values = result[0].neighbors[checkpoint]
    (layer,) = values.tokens
    key = Key(layer, "cosine", WITH, SAME_SCENE, 10)
    _, queries, database = collection.measures["F1"]

    def f1(how):
        index = values.index[key._replace(how=how)][:, 0]
        shared = np.minimum(queries, database[index]).sum(1)
        return 2 * shared / (queries.sum(1) + database[index].sum(1))

    where = {"method": "cosine", "protocol": SAME_SCENE, "database": 10, "k": 1}
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "gain in F1" in cosine.statement and "Table 2" in cosine.source


@pytest.mark.slow
def test_gains_in_iou_stand_beside_those_of_cityscapes(result):
    collection, scores = result[0].collection, result[0].scores
    measures = {"IoU": collection.measures["IoU"]}
    of = result[0]._replace(
        collection=collection._replace(measures=measures),
        scores=select(scores, measure="IoU"),
    )
    cosine, inner, *_ = findings(of)
    assert "gain in IoU" in inner.statement and "Table 3" in inner.source
    # SAM and CLIPSeg lose, BiT-50 neither gains nor loses.
    assert [str(each.paper[0])[:6] for each in (cosine, inner)] == ["5 of 5", "2 of 5"]


@pytest.mark.slow
def test_what_is_there_is_not_computed_again(result, of_frames, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr("experiments.retrieval.datasets.load_network", fail)
    monkeypatch.setattr(Session, "run", fail)
    again = run(of_frames, Session(result[1]))
    assert again.scores == result[0].scores


@pytest.mark.slow
def test_interrupted_run_goes_on(of_frames, result, tmp_path, monkeypatch):
    again, *_ = check_resumes(
        *(monkeypatch, Session, "run"),
        lambda calls: calls[-1][1].endswith(WITHOUT),
        lambda: run(of_frames, Session(tmp_path)),
        tmp_path,
    )
    assert again.scores == result[0].scores
