"""The report in a browser: themes, sizes, notebooks, few and many pairs."""

import numpy as np
import pytest
from report_browsers import HOSTILE, browser, cell, choose, load, made  # noqa: F401

from semrsm_jax import report
from semrsm_jax.reporting import build


@pytest.mark.slow
def test_light_and_dark_follow_the_system_and_the_switch(browser, made):
    grounds = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page, troubles = load(context, made.path)
        ground = "getComputedStyle(document.body).backgroundColor"
        plot = "JSON.stringify(RSM.model('left').border_fill_color)"
        grounds[scheme] = page.evaluate(ground), page.evaluate(plot)
        page.click("#theme")
        grounds[scheme, "switched"] = page.evaluate(ground), page.evaluate(plot)
        assert troubles == []
        context.close()
    assert grounds["light"] == grounds["dark", "switched"]
    assert grounds["dark"] == grounds["light", "switched"]
    assert grounds["light"] != grounds["dark"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1366, 768), (1024, 700), (390, 844)])
def test_nothing_stands_out_of_the_screen(browser, made, size):
    context = browser.new_context(
        viewport=dict(zip(("width", "height"), size, strict=True))
    )
    page, _ = load(context, made.path)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    context.close()


@pytest.mark.slow
def test_pairs_that_are_not_in_the_page_are_said_to_be_so(browser, made, tmp_path):
    path = tmp_path / "few.html"
    report(made.x, None, path, grid=(4, 6), pairs=0, also=[(1, 2)])
    context = browser.new_context()
    page, troubles = load(context, path.as_uri())
    choose(page, "right", 1, 2)
    assert "Point at a patch" in page.inner_text("#patch-readout")
    choose(page, "right", 3, 9)
    assert "--pair 3,9" in page.inner_text("#patch-readout")
    assert page.locator("#overlay line").count() == 0
    assert troubles == []
    context.close()


@pytest.mark.slow
def test_a_notebook_shows_the_page(browser, made, tmp_path):
    notebook = tmp_path / "notebook.html"
    notebook.write_text(
        f"<!DOCTYPE html><meta charset=utf-8>{made.report._repr_html_()}"
    )
    page = browser.new_page()
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("body[data-ready=true]").wait_for(timeout=30000)
    assert frame.locator("h1").inner_text() == HOSTILE
    page.close()


@pytest.mark.slow
def test_clicks_at_200_samples_are_answered_in_time(browser, tmp_path, capsys):
    """Prints the time from click to the next painted frame; none is asserted."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 64, 8)).astype("f4")
    images = rng.integers(0, 256, (200, 64, 64, 3), np.uint8)
    path = tmp_path / "page.html"
    build.report(x, images, path, grid=(8, 8))
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page, troubles = load(context, path.as_uri())
    times = click_times(page, 200, rng, 12)
    with capsys.disabled():
        print(
            f"\nclick to painted pair at N=200: median {np.median(times):.0f} ms, "
            f"largest {max(times):.0f} ms; page {path.stat().st_size / 1e6:.1f} MB"
        )
    assert troubles == []
    context.close()


def click_times(page, samples, rng, count) -> list[float]:
    """Milliseconds from the mouse button to the frame that shows the pair."""
    page.evaluate(
        """() => {
            window.answered = [];
            let pressed = 0;
            addEventListener("pointerdown", (e) => (pressed = e.timeStamp), true);
            const painted = () => {
                answered.push(performance.now() - pressed);
                document.body.dataset.answered = answered.length;
            };
            new MutationObserver(() =>
                requestAnimationFrame(() => setTimeout(painted))
            ).observe(document.documentElement, {attributeFilter: ["data-pair"]});
        }"""
    )
    for number in range(count):
        row, column = rng.choice(samples, 2, replace=False)
        page.mouse.click(*cell(page, "right", int(row), int(column)))
        page.wait_for_selector(f"body[data-answered='{number + 1}']")
    return page.evaluate("window.answered")
