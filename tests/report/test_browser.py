"""The page in a browser, as its readers have it: large and small, light and dark, by keyboard."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recprune.report import render_page, write_comparison
from tests.browsing import PHONE, WIDE, chromium
from tests.report.searched import searched

Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def file(make_report, made, tmp_path_factory) -> Path:
    """The realistic report of a search."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(searched(make_report()), made), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    """Open the page; what it complains about, and what it asks for, is in ``page.complaints``."""
    contexts = []

    def open_(viewport: dict[str, int] = WIDE, path: Path = file, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.complaints.append(request.url))
        page.goto(path.as_uri())
        assert page.complaints.pop(0) == path.as_uri()
        return page

    yield open_
    for context in contexts:
        context.close()


def unfold(page: Any) -> None:
    """Open every table that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_it_asks_for_nothing_and_complains_of_nothing(opened: Opened) -> None:
    page = opened()
    page.mouse.wheel(0, 4000)
    page.wait_for_timeout(100)
    assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_drawn(opened: Opened, made, scheme: str) -> None:
    image = pytest.importorskip("PIL.Image")
    page = opened(color_scheme=scheme)
    drawn = page.locator("figure")
    assert drawn.count() == len(made)
    for index in range(drawn.count()):
        figure = drawn.nth(index)
        name = figure.get_attribute("id")
        assert figure.locator("use, path").count() > 3, name
        shot = image.open(io.BytesIO(figure.screenshot())).convert("RGB")
        counts = shot.getcolors(1 << 24)
        assert len(counts) > 20, name
        # The ground is the page's: what is drawn in the colours of the other scheme is lost on it.
        share, ground = max(counts)
        assert share > 0.3 * shot.width * shot.height, name
        assert (sum(ground) > 600) == (scheme == "light"), name


