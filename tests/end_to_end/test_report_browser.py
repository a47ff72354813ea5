"""The pages in a real browser: no error, every chart drawn, hovering shows the sample, the select
box changes the colours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nearfar

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs chromium and its driver",
    ),
]
SMALL = {"data": "digits", "limit": 200, "encoder": "perceptron", "epochs": 4, "batch_size": 50}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    return [
        nearfar.pretrain(name, **SMALL, quiet=True, output=folder / name).folder
        for name in ("simclr", "vicreg")
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for word in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    yield driver
    driver.quit()


def opened(browser: Any, page: Path) -> None:
    """Open a page and wait until all its charts are drawn."""
    browser.get(page.resolve().as_uri())
    undrawn = (
        "return [...document.querySelectorAll('.chart')].filter(c => "
        "!c.dataset.drawn).map(c => c.id)"
    )
    deadline = time.monotonic() + 60
    while browser.execute_script(undrawn) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert browser.execute_script(undrawn) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_of_a_run(runs: list[Path], browser: Any) -> None:
    page = runs[0] / "report.html"
    assert page.stat().st_size < 5_000_000
    opened(browser, page)
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    points = "[...document.querySelectorAll('#map .mark-symbol.role-mark path')]"
    fills = f"return [...new Set({points}.map(p => p.getAttribute('fill')))].length"
    by_label = browser.execute_script(fills)
    assert by_label == 10
    box = browser.find_element("css selector", "#map select")
    box.find_elements("tag name", "option")[1].click()
    time.sleep(0.5)
    assert browser.execute_script(fills) == 2  # right and wrong
    from selenium.webdriver import ActionChains

    point = browser.find_element("css selector", "#map .mark-symbol.role-mark path")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    time.sleep(0.5)
    tooltip = browser.find_element("id", "vg-tooltip-element")
    assert "visible" in tooltip.get_attribute("class")
    assert tooltip.find_element("tag name", "img").get_attribute("src").startswith("data:image/png")


def test_the_page_fits_a_phone(runs: list[Path], browser: Any) -> None:
    browser.set_window_size(420, 900)
    opened(browser, runs[0] / "report.html")
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= window.innerWidth"
    )
    browser.set_window_size(1200, 1600)


def test_the_page_of_a_comparison(runs: list[Path], browser: Any, tmp_path: Path) -> None:
    page = nearfar.report(*runs, output=tmp_path / "c.html")
    assert page.stat().st_size < 5_000_000
    opened(browser, page)
    text = browser.find_element("tag name", "body").text
    assert "No method is surely the best by kNN accuracy" in text
    assert "vicreg and simclr cannot be compared with one seed" in text
    assert "What the views look like" in text
