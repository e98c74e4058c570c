"""The data in a report, and a folder of a run with its images."""

import base64
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from class_images import write_noise

from semrsm_jax.engine import Features, run
from semrsm_jax.features.preprocessing import Preprocessing, ShortestEdge
from semrsm_jax.store import save_features

N, GRID, C = 7, (2, 3), 5
# Of files, in whose names a slash has no place.
IDS = tuple(f"{n} <script>alert('{n}')<∕script>.png" for n in range(N))


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
    write_noise(folder / "images", IDS, 30, 44)
    seen = Preprocessing(ShortestEdge(20), 2, (16, 24))
    layers = {"first": x[..., :3], "second": x}
    metadata = {"preprocessing": str(seen)}
    save_features(folder / "features.npz", layers, ids=IDS, metadata=metadata)
    lines = [f'"{name}",class {n % 2}' for n, name in enumerate(IDS)]
    (folder / "labels.csv").write_text("id,label\n" + "\n".join(reversed(lines)))
    given = {"file": str(folder / "features.npz")}
    run(
        {
            name: Features(values, ids=IDS, source={**given, "key": name})
            for name, values in layers.items()
        },
        store=folder / "run.zarr",
    )
    return folder
