"""The page in a real browser: a picture in, what it shows out; words in, pictures out; on a phone's width, too."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click_pictures import COLOURS
from hostile_pictures import HOSTILE
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from served_page import served_example

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")]
MAP = "#map-image:not([hidden])"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_example(tmp_path_factory.mktemp("shelf")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=[1100, 390])
def page(request: pytest.FixtureRequest, browser, address: str) -> Iterator[Page]:
    found = browser.new_page(viewport={"width": request.param, "height": 800})
    problems: list[str] = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda message: problems.append(message.text) if "Security" in message.text else None)
    found.on("request", lambda asked: problems.append(asked.url) if not known(asked.url, address) else None)
    found.goto(address)
    yield found
    width = found.evaluate("() => document.documentElement.scrollWidth")
    found.close()
    assert problems == []
    assert width <= request.param


def known(url: str, address: str) -> bool:
    return url.startswith((address, f"blob:{address}", "data:"))


def picture(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.png"
    Image.new("RGB", (40, 30), COLOURS[name]).save(path)
    return path


def test_a_picture_in_and_what_it_shows_out(page: Page, tmp_path: Path) -> None:
    page.set_input_files("#file", picture(tmp_path, "red"))
    page.wait_for_selector(".bar")
    bars = page.locator(".bar b").all_text_contents()
    assert bars[0] == "red <b>thing</b>"  # a name is text
    assert "fire" in bars
    lengths = [row.evaluate("one => one.getBoundingClientRect().width") for row in page.locator(".bar i").all()]
    assert lengths[0] > 5 * lengths[1]
    page.wait_for_selector("#said figure img")
    first = page.locator("#said figure img").first
    first.scroll_into_view_if_needed()
    first.evaluate("one => one.decode()")
    assert first.evaluate("one => one.naturalWidth") == 40
    page.locator(".bar", has_text="fire").click()
    page.wait_for_selector(MAP)
    assert page.locator("#map-image").evaluate("one => one.decode().then(() => one.naturalWidth)") == 640
    assert "“fire”" in page.locator("#map-text").text_content()
    assert page.locator(".bar[aria-pressed=true] b").all_text_contents() == ["fire"]


def test_another_model_answers_for_the_same_picture(page: Page, tmp_path: Path) -> None:
    page.set_input_files("#file", picture(tmp_path, "blue"))
    page.wait_for_selector(".bar")
    page.select_option("#model", label="OTHER, seed 3")
    page.wait_for_selector("text=The model says nothing of this picture.")
    assert page.locator(".bar").count() == 0
    assert page.is_visible("#history")  # what this model reads
    page.select_option("#model", label="RUN, seed 0")
    page.wait_for_selector(".bar")
    assert not page.is_visible("#history")


def test_fields_are_those_that_the_model_reads(page: Page) -> None:
    page.select_option("#model", label="OTHER, seed 3")
    page.wait_for_selector("#history")  # before there is a picture
    assert not page.is_visible("#tags")


def test_a_file_that_is_no_picture_has_its_reason(page: Page, tmp_path: Path) -> None:
    data, _ = HOSTILE["a zip named .jpg"]
    (tmp_path / "picture.jpg").write_bytes(data)
    page.set_input_files("#file", tmp_path / "picture.jpg")
    page.wait_for_selector("text=This file can't be used: not an image")
    page.wait_for_selector("#invitation:not([hidden])")  # to try another


def test_words_find_pictures_by_typing_or_by_a_click(page: Page) -> None:
    page.fill("#words", "sky nonsense")
    page.press("#words", "Enter")
    page.wait_for_selector("#found figure")
    assert page.locator("#found figcaption span").first.text_content() == "blue.png"
    assert page.locator("#found .note").all_text_contents() == [
        "Left out, as the model doesn't know them: nonsense."
    ]  # fmt: skip
    page.click(".word >> text=grass")
    page.wait_for_selector("#found figure:first-child img[alt='green.png']")
    assert page.input_value("#words") == "grass"
