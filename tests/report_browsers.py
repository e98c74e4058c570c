"""A browser, and a report that is opened in it.

Needs a Chromium: that of Debian (``apt-get install chromium``), any on the path, or the
one that ``playwright install chromium`` gets; the variable CHROMIUM names another.
"""

import os
import shutil
from typing import NamedTuple

import numpy as np
import playwright.sync_api as playwright
import pytest

from semrsm_jax import Report, center, report

HOSTILE = "<img src=x onerror=document.title='broken'>\"'&"


def browser_path() -> str | None:
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return named or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        path = browser_path()
        if path is None and not os.path.exists(started.chromium.executable_path):
            pytest.skip("no Chromium: apt-get install chromium, or set CHROMIUM")
        # Containers have no sandbox to offer, and the page is our own.
        chromium = started.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


class Made(NamedTuple):
    path: str
    x: np.ndarray
    names: list[str]
    report: Report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two layers of 12 samples, tokens on a grid of 4 x 6 after a CLS token."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(3, 25, 8)).astype("f4")
    rows = [concepts[n % 3][rng.permutation(25)] for n in range(12)]
    x = np.asarray(center(np.stack(rows) + rng.normal(size=(12, 25, 8)) / 4), "f4")
    labels = [f"class {n % 3}" for n in range(12)]
    images = rng.integers(0, 256, (12, 40, 60, 3), np.uint8)
    path = tmp_path_factory.mktemp("a report") / "page é.html"
    written = report(
        {HOSTILE: x + rng.normal(size=x.shape).astype("f4") / 9, "last": x},
        images,
        path,
        labels=[*labels[:-1], HOSTILE],
        grid=(4, 6),
        title=HOSTILE,
    )
    return Made(path.as_uri(), x, labels, written)


class Opened(NamedTuple):
    page: "playwright.Page"
    troubles: list[str]


def load(context, path) -> Opened:
    page, troubles = context.new_page(), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: m.type == "error" and troubles.append(m.text))
    page.on(
        "request",
        lambda r: (
            r.url == path
            or r.url.startswith(("data:", "blob:"))
            or troubles.append(f"requested {r.url}")
        ),
    )
    page.goto(path)
    page.wait_for_selector("body[data-ready=true]")
    return Opened(page, troubles)


def cell(page, side, row, column):
    """Where a cell is on the screen, as Bokeh itself says."""
    return page.evaluate(
        """([side, row, column]) => {
            const plot = RSM.model(side), view = Bokeh.index.find_one(plot);
            const frame = view.canvas_view.events_el ?? view.canvas_view.el;
            const {left, top} = frame.getBoundingClientRect();
            const [x, y] = [view.frame.x_scale, view.frame.y_scale];
            return [left + x.compute(column + .5), top + y.compute(row + .5)];
        }""",
        [side, row, column],
    )


def choose(page, side, row, column):
    page.mouse.click(*cell(page, side, row, column))
    page.wait_for_selector(f"html[data-pair='{row},{column}']")
