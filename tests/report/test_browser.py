"""The page in headless Chromium: no error in the console, no request, a slider that moves, two widths."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from named_report import NAMES, Reported

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium"),
    pytest.mark.slow,
]
WIDTHS = (390, 1280)
PATIENCE = 120_000  # milliseconds: a browser starts late on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for the superuser
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_works_without_an_error_or_a_request(
    browser: Any, reported: Reported, width: int, tmp_path: Path
) -> None:
    scheme = "dark" if width == WIDTHS[0] else "light"
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(f"a name was run as a script: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(reported.page.as_uri())

    page.locator("article").first.scroll_into_view_if_needed()  # a slider is made when its image comes into view
    slider = page.locator(".stage input").first
    slider.scroll_into_view_if_needed()
    right = page.locator(".stage .side-right").first
    page.wait_for_function("document.querySelector('.stage .side-right').pixels")
    before = right.evaluate("side => getComputedStyle(side).clipPath")
    slider.focus()
    slider.press("End")
    assert right.evaluate("side => getComputedStyle(side).clipPath") != before
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert float(slider.input_value()) == pytest.approx(25, abs=4)

    said = page.locator(".probe").first.text_content()
    assert said.startswith("truth: ")
    assert any(f"truth: {name} ·" in said for name in NAMES)

    everything = (
        "side => { const all = side.pixels; return side.getContext('2d').getImageData(0, 0, all.width, all.height)"
    )
    opaque = everything + ".data.filter((level, at) => at % 4 === 3 && level).length }"
    whole = right.evaluate(opaque)
    button = page.locator("#legend button").nth(1)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function(f"({opaque})(document.querySelector('.stage .side-right')) < {whole}")

    assert page.evaluate("document.documentElement.scrollWidth") == width
    picture = tmp_path / f"report_{width}.png"
    page.screenshot(path=str(picture), full_page=True)
    assert picture.stat().st_size > 50_000
    assert told == []
    assert [url for url in asked if not url.startswith("data:")] == [reported.page.as_uri()]
    context.close()


def test_the_page_prints_its_pictures_and_reads_without_a_script(browser: Any, reported: Reported) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reported.page.as_uri())
    assert page.locator(".layers img").first.is_visible()
    assert not page.locator(".controls").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".layers img").last.is_visible()
    assert not page.locator("nav").is_visible()
    context.close()
