"""The report as a file: what is in it, what is refused, and that nothing loads."""

import base64
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

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
from semrsm_jax.cli import app
from semrsm_jax.engine import Features, run
from semrsm_jax.features.preprocessing import (
    LongestEdge,
    Preprocessing,
    ShortestEdge,
    preprocessing_from_text,
)
from semrsm_jax.reporting import correspondences
from semrsm_jax.reporting.layers import lost_share
from semrsm_jax.store import save_features, save_rsm

pytest.importorskip("bokeh")

N, GRID, C = 7, (2, 3), 5
IDS = tuple(f"{n} <script>alert('{n}')</script>.png" for n in range(N))


class Page(HTMLParser):
    """The tags of a page with their attributes, and the data in it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(html)
        text = next(t for t in self.scripts if t.startswith('{"title"'))
        self.data = json.loads(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "script"

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data

    def layer(self, number=0):
        return self.data["layers"][number]


def unpacked(packed, dtype="<f4", n=N):
    values = np.frombuffer(base64.b64decode(packed["values"]), dtype)
    if not packed["symmetric"]:
        return values.reshape(n, n)
    full = np.zeros((n, n), dtype)
    full[np.triu_indices(n)] = values
    return np.maximum(full, full.T) if dtype == "<u2" else full + np.triu(full, 1).T


def stored(layer):
    matchings, tokens = layer["matchings"], layer["tokens"]
    pairs = np.frombuffer(base64.b64decode(matchings["pairs"]), "<u4").reshape(-1, 2)
    permutation = np.frombuffer(
        base64.b64decode(matchings["permutation"]), f"<u{matchings['width']}"
    )
    return dict(zip(map(tuple, pairs), permutation.reshape(-1, tokens), strict=True))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, 6, C)).astype("f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, x):
    folder = tmp_path_factory.mktemp("with space é")
    os.makedirs(folder / "images")
    rng = np.random.default_rng(1)
    for name in IDS:
        # A slash has no place in a name.
        name = name.replace("/", "∕")
        pixels = rng.integers(0, 256, (30, 44, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    ids = [name.replace("/", "∕") for name in IDS]
    seen = Preprocessing(ShortestEdge(20), 2, (16, 24))
    layers = {"first": x[..., :3], "second": x}
    metadata = {"preprocessing": str(seen)}
    save_features(folder / "features.npz", layers, ids=ids, metadata=metadata)
    lines = [f'"{name}",class {n % 2}' for n, name in enumerate(ids)]
    (folder / "labels.csv").write_text("id,label\n" + "\n".join(reversed(lines)))
    given = {"file": str(folder / "features.npz")}
    run(
        {
            name: Features(values, ids=ids, source={**given, "key": name})
            for name, values in layers.items()
        },
        store=folder / "run.zarr",
    )
    return folder


@pytest.fixture(scope="module")
def page(folder):
    found = report(folder / "run.zarr", folder / "images", labels=folder / "labels.csv")
    return Page(found.html)


def cli(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


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
    assert page.data["names"] == [name.replace("/", "∕") for name in IDS]
    html, plain = (
        report(folder / "run.zarr", title=title, grid=GRID, pairs=0).html
        for title in (IDS[0], "plain")
    )
    assert "<script>alert" not in html
    # No element that a name would bring along.
    assert [t for t, _ in Page(html).tags] == [t for t, _ in Page(plain).tags]


def test_matrices_are_those_of_both_definitions(page, x):
    assert [layer["name"] for layer in page.data["layers"]] == ["first", "second"]
    for layer, values in zip(page.data["layers"], (x[..., :3], x), strict=True):
        for kind, matcher in (("semantic", Exact()), ("spatio-semantic", Identity())):
            found = unpacked(layer["rsms"][kind])
            np.testing.assert_allclose(found, rsm(values, matcher=matcher), 1e-4, 1e-4)
        lost = lost_share(
            pair_statistics(values), pair_statistics(values, None, Identity())
        )
        levels = unpacked(layer["lost"], "<u2")
        found = layer["lost"]["low"] + layer["lost"]["step"] * levels
        np.testing.assert_allclose(found, lost, atol=1e-4)
        gap = unpacked(layer["bound"], "<u2") * layer["bound"]["step"]
        assert (gap <= 2e-6 * np.abs(found).max() + 1e-3).all()


def test_permutations_are_those_of_match(page, x):
    for number, values in enumerate((x[..., :3], x)):
        layer = page.layer(number)
        assert layer["grid"] == list(GRID) and layer["tokens"] == 6
        found = stored(layer)
        assert set(found) == {(i, j) for i in range(N) for j in range(i + 1, N)}
        for (i, j), permutation in found.items():
            wanted = match(values[i], values[j], matcher=Exact()).permutation
            assert permutation.tolist() == np.asarray(wanted).tolist()


def test_images_are_cut_as_the_network_saw_them(folder, page):
    import io

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
    found = report({"z": z}, images, kernel=RBF(), also=[(3, 1)], pairs=0)
    layer = Page(found.html).layer()
    assert layer["grid"] == list(GRID) and set(stored(layer)) == {(1, 3)}
    sigma = float(RBF().sigma(pair_statistics(x)))
    assert layer["kernel"] == f"rbf (bandwidth {sigma!r})"
    np.testing.assert_allclose(
        unpacked(layer["rsms"]["semantic"]), rsm(x, kernel=RBF()), 1e-4
    )
    assert found._repr_html_().startswith("<iframe") and "MB" in repr(found)
    assert len(found.html) < 3e6


def test_a_matcher_that_is_not_symmetric_keeps_both_directions(x):
    found = stored(Page(report(x, grid=GRID, matcher=Greedy()).html).layer())
    # Each sample with itself too, and of the rest all that fit.
    assert set(found) == {(i, j) for i in range(N) for j in range(N)}
    for i, j in ((0, 4), (4, 0), (2, 2)):
        wanted = match(x[i], x[j], matcher=Greedy()).permutation
        assert found[i, j].tolist() == np.asarray(wanted).tolist()


def test_files_of_both_definitions_are_put_together(tmp_path, folder, x):
    common = ("--key", "second", "--center", "channel", "--kernel", "cosine", "-q")
    for name in ("exact", "identity"):
        out = tmp_path / f"{name}.npz"
        arguments = ["rsm", folder / "features.npz", "-o", out, "--matcher", name]
        done = CliRunner().invoke(app, [*map(str, arguments), *common])
        assert done.exit_code == 0, done.output
    files = [tmp_path / "exact.npz", tmp_path / "identity.npz"]
    found = Page(report(files, folder / "images").html)
    assert len(found.data["layers"]) == 1
    centered = np.asarray(center(x))
    for kind, matcher in (("semantic", Exact()), ("spatio-semantic", Identity())):
        wanted = rsm(centered, matcher=matcher, kernel=Cosine())
        found_rsm = unpacked(found.layer()["rsms"][kind])
        np.testing.assert_allclose(found_rsm, wanted, 1e-4, 1e-5)
    wanted = match(centered[0], centered[5], matcher=Exact()).permutation
    assert stored(found.layer())[0, 5].tolist() == np.asarray(wanted).tolist()
    with pytest.raises(ValueError, match="spatio-semantic RSM alone"):
        report(files[1])


def test_an_rsm_without_its_features_is_shown_as_it_is(tmp_path, x):
    K = np.asarray(rsm(x))
    np.save(tmp_path / "K.npy", K)
    layer = Page(report(tmp_path / "K.npy").html).layer()
    np.testing.assert_array_equal(unpacked(layer["rsms"]["semantic"]), K)
    assert layer["matchings"] is None and "how its tokens were matched" in layer["note"]


def test_features_that_were_moved_are_named_by_hand(tmp_path, x):
    np.save(tmp_path / "x.npy", x)
    command = ["rsm", str(tmp_path / "x.npy"), "-o", str(tmp_path / "run.zarr"), "-q"]
    assert CliRunner().invoke(app, command).exit_code == 0
    os.rename(tmp_path / "x.npy", tmp_path / "moved.npy")
    layer = Page(report(tmp_path / "run.zarr").html).layer()
    assert layer["matchings"] is None and "--features" in layer["note"]
    found = report(tmp_path / "run.zarr", features=tmp_path / "moved.npy", grid=GRID)
    assert stored(Page(found.html).layer())
    np.save(tmp_path / "other.npy", x[::-1])
    with pytest.raises(ValueError, match="must be those that its RSM was computed"):
        report(tmp_path / "run.zarr", features=tmp_path / "other.npy", grid=GRID)


def test_some_of_many_samples_are_taken(x):
    found = Page(report(x, grid=GRID, samples=3).html)
    assert found.data["numbers"] == [0, 3, 6]
    wanted = np.asarray(rsm(x))[::3, ::3]
    np.testing.assert_allclose(
        unpacked(found.layer()["rsms"]["semantic"], n=3), wanted, 1e-4, 1e-4
    )
    assert found.data["facts"]["samples"] == "3 of 7, evenly spread"


# Its parts


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


# What is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"images": np.zeros((3, 4, 4, 3), np.uint8)},
            "one a sample, 7 of them, got 3",
        ),
        ({"images": np.zeros((N, 4, 4), int)}, "uint8 or floats, got dtype int64"),
        ({"images": np.full((N, 4, 4), 7.0)}, r"in \[0, 1\] where they are floats"),
        ({"labels": ["a"] * 3}, "a label for each of 7 samples, got 3"),
        ({"grid": (3, 3)}, r"at most S=6 tokens, got \(3, 3\)"),
        ({"also": [(0, 7)]}, "pairs of rows from 0 to 6"),
        ({"neighbors": 0}, "neighbors must be at least 1"),
        ({"layers": ["none"]}, "layers must be of 'features', got 'none'"),
        ({"output": "page.txt"}, "must end in one of .html"),
    ],
)
def test_bad_input_is_named(x, given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        report(x, **{"grid": GRID, **given})


def test_a_grid_that_cannot_be_told_is_asked_for(x):
    with pytest.raises(ValueError, match="grid must be the rows and columns"):
        report(x[:, :3])


def test_too_many_samples_are_refused_before_they_are_matched():
    with pytest.raises(ValueError, match=r"at most 1,500 samples, got 1,600.*samples="):
        report(np.zeros((1600, 4, 2), "f4"))


def test_nan_and_other_shapes_are_refused(tmp_path):
    K = np.eye(3)
    K[0, 2] = np.nan
    save_rsm(tmp_path / "nan.npz", K)
    with pytest.raises(ValueError, match="finite, got 1 NaN or infinite values, the"):
        report(tmp_path / "nan.npz")
    np.save(tmp_path / "wide.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"must hold a square RSM.*\(3, 4\)"):
        report(tmp_path / "wide.npy")


def test_images_that_are_missing_are_named(tmp_path, folder):
    Image.new("RGB", (4, 4)).save(tmp_path / "another.png")
    with pytest.raises(ValueError, match="7 of 7 are missing, for example .0 <.*anot"):
        report(folder / "run.zarr", tmp_path)


# The command


def test_the_command_writes_the_page_and_keeps_what_is_there(tmp_path, folder):
    out = tmp_path / "new" / "report.html"
    common = (folder / "run.zarr", "-i", folder / "images", "-o", out)
    done = cli(*common, "--layers", "second", "--pairs", "2", "--pair", "1,6", "--k", 2)
    assert done.exit_code == 0, done.output
    assert "MiB" in done.stdout and str(out) in done.stdout.replace("\n", "")
    found = Page(out.read_text(encoding="utf-8"))
    assert [layer["name"] for layer in found.data["layers"]] == ["second"]
    assert len(stored(found.layer())) == 2 and (1, 6) in stored(found.layer())
    assert os.listdir(out.parent) == ["report.html"]
    again = cli(*common)
    assert again.exit_code == 2 and "--overwrite" in again.stderr
    assert cli(*common, "--overwrite", "-q", "--pairs", "all").stdout == ""
    everything = stored(Page(out.read_text(encoding="utf-8")).layer(1))
    assert len(everything) == N * (N - 1) // 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pair", "3"), "--pair must be I,J"),
        (("--pairs", "few"), "--pairs must be a number of pairs or all"),
        (("--layers", "third"), "layers must be of 'first', 'second', got 'third'"),
        (("--bandwidth", "2"), "--bandwidth needs --kernel rbf"),
        (("--labels", "none.csv"), "none.csv does not exist"),
        (("-i", "none"), "images: none does not exist"),
        (("--features", "none.npy"), "none.npy"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, folder, arguments, message):
    done = cli(folder / "run.zarr", "-o", tmp_path / "r.html", *arguments)
    assert done.exit_code == 2
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert os.listdir(tmp_path) == []
