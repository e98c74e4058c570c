"""What was read from files is compared by the ids of its samples."""

import warnings

import numpy as np
import pytest

from semrsm_jax import cka, cka_matrix, nearest, rsa, scores_at_k
from semrsm_jax.comparison.inference import measure_matrix
from semrsm_jax.retrieval import load_neighbors, save_neighbors
from semrsm_jax.store import Labels, load_rsm, open_similarity, save_rsm

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
def test_rsms_are_compared_by_their_ids(files, read):
    K, L, folder = files
    first, other, bare, foreign = (
        read(folder / f"{name}.npz") for name in ("first", "other", "bare", "foreign")
    )
    measures = {
        cka: lambda a, b: cka(a, b),
        rsa: lambda a, b: rsa(a, b),
        cka_matrix: lambda a, b: cka_matrix([a, b])[0, 1],
        measure_matrix: lambda a, b: measure_matrix([a], [b])[0, 0],
    }
    for measure in measures.values():
        expected = measure(K, L)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(measure(first, other), expected, rtol=1e-6)
        with pytest.warns(UserWarning, match="has ids, .* has none: its rows are"):
            np.testing.assert_allclose(measure(first, bare), expected, rtol=1e-6)
        with pytest.raises(ValueError, match="over the samples of .*, by their ids; 2"):
            measure(first, foreign)


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
