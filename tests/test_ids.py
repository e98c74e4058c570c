"""What was read from files is compared by the ids of its samples."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import shell

from semrsm_jax import (
    Greedy,
    Identity,
    cka,
    cka_matrix,
    engine,
    nearest,
    output_correlation,
    rsa,
    rsm,
    scores_at_k,
)
from semrsm_jax._ids import same_samples
from semrsm_jax.comparison import Jaccard
from semrsm_jax.comparison.inference import measure_matrix
from semrsm_jax.features import match_images
from semrsm_jax.output_similarity import infer_output_correlation
from semrsm_jax.retrieval import load_neighbors, save_neighbors
from semrsm_jax.store import Labels, RSMFile, load_rsm, open_similarity, save_rsm

IDS = tuple("abcdef")
ORDER = [3, 1, 0, 5, 4, 2]


@pytest.fixture
def files(rng, tmp_path):
    """Two RSMs; files of the first, and of the second in other orders and by no ids."""
    x = rng.normal(size=(2, 6, 4))
    K, L = x @ x.transpose(0, 2, 1)
    shuffled = tuple(IDS[i] for i in ORDER)
    for name, matrix, ids in (
        ("first", K, IDS),
        ("other", L[np.ix_(ORDER, ORDER)], shuffled),
        ("bare", L, None),
        ("foreign", L, tuple("abcdeg")),
    ):
        save_rsm(tmp_path / f"{name}.npz", matrix, x_ids=ids, y_ids=ids)
    return K, L, tmp_path


@pytest.mark.parametrize("read", [load_rsm, open_similarity])
def test_outputs_are_correlated_by_the_ids_of_rsms(files, read, rng):
    K, L, folder = files
    opened = {name: read(folder / f"{name}.npz") for name in ("first", "other")}
    plain, p = {"first": K, "other": L}, rng.dirichlet(np.ones(3), 6)
    with pytest.warns(UserWarning, match="are few"):
        got, expected = (
            infer_output_correlation(rsms, p, key=0, ranks=False, resamples=9)
            for rsms in (opened, plain)
        )
    for name in plain:
        estimates = got[name].pearson.estimate, expected[name].pearson.estimate
        np.testing.assert_allclose(*estimates, rtol=1e-5)


@pytest.mark.parametrize("read", [load_rsm, open_similarity])
def test_rsms_are_compared_by_their_ids(files, read):
    K, L, folder = files
    first, other, bare, foreign = (
        read(folder / f"{name}.npz") for name in ("first", "other", "bare", "foreign")
    )
    for measure in (
        cka,
        rsa,
        Jaccard(k=2),
        lambda a, b: cka_matrix([a, b])[0, 1],
        lambda a, b: measure_matrix([a], [b])[0, 0],
    ):
        expected = measure(K, L)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(measure(first, other), expected, rtol=1e-6)
        with pytest.warns(UserWarning, match="has ids, .* has none: its rows are"):
            np.testing.assert_allclose(measure(first, bare), expected, rtol=1e-6)
        with pytest.raises(ValueError, match="over the samples of .*, by their ids; 2"):
            measure(first, foreign)


def test_columns_without_ids_never_stay_behind_the_rows(rng, tmp_path):
    K = rng.normal(size=(6, 6))
    save_rsm(tmp_path / "a.npz", K, x_ids=IDS)
    save_rsm(
        tmp_path / "b.npz",
        K[np.ix_(ORDER, ORDER)],
        x_ids=[IDS[i] for i in ORDER],
    )
    a, b = (load_rsm(tmp_path / f"{name}.npz") for name in "ab")
    assert float(rsa(a, a)) == pytest.approx(1)
    with pytest.raises(ValueError, match="L must have y_ids too: its x_ids are in"):
        rsa(a, b)
    message = "must have y_ids too"
    assert message in shell.refused("compare", tmp_path / "a.npz", tmp_path / "b.npz")


def test_each_axis_has_the_order_of_the_first_that_names_it(rng):
    K = rng.normal(size=(6, 4))
    columns = [2, 0, 3, 1]
    rsms = {
        "rows only": RSMFile(K, None, {}, x_ids=IDS),
        "both": RSMFile(K, None, {}, x_ids=IDS, y_ids=tuple("wxyz")),
        "other": RSMFile(
            K[np.ix_(ORDER, columns)],
            None,
            {},
            x_ids=tuple(IDS[i] for i in ORDER),
            y_ids=tuple("wxyz"[i] for i in columns),
        ),
    }
    for matrix in same_samples(rsms).values():
        np.testing.assert_array_equal(matrix, K)


def test_the_shell_compares_by_ids(files, rng):
    K, L, folder = files
    first, other, bare, foreign = (
        folder / f"{name}.npz" for name in ("first", "other", "bare", "foreign")
    )
    for paths in ((first, other), (other, first)):
        matrix = shell.as_json("compare", *paths)["matrix"]
        np.testing.assert_allclose(matrix[0][1], cka(K, L), rtol=1e-5)
    message = "Warning: {} has ids, {} has none: its rows are taken as they come"
    for paths in ((bare, other, first), (other, bare)):
        code, out, err = shell.run("compare", *paths, "--json")
        assert code == 0 and message.format(other, bare) in " ".join(err.split())
    by_files = "must be over the samples of"
    assert by_files in shell.refused("compare", first, foreign)
    # Probabilities, and features, of the samples in another order.
    p = rng.dirichlet(np.ones(3), 6)
    np.savez(folder / "p.npz", p=p[ORDER], ids=[IDS[i] for i in ORDER])
    np.save(folder / "p.npy", p)
    np.savez(folder / "q.npz", p=p, ids=[*"abcdeg"])
    rows = shell.as_json(
        "correlate", other, first, "--probabilities", folder / "p.npz", "--key", "p"
    )["correlations"]
    for row, matrix in zip(rows, (L, K), strict=True):
        expected = output_correlation(matrix, p).pearson
        np.testing.assert_allclose(row["pearson"], expected, rtol=1e-4)
    assert by_files in shell.refused(
        "correlate", first, "--probabilities", folder / "q.npz", "--key", "p"
    )
    # Labels by the ids that only the second RSM has.
    rows = [f"{IDS[i]},{i}" for i in ORDER]
    (folder / "l.csv").write_text("\n".join(["id,label", *rows]))
    output = folder / "r.json"
    command = ("retrieve", bare, first, "--queries", folder / "l.csv", "-o", output)
    assert shell.run(*command, "--k", 2)[0] == 0
    assert json.loads(output.read_text())["query_ids"] == [*IDS]
    code, _, err = shell.run(
        "correlate", first, "--probabilities", folder / "p.npy", "--no-ranks"
    )
    assert code == 0 and "p.npy has none" in " ".join(err.split())
    x = rng.normal(size=(6, 1, 2))
    for name, order in (("x", range(6)), ("y", ORDER)):
        ids = [IDS[i] for i in order]
        np.savez(folder / f"{name}.npz", layer=x[list(order)], ids=ids)
    files = folder / "x.npz", folder / "y.npz"
    document = shell.as_json("compare", *files, "--measure", "pwcca")
    np.testing.assert_allclose(document["matrix"], 1, rtol=1e-3)
    (folder / "g.csv").write_text("\n".join(["id,video", *(f"{i},{i}" for i in IDS)]))
    by_video = ("--groups", "video", "--labels", folder / "g.csv")
    document = shell.as_json("compare", *files, "--measure", "pwcca", *by_video)
    assert document["groups"] == 6


def test_neighbors_and_labels_are_paired_by_ids(files):
    K, _, folder = files
    neighbors = nearest(open_similarity(folder / "other.npz"), 2)
    assert neighbors.query_ids == tuple(IDS[i] for i in ORDER)
    counts = np.eye(6)[:, :3] + 1
    labels = Labels(counts, ids=IDS)
    scores = scores_at_k(neighbors, labels, labels)
    expected = scores_at_k(neighbors.index, counts[ORDER], counts[ORDER])
    np.testing.assert_array_equal(scores.mean, expected.mean)
    with pytest.warns(UserWarning, match="query_counts has none"):
        scores_at_k(neighbors, counts, labels)
    with pytest.raises(ValueError, match="1 of 6 are missing, for example 'f'"):
        scores_at_k(neighbors, labels, Labels(counts, ids=tuple("abcdeg")))
    save_neighbors(folder / "n.npz", neighbors)
    assert (
        load_neighbors(folder / "n.npz").neighbors.database_ids == neighbors.query_ids
    )


@pytest.mark.parametrize(
    ("y_ids", "excluded"), [("cab", [1, 2, 0]), ("def", [None] * 3)]
)
def test_the_query_itself_is_left_out_by_its_id(tmp_path, y_ids, excluded):
    path, output = tmp_path / "k.npz", tmp_path / "r.json"
    save_rsm(path, np.ones((3, 3)), x_ids=[*"abc"], y_ids=[*y_ids])
    shell.done("retrieve", path, "--k", 3, "-o", output, "-q")
    index = json.loads(output.read_text())["neighbors"][str(path)]["index"]
    for row, sample in zip(index, excluded, strict=True):
        assert set(row) - {-1} == {0, 1, 2} - {sample}


def test_an_id_that_stands_for_two_images_is_rejected(tmp_path):
    for name in ("a/1.png", "b/1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths, _ = match_images(tmp_path, ("b/1.png", "2"), None)
    assert paths == [tmp_path / "b/1.png", tmp_path / "2.png"]
    for name in ("1", "1.png"):
        with pytest.raises(ValueError, match=f"the id '{name}' stands for 2 files"):
            match_images(tmp_path, (name,), None)


@pytest.mark.slow
def test_overwrite_replaces_what_was_left_of_another_run(rng, tmp_path):
    x, output = rng.normal(size=(4, 3, 2)).astype("f"), tmp_path / "k.npz"
    np.save(tmp_path / "x.npy", x)
    engine.run(x, store=f"{output}.partial", matcher=Identity())
    command = ("rsm", tmp_path / "x.npy", "-o", output, "--matcher", "greedy")
    code, _, err = shell.run(*command)
    assert code == 2 and "holds another run" in err
    code, _, err = shell.run(*command, "--overwrite")
    assert code == 0, err
    np.testing.assert_array_equal(load_rsm(output).rsm, rsm(x, matcher=Greedy()))
    assert not Path(f"{output}.partial").exists()


def test_tiles_are_the_same_whatever_works_on_them():
    x = np.zeros((600, 300, 1), np.float32)
    sides = {engine.plan(x, matcher=Identity(), workers=n).tile for n in (1, 64)}
    assert len(sides) == 1