def test_the_verdict_is_read_without_scrolling(opened: Opened) -> None:
    page = opened()
    for part in (".outcome", "#the-verdict", ".verdict p", "#picture-verdict", ".tiles"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= WIDE["height"], part
    said = page.locator("#the-verdict").inner_text()
    assert "The pruned model recommends as well as the full one, and it is 12× smaller." in said


OUTSIDE = """
() => [...document.querySelectorAll('body *')].filter(each => {
  const box = each.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth + 0.5 && box.left >= -0.5) return false;
  for (let up = each.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX === 'auto') return false;
  return !each.matches('.skip');
}).map(each => each.outerHTML.slice(0, 90))
"""


def test_nothing_overflows_on_a_phone(opened: Opened, make_report, made, tmp_path: Path) -> None:
    report = searched(make_report())
    report["dataset"]["name"] = "an_unbroken_name_" * 6
    report["fields"]["kept"].append("x" * 90)
    report["command"] = "recprune run " + "y" * 200
    path = tmp_path / "long.html"
    path.write_text(render_page(report, made), encoding="utf-8")
    page = opened(PHONE, path)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(OUTSIDE) == []


def test_a_pointer_near_a_mark_shows_its_trial(opened: Opened, make_report) -> None:
    page = opened()
    chosen = next(t for t in searched(make_report())["search"]["trials"] if t["chosen"])
    mark = page.locator("#picture-front .point[tabindex='0']")
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    tip = page.locator(".tip")
    assert not tip.is_visible()
    page.mouse.move(box["x"] + box["width"] / 2 - 3, box["y"] + box["height"] / 2 + 3)
    assert tip.is_visible()
    shown = tip.inner_text().splitlines()
    assert shown[0] == f"Trial {chosen['number']}: {chosen['label']}"
    assert shown[1].startswith("351 kB, ")
    assert shown[3] == "PASS, chosen"
    inside = tip.bounding_box()
    assert inside["x"] >= 0
    assert inside["x"] + inside["width"] <= WIDE["width"]
    page.mouse.move(5, 5)
    assert not tip.is_visible()


def test_a_tap_on_a_phone_shows_the_trial(opened: Opened) -> None:
    page = opened(PHONE, has_touch=True)
    mark = page.locator("#picture-front .point").nth(40)
    mark.scroll_into_view_if_needed()
    mark.tap(force=True)
    shown = page.locator(".tip").bounding_box()
    assert shown["x"] >= 0
    assert shown["x"] + shown["width"] <= PHONE["width"]


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''")


def test_the_keyboard_goes_from_mark_to_mark(opened: Opened) -> None:
    page = opened()
    for _ in range(80):
        page.keyboard.press("Tab")
        if focused(page).startswith("Trial "):
            break
    assert "PASS, chosen" in focused(page)
    tip = page.locator(".tip")
    assert tip.inner_text().replace("\n", "; ") == focused(page)
    here = "document.activeElement.getBoundingClientRect().left"
    places = [page.evaluate(here)]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        places.append(page.evaluate(here))
        assert tip.inner_text().replace("\n", "; ") == focused(page)
    assert places[0] < places[1] < places[2]
    assert places[3] == places[1]
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    # One stop a chart: the next is beyond it, and the way back leads to the mark that was left.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#picture-front') === null")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(here) == places[3]


def test_every_stop_of_the_tab_key_is_seen(opened: Opened) -> None:
    # Without it the page glides to where the focus is.
    page, seen = opened(reduced_motion="reduce"), 0
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        style = "getComputedStyle(document.activeElement)"
        marked = page.evaluate(f"{style}.outlineStyle !== 'none' && {style}.outlineWidth !== '0px'")
        assert marked, page.evaluate("document.activeElement.outerHTML.slice(0, 80)")
        box = page.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
        assert box["bottom"] > 0, focused(page)
        assert box["top"] < WIDE["height"], focused(page)
        seen += 1
    assert 15 < seen < 60


@pytest.mark.parametrize("scheme, viewport", [("light", PHONE), ("dark", WIDE)])
def test_no_barrier_is_found(opened: Opened, scheme: str, viewport: dict[str, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = opened(viewport, color_scheme=scheme)
    unfold(page)
    found = axe.Axe().run(page).response
    told = [(v["id"], [n["html"][:90] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert told == []
    # That it looked: the rules on contrast and names have passed on something.
    assert {"color-contrast", "svg-img-alt", "heading-order"} <= {p["id"] for p in found["passes"]}


def test_a_comparison_is_held_to_the_same(opened: Opened, make_report, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    report = make_report()
    pruned = [
        {**report["pruned"], "name": name, "bytes": size, "verdict": {**report["verdict"], **more}}
        for name, size, more in (
            ("runs/small", 351_200, {}),
            ("runs/" + "smaller" * 9, 90_000, {"outcome": "FAIL", "difference": -0.02, "ci": None}),
        )
    ]
    found = {"full": {**report["full"], "name": "runs/full"}, "pruned": pruned}
    page = opened(PHONE, write_comparison(tmp_path / "compared.html", found, "shop.csv"))
    unfold(page)
    assert page.complaints == []
    assert "1 of 2 PASS" in page.locator("#the-verdict").inner_text()
    assert page.locator("#picture-front .point").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(OUTSIDE) == []
    assert [v["id"] for v in axe.Axe().run(page).response["violations"]] == []


TEXTS = """
() => [...document.querySelectorAll('figure svg text')].map(each => [
  getComputedStyle(each).fill, getComputedStyle(each.closest('section')).backgroundColor])
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_in_pictures_have_contrast(opened: Opened, scheme: str) -> None:
    pairs = {tuple(pair) for pair in opened(color_scheme=scheme).evaluate(TEXTS)}
    assert len(pairs) > 2
    for text, ground in pairs:
        assert ratio(text, ground) >= 4.5, (text, ground)


def ratio(one: str, other: str) -> float:
    """Return WCAG 2.2's contrast ratio of two colours as ``rgb(1, 2, 3)``."""

    def luminance(colour: str) -> float:
        parts = [int(p) / 255 for p in colour.strip("rgb()").split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_without_script_the_page_says_as_much(opened: Opened) -> None:
    page = opened(java_script_enabled=False)
    assert page.complaints == []
    assert not page.locator(".hint").first.is_visible()
    assert page.locator("#picture-front .point > title").count() > 40
    assert page.locator("#front summary").is_visible()


def test_print_shows_what_was_folded(opened: Opened) -> None:
    page = opened(color_scheme="dark")
    row = page.locator("#front details tbody tr").first
    assert not row.is_visible()
    page.emulate_media(media="print")
    assert row.is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.locator(".hint").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
