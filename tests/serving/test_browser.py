"""The service's page in a browser: by keyboard, large and small, light and dark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsing import PHONE, WIDE, chromium

from .living import Living, Place

Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: Any, service: Living) -> Iterator[Opened]:
    """Open the page; what the browser complains about is in ``page.complaints``."""
    contexts = []

    def open_(viewport: dict[str, int] = WIDE, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(service.url)
        return page

    yield open_
    for context in contexts:
        context.close()


def focused(page: Any) -> str:
    """Return the id or text of what has the focus."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.innerText"))


def tab_to(page: Any, name: str) -> None:
    """Press the Tab key until something has the focus, and see that every stop is visible."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue
        style = "getComputedStyle(document.activeElement)"
        marked = page.evaluate(f"{style}.outlineStyle !== 'none' && {style}.outlineWidth !== '0px'")
        assert marked, focused(page)
        if focused(page) == name:
            return
    raise AssertionError(f"the Tab key never comes to {name!r}")


def log_in(page: Any, place: Place) -> None:
    tab_to(page, "key")
    page.keyboard.type(place.token("recommend", "score"))
    page.keyboard.press("Enter")
    page.wait_for_selector("#try-it")


def try_user(page: Any, user: str) -> None:
    tab_to(page, "user")
    page.keyboard.type(user)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer")


def snap(page: Any, name: str) -> None:
    """Keep a picture where somebody has asked for one."""
    if folder := os.environ.get("RECPRUNE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_by_keyboard_alone_from_the_door_to_the_items(opened: Opened, place: Place) -> None:
    page = opened()
    snap(page, "door")
    log_in(page, place)
    cookies = page.context.cookies()
    assert [(c["httpOnly"], c["sameSite"]) for c in cookies] == [(True, "Strict")]
    assert page.evaluate("document.cookie") == ""
    try_user(page, "2")
    assert page.locator("#answer tbody tr").count() == 10
    assert page.input_value("#user") == "2"
    assert "2" not in page.url.rpartition("/try/recommend")[2]
    snap(page, "items")
    tab_to(page, "Log out")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key")
    # The browser tells of the two refusals by status; nothing was kept out by the policy.
    assert [c for c in page.complaints if "401" not in c] == []
    assert all(url.startswith(page.asked[0]) or url == "data:," for url in page.asked)


def test_a_wrong_key_is_told_where_it_was_typed(opened: Opened) -> None:
    page = opened(PHONE, color_scheme="dark")
    tab_to(page, "key")
    page.keyboard.type("rk_wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert page.locator("#key[aria-invalid=true][aria-describedby=reason]").count() == 1
    snap(page, "wrong")


@pytest.mark.parametrize("user", ["2", "<script>document.title = 'owned'</script>"])
def test_what_is_typed_does_nothing(opened: Opened, place: Place, user: str) -> None:
    page = opened()
    log_in(page, place)
    try_user(page, user)
    assert page.title() == "<b>shop</b> · recprune service"
    assert [c for c in page.complaints if "401" not in c] == []


@pytest.mark.parametrize("scheme, viewport", [("light", PHONE), ("dark", WIDE)])
def test_no_barrier_is_found(
    opened: Opened, place: Place, scheme: str, viewport: dict[str, int]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = opened(viewport, color_scheme=scheme)

    def barriers() -> list[Any]:
        found = axe.Axe().run(page).response
        # That it looked: the rules on contrast and names have passed on something.
        assert {"color-contrast", "label", "heading-order"} <= {p["id"] for p in found["passes"]}
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        return [(v["id"], [n["html"][:90] for n in v["nodes"][:3]]) for v in found["violations"]]

    assert barriers() == []
    log_in(page, place)
    try_user(page, "nobody" + "x" * 300)
    assert barriers() == []
    snap(page, f"page-{scheme}")
    page.fill("#record", '{"' + "y" * 300 + '": 1}')
    page.click("text=Recommend")
    page.wait_for_selector("[role=alert]")
    assert barriers() == []
    snap(page, f"mistake-{scheme}")
