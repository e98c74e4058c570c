"""The report in a real browser: what clicks and keys show, themes, sizes, notebooks."""

import numpy as np
import pytest
from report_browsers import HOSTILE, browser, cell, choose, load, made  # noqa: F401

from semrsm_jax import Exact, Identity, match, report, rsm

GRID = (4, 6)


@pytest.fixture(scope="module")
def shared(browser, made):
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    yield load(context, made.path)
    context.close()


@pytest.fixture
def opened(shared):
    """The page of `made`, as the test before left it, which nothing may trouble."""
    shared.page.evaluate("scrollTo(0, 0)")
    yield shared
    assert shared.troubles == []
    assert shared.page.title() == HOSTILE


def shown_numbers(page) -> dict[str, str]:
    names, values = (page.locator(f"#numbers {tag}") for tag in ("dt", "dd"))
    return dict(zip(names.all_inner_texts(), values.all_inner_texts(), strict=True))


def patch(page, which, row, column):
    box = page.locator(f"#{which} img").bounding_box()
    return (
        box["x"] + box["width"] * (column + 0.5) / GRID[1],
        box["y"] + box["height"] * (row + 0.5) / GRID[0],
    )


def lit(page, name, which):
    """The grid position of a patch that is lit up."""
    lit_box = page.locator(f"#overlay .{name}").bounding_box()
    box = page.locator(f"#{which} img").bounding_box()
    x, y = lit_box["x"] + lit_box["width"] / 2, lit_box["y"] + lit_box["height"] / 2
    return (
        int((y - box["y"]) / box["height"] * GRID[0]),
        int((x - box["x"]) / box["width"] * GRID[1]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("pair", [(2, 7), (7, 2), (0, 11), (5, 5)])
def test_a_click_shows_what_match_finds(opened, made, pair):
    i, j = pair
    choose(opened.page, "right", i, j)
    matching = match(made.x[i], made.x[j], matcher=Exact())
    shown = opened.page.evaluate(f"RSM.layers[1].matching({i}, {j}).permutation")
    assert shown == np.asarray(matching.permutation).tolist()
    numbers = shown_numbers(opened.page)
    spatial = float((made.x[i] * made.x[j]).sum())
    assert float(numbers["semantic"]) == pytest.approx(float(matching.value), rel=2e-5)
    assert float(numbers["spatio-semantic"]) == pytest.approx(spatial, rel=2e-4)
    bound = float(numbers["proven bound"].split()[0])
    assert bound == pytest.approx(float(matching.upper_bound), rel=2e-5)
    lost = float(numbers["lost to misalignment"].removesuffix("%"))
    assert lost == pytest.approx(100 * (1 - spatial / float(matching.value)), abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("token", [1, 9, 24])
def test_pointing_at_a_patch_lights_up_its_partner(opened, made, token):
    i, j = 1, 4
    choose(opened.page, "left", i, j)
    permutation = np.asarray(match(made.x[i], made.x[j], matcher=Exact()).permutation)
    (partner,) = permutation[[token]]
    position = divmod(token - 1, 6)
    opened.page.mouse.move(*patch(opened.page, "first", *position))
    assert lit(opened.page, "hovered-patch", "first") == position
    if partner == 0:
        assert "before the grid" in opened.page.inner_text("#patch-readout")
        return
    assert lit(opened.page, "partner-patch", "second") == divmod(partner - 1, 6)
    # And the other way round.
    opened.page.mouse.move(*patch(opened.page, "second", *divmod(partner - 1, 6)))
    assert lit(opened.page, "hovered-patch", "first") == position


def test_lines_are_those_of_the_strongest_matches(opened, made):
    i, j = 3, 6
    choose(opened.page, "right", i, j)
    permutation = np.asarray(match(made.x[i], made.x[j], matcher=Exact()).permutation)
    added = (made.x[i] * made.x[j][permutation]).sum(-1)
    # What concerns CLS has no place in the image.
    inside = [t for t in np.argsort(-added) if t and permutation[t]]
    opened.page.locator("#lines").fill("4")
    lines = opened.page.locator("#overlay .strongest")
    assert lines.count() == 4
    box = opened.page.locator("#first img").bounding_box()
    whole = opened.page.locator("#pictures").bounding_box()
    started = [
        (float(line.get_attribute("y1")), float(line.get_attribute("x1")))
        for line in lines.all()
    ]
    values = {
        1
        + 6 * int((y - box["y"] + whole["y"]) / box["height"] * 4)
        + int((x - box["x"] + whole["x"]) / box["width"] * 6)
        for y, x in started
    }
    assert values == {int(t) for t in inside[:4]}


def test_keys_move_and_choose_the_cell_and_the_patch(opened, made):
    page = opened.page
    page.locator("#left-focus").focus()
    start = page.get_attribute("html", "data-pair")
    row, column = map(int, start.split(","))
    for key, step in (("ArrowDown", (1, 0)), ("End", (0, 99)), ("ArrowLeft", (0, -1))):
        page.keyboard.press(key)
        row, column = min(row + step[0], 11), min(column + step[1], 11)
        assert f"(row {row})" in page.inner_text("#readout")
    assert "(column 10)" in page.inner_text("#readout")
    assert page.get_attribute("html", "data-pair") == start
    page.keyboard.press("Enter")
    page.wait_for_selector(f"html[data-pair='{row},10']")
    page.locator("#pictures").focus()
    page.keyboard.press("ArrowRight")
    first = lit(page, "hovered-patch", "first")
    page.keyboard.press("ArrowDown")
    assert lit(page, "hovered-patch", "first") == (first[0] + 1, first[1])
    page.keyboard.press("Escape")
    assert page.locator("#overlay .hovered-patch").count() == 0


def test_the_tab_key_reaches_every_part_and_shows_where_it_is(opened):
    seen, outlined = [], []
    for _ in range(40):
        opened.page.keyboard.press("Tab")
        name, outline = opened.page.evaluate(
            """() => {
                const here = document.activeElement;
                return [here.id, getComputedStyle(here).outlineStyle];
            }"""
        )
        seen.append(name)
        outlined += [name] if name and outline == "none" else []
    wanted = ["left-choice", "right-choice", "order-choice", "one-scale", "theme"]
    wanted += ["left-focus", "right-focus", "row-choice", "column-choice", "pictures"]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places)
    assert outlined == []


def test_both_heatmaps_have_one_cursor_and_one_range(opened):
    page = opened.page
    page.mouse.move(*cell(page, "left", 3, 8))
    assert "(row 3)" in page.inner_text("#readout")
    assert "(column 8)" in page.inner_text("#readout")
    both = page.evaluate(
        """["left", "right"].map((side) => {
            const plot = RSM.model(side);
            return [plot.center.filter((r) => r.name === "hovered-row")[0].location,
                plot.x_range.id, plot.y_range.id];
        })"""
    )
    assert both[0] == both[1] and both[0][0] == 3.5


@pytest.mark.parametrize("order", ["by label", "by clustering last, semantic"])
def test_orders_move_rows_and_columns_alike(opened, made, order):
    page = opened.page
    page.select_option("#order-choice", label=order)
    samples = page.evaluate("[...Array(12).keys()].map(RSM.sampleAt)")
    assert sorted(samples) == list(range(12)) and samples != list(range(12))
    classes = [n % 3 for n in samples if n != 11]
    # Those of a class side by side, in either order.
    assert sum(a != b for a, b in zip(classes, classes[1:], strict=False)) == 2
    image = page.evaluate("Array.from(RSM.model('right-image').data.image[0])")
    wanted = np.asarray(rsm(made.x))[np.ix_(samples, samples)]
    np.testing.assert_allclose(np.reshape(image, (12, 12)), wanted, 1e-5, 1e-4)
    page.mouse.click(*cell(page, "right", 2, 9))
    page.wait_for_selector(f"html[data-pair='{samples[2]},{samples[9]}']")
    page.select_option("#order-choice", label="as given")


def test_neighbors_are_those_of_each_definition(opened, made):
    page = opened.page
    choose(page, "right", 4, 8)
    lists = page.locator(".neighbor-list")
    for shown, matcher in zip(lists.all(), (Exact(), Identity()), strict=True):
        K = np.array(rsm(made.x, matcher=matcher))
        K[4, 4] = -np.inf
        buttons = shown.locator("button")
        values = [int(b.get_attribute("data-sample")) for b in buttons.all()]
        assert values == np.argsort(-K[4])[:5].tolist()
    wanted = lists.first.locator("button").nth(2)
    sample = wanted.get_attribute("data-sample")
    wanted.click()
    page.wait_for_selector(f"html[data-pair='4,{sample}']")


def test_a_cell_of_the_cka_matrix_puts_its_rsms_into_the_heatmaps(opened):
    page = opened.page
    page.locator("#comparison").scroll_into_view_if_needed()
    names = page.evaluate("RSM.cka.names")
    assert names == [
        f"{n}, {k}" for n in (HOSTILE, "last") for k in ("semantic", "spatio-semantic")
    ]
    where = page.evaluate(
        """() => {
            const view = Bokeh.index.find_one(RSM.model("cka"));
            const {left, top} = view.canvas_view.events_el.getBoundingClientRect();
            return [left + view.frame.x_scale.compute(RSM.cka.names[3]),
                top + view.frame.y_scale.compute(RSM.cka.names[0])];
        }"""
    )
    page.mouse.move(*where)
    page.mouse.click(*where)
    page.wait_for_function(
        "document.getElementById('left-title').textContent.startsWith('semantic')"
    )
    assert page.inner_text("#left-title") == f"semantic: {HOSTILE}"
    assert page.inner_text("#right-title") == "spatio-semantic: last"


# Pages of their own


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
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
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
def test_clicks_at_200_samples_are_answered(browser, rng, tmp_path):
    x = rng.normal(size=(200, 64, 8)).astype("f4")
    images = rng.integers(0, 256, (200, 64, 64, 3), np.uint8)
    path = tmp_path / "page.html"
    report(x, images, path, grid=(8, 8))
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page, troubles = load(context, path.as_uri())
    for row, column in rng.choice(200, (12, 2), replace=False).tolist():
        choose(page, "right", row, column)
    assert troubles == []
    context.close()
