"""The report as a file: what is in it, and that nothing loads."""

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image
from report_pages import GRID, IDS, C, N, Page, folder, stored, x  # noqa: F401
from shell import done

from semrsm_jax import (
    RBF,
    Cosine,
    Exact,
    Greedy,
    Identity,
    center,
    cka_matrix,
    match,
    pair_statistics,
    report,
    rsm,
)
from semrsm_jax.features.preprocessing import (
    LongestEdge,
    Preprocessing,
    preprocessing_from_text,
)
from semrsm_jax.reporting import correspondences, pictures
from semrsm_jax.reporting.layers import lost_share
from semrsm_jax.reporting.page import _levels
from semrsm_jax.store import save_rsm


def unpacked(packed, dtype="<f4", n=N):
    values = np.frombuffer(base64.b64decode(packed["values"]), dtype)
    if not packed["symmetric"]:
        return values.reshape(n, n)
    full = np.zeros((n, n), dtype)
    full[np.triu_indices(n)] = values
    return np.maximum(full, full.T) if dtype == "<u2" else full + np.triu(full, 1).T


@pytest.fixture(scope="module")
def page(folder):
    made = report(folder / "run.zarr", folder / "images", labels=folder / "labels.csv")
    return Page(made.html)


# What is in the page


def test_nothing_is_loaded_from_anywhere(page):
    for tag, attributes in page.tags:
        assert "src" not in attributes, (tag, attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
        assert not any(name.startswith("on") for name in attributes)
    policy = [a["content"] for t, a in page.tags if t == "meta" and "content" in a]
    assert any(p.startswith("default-src 'none'") and "http" not in p for p in policy)


def test_names_are_data_and_never_markup(folder, page):
    assert page.data["names"] == [*IDS]
    html, plain = (
        report(folder / "run.zarr", title=title, grid=GRID, pairs=0).html
        for title in (IDS[0].replace("∕", "/"), "plain")
    )
    assert "<script>alert" not in html
    # No element that a name would bring along.
    assert [t for t, _ in Page(html).tags] == [t for t, _ in Page(plain).tags]


def test_matrices_are_those_of_both_definitions(page, x):
    assert [layer["name"] for layer in page.data["layers"]] == ["first", "second"]
    for layer, values in zip(page.data["layers"], (x[..., :3], x), strict=True):
        for kind, matcher in (("semantic", Exact()), ("spatio-semantic", Identity())):
            items = unpacked(layer["rsms"][kind])
            np.testing.assert_allclose(items, rsm(values, matcher=matcher), 1e-4, 1e-4)
        lost = lost_share(
            pair_statistics(values), pair_statistics(values, None, Identity())
        )
        levels = unpacked(layer["lost"], "<u2")
        items = layer["lost"]["low"] + layer["lost"]["step"] * levels
        np.testing.assert_allclose(items, lost, atol=1e-4)
        gap = unpacked(layer["bound"], "<u2") * layer["bound"]["step"]
        assert (gap <= 2e-6 * np.abs(items).max() + 1e-3).all()


def test_permutations_are_those_of_match(page, x):
    for number, values in enumerate((x[..., :3], x)):
        layer = page.layer(number)
        assert layer["grid"] == list(GRID) and layer["tokens"] == 6
        permutations = stored(layer)
        assert set(permutations) == {(i, j) for i in range(N) for j in range(i + 1, N)}
        for (i, j), permutation in permutations.items():
            wanted = match(values[i], values[j], matcher=Exact()).permutation
            assert permutation.tolist() == np.asarray(wanted).tolist()


def test_images_are_cut_as_the_network_saw_them(folder, page):
    raw = base64.b64decode(page.data["images"][0])
    with Image.open(io.BytesIO(raw)) as picture:
        assert picture.size[0] / picture.size[1] == pytest.approx(24 / 16)
    assert "16, 24" in page.data["facts"]["images"]
    whole = Page(report(folder / "run.zarr", folder / "images").html)
    assert whole.data["images"] == page.data["images"]


def test_labels_go_by_id_and_orders_by_label_and_clustering(page, x):
    labels = page.data["labels"]
    assert labels == [f"class {n % 2}" for n in range(N)]
    assert page.data["orders"]["by label"] == [0, 2, 4, 6, 1, 3, 5]
    for order in page.data["orders"].values():
        assert sorted(order) == list(range(N))
    assert "by clustering second, spatio-semantic" in page.data["orders"]


def test_cka_is_that_of_cka_matrix(page, x):
    rsms = [
        np.asarray(rsm(values, matcher=matcher))
        for values in (x[..., :3], x)
        for matcher in (Exact(), Identity())
    ]
    wanted = cka_matrix(rsms, estimator="unbiased")
    np.testing.assert_allclose(page.data["cka"]["matrix"], wanted, 1e-3, 1e-4)


def test_arrays_need_no_file(x):
    images = np.random.default_rng(2).uniform(size=(N, 8, 12, 3))
    z = x.reshape(N, *GRID, C)
    made = report({"z": z}, images, kernel=RBF(), also=[(3, 1)], pairs=0)
    layer = Page(made.html).layer()
    assert layer["grid"] == list(GRID) and set(stored(layer)) == {(1, 3)}
    for kind, matcher in (("semantic", Exact()), ("spatio-semantic", Identity())):
        # Each definition has the median of its own distances.
        sigma = float(RBF().sigma(pair_statistics(x, matcher=matcher)))
        assert f"{kind}: rbf (bandwidth {sigma!r})" in layer["kernel"].split(", ")
        wanted = rsm(x, matcher=matcher, kernel=RBF())
        np.testing.assert_allclose(unpacked(layer["rsms"][kind]), wanted, 1e-4)
    assert made._repr_html_().startswith("<iframe") and "MB" in repr(made)
    assert len(made.html) < 3e6


@pytest.mark.slow
def test_a_matcher_that_is_not_symmetric_keeps_both_directions(x):
    shown = stored(Page(report(x, grid=GRID, matcher=Greedy()).html).layer())
    # Each sample with itself too, and of the rest all that fit.
    assert set(shown) == {(i, j) for i in range(N) for j in range(N)}
    for i, j in ((0, 4), (4, 0), (2, 2)):
        wanted = match(x[i], x[j], matcher=Greedy()).permutation
        assert shown[i, j].tolist() == np.asarray(wanted).tolist()


def test_files_of_both_definitions_are_put_together(tmp_path, folder, x):
    common = ("--key", "second", "--center", "channel", "--kernel", "cosine", "-q")
    files = [tmp_path / "exact.npz", tmp_path / "identity.npz"]
    for file in files:
        matcher = ("--matcher", file.stem)
        done("rsm", folder / "features.npz", "-o", file, *matcher, *common)
    shown = Page(report(files, folder / "images").html)
    assert len(shown.data["layers"]) == 1
    centered = np.asarray(center(x))
    for kind, matcher in (("semantic", Exact()), ("spatio-semantic", Identity())):
        wanted = rsm(centered, matcher=matcher, kernel=Cosine())
        shown_rsm = unpacked(shown.layer()["rsms"][kind])
        np.testing.assert_allclose(shown_rsm, wanted, 1e-4, 1e-5)
    wanted = match(centered[0], centered[5], matcher=Exact()).permutation
    assert stored(shown.layer())[0, 5].tolist() == np.asarray(wanted).tolist()
    with pytest.raises(ValueError, match="spatio-semantic RSM alone"):
        report(files[1])


def test_an_rsm_without_its_features_is_shown_as_it_is(tmp_path, x):
    K = np.asarray(rsm(x))
    np.save(tmp_path / "K.npy", K)
    layer = Page(report(tmp_path / "K.npy").html).layer()
    np.testing.assert_array_equal(unpacked(layer["rsms"]["semantic"]), K)
    assert layer["matchings"] is None and "how its tokens were matched" in layer["note"]


def test_ids_of_a_file_name_its_samples(tmp_path, folder):
    ids = IDS[::-1]
    save_rsm(tmp_path / "second.npz", np.eye(N), x_ids=ids, y_ids=ids)
    shown = Page(report(tmp_path / "second.npz", folder / "images").html)
    assert shown.data["names"] == [*ids]
    with pytest.raises(ValueError, match="the ids of 'second' differ"):
        report(tmp_path / "second.npz", features=folder / "features.npz")


def test_a_run_and_a_file_of_the_same_features_are_put_together(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    outputs = [tmp_path / "exact.zarr", tmp_path / "identity.npz"]
    for output in outputs:
        done("rsm", tmp_path / "x.npy", "-o", output, "--matcher", output.stem, "-q")
    assert len(Page(report(outputs, grid=GRID).html).data["layers"]) == 1


def test_features_that_were_moved_are_named_by_hand(tmp_path, x):
    x = np.float32(1e-5) * x  # small norms are compared as well
    np.save(tmp_path / "x.npy", x)
    done("rsm", tmp_path / "x.npy", "-o", tmp_path / "run.zarr", "-q")
    os.rename(tmp_path / "x.npy", tmp_path / "moved.npy")
    layer = Page(report(tmp_path / "run.zarr").html).layer()
    assert layer["matchings"] is None and "--features" in layer["note"]
    made = report(tmp_path / "run.zarr", features=tmp_path / "moved.npy", grid=GRID)
    assert stored(Page(made.html).layer())
    np.save(tmp_path / "other.npy", x[::-1])
    with pytest.raises(ValueError, match="must be those that its RSM was computed"):
        report(tmp_path / "run.zarr", features=tmp_path / "other.npy", grid=GRID)


def test_some_of_many_samples_are_taken(x):
    shown = Page(report(x, grid=GRID, samples=3).html)
    assert shown.data["numbers"] == [0, 3, 6]
    wanted = np.asarray(rsm(x))[::3, ::3]
    np.testing.assert_allclose(
        unpacked(shown.layer()["rsms"]["semantic"], n=3), wanted, 1e-4, 1e-4
    )
    assert shown.data["facts"]["samples"] == "3 of 7, evenly spread"


# Its parts


def test_arrays_are_cut_as_files_are():
    seen = Preprocessing(LongestEdge(6), crop=(2, 6))
    _, size = pictures.draw([np.zeros((8, 12, 3))], seen, lambda *done: None)
    assert size == (2, 6)


def test_no_value_has_the_code_of_an_unknown_one(rng):
    for values in rng.uniform(size=(50, 1, 1)):
        assert unpacked(_levels(values, np.ceil), "<u2", n=1) == 65534


def test_the_most_wanted_pairs_come_first(rng):
    K, L = rng.normal(size=(2, 9, 9))
    K, L = K + K.T, L + L.T
    lost = rng.uniform(size=(9, 9))
    lost = lost + lost.T
    pairs = correspondences.choose_pairs([K, L], lost, 1, 20, [(8, 2)], Exact())
    assert pairs[0].tolist() == [2, 8] and len(pairs) == 20
    assert len({tuple(pair) for pair in pairs.tolist()}) == 20
    few = correspondences.choose_pairs([K, L], lost, 1, 0, [(8, 2)], Exact())
    assert few.tolist() == [[2, 8]]
    np.fill_diagonal(K, -np.inf)
    neighbors = {tuple(sorted((n, int(K[n].argmax())))) for n in range(9)}
    assert neighbors <= {tuple(pair) for pair in pairs.tolist()[:19]}


def test_room_goes_to_the_layers_that_need_it():
    assert correspondences.all_pairs(100, Exact()) == 4950
    assert correspondences.all_pairs(100, Greedy()) == 10_000
    small, large = correspondences.rooms([64, 4096], [4950, 4950])
    assert small == 4950  # all of them
    assert large == (correspondences.BUDGET - small * 128) // (4096 * 3)


def test_what_str_wrote_of_a_preprocessing_is_read():
    for seen in (Preprocessing(), Preprocessing(LongestEdge(8), pad=(8, 8), mean=None)):
        assert preprocessing_from_text(str(seen)) == seen
    for text in ("", "<function f>", "__import__('os').getcwd()", "ShortestEdge(3)"):
        assert preprocessing_from_text(text) is None
