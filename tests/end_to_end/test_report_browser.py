"""The pages in a real browser, on a desk and on a phone, light and dark: no message in the console,
no column cut, no colour twice, no chart empty; hovering shows the sample, the select box changes
the colours.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import wavfile

import nearfar

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs chromium and its driver",
    ),
]
SMALL = {"data": "digits", "limit": 200, "encoder": "perceptron", "epochs": 4, "batch_size": 50}
CLASSES = 12
"""More than the ten marks of one shape."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    return [
        nearfar.pretrain(name, **SMALL, quiet=True, output=folder / name).folder
        for name in ("simclr", "vicreg")
    ]


def _series(folder: Path) -> Path:
    """Three channels of very different height, in twelve classes with long names."""
    random = np.random.default_rng(0)
    label = np.arange(144) % CLASSES
    time_of = np.linspace(0, 6, 60)
    waves = np.sin(time_of * (1 + label[:, None, None])) * np.array([1.0, 5.0, 20.0])[:, None]
    names = np.array([f"a movement with a long name, number {number}" for number in range(CLASSES)])
    x = (waves + 0.1 * random.normal(size=waves.shape)).astype(np.float32)
    np.savez(folder / "series.npz", x=x, label=names[label])
    return folder / "series.npz"


def _sounds(folder: Path) -> Path:
    random = np.random.default_rng(1)
    blobs = []
    for number in range(48):
        file = io.BytesIO()
        wave = np.sin(2 * np.pi * (300 if number % 2 else 1500) * np.arange(2000) / 8000)
        wave += 0.1 * random.normal(size=2000)
        wavfile.write(file, 8000, (8000 * wave).astype(np.int16))
        blobs.append({"bytes": file.getvalue(), "path": None})
    table = pa.table({"audio": blobs, "label": np.arange(48) % 2})
    pq.write_table(table, folder / "sounds.parquet")
    return folder / "sounds.parquet"


def _pairs(folder: Path) -> Path:
    random = np.random.default_rng(2)
    blobs = []
    for number in range(48):
        pixels = random.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        pixels[..., number % 3] += 150
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        blobs.append({"bytes": file.getvalue(), "path": None})
    words = ("red", "green", "blue")
    texts = [f"a {words[number % 3]} square among others, number {number}" for number in range(48)]
    label = [words[number % 3] for number in range(48)]
    table = pa.table({"image": blobs, "text": texts, "label": label})
    pq.write_table(table, folder / "pairs.parquet")
    return folder / "pairs.parquet"


def _pictures(folder: Path) -> Path:
    """Of ten classes, whose probabilities are a long list."""
    random = np.random.default_rng(3)
    label = np.arange(120) % 10
    pixels = random.integers(0, 60, (120, 12, 12), dtype=np.uint8) + 15 * label[:, None, None]
    np.savez(folder / "pictures.npz", x=pixels.astype(np.uint8), label=label)
    return folder / "pictures.npz"


def _texts(folder: Path) -> Path:
    words = ("good", "poor", "long")
    lines = [f"a {words[number % 3]} film about number {number}" for number in range(60)]
    table = pa.table({"text": lines, "label": [words[number % 3] for number in range(60)]})
    pq.write_table(table, folder / "texts.parquet")
    return folder / "texts.parquet"


KINDS: dict[str, tuple[Any, tuple[str, str]]] = {
    "series": (_series, ("simclr", "vicreg")),
    "sound": (_sounds, ("simclr", "vicreg")),
    "pairs": (_pairs, ("clip", "isogclr-pairs")),
    "texts": (_texts, ("simclr", "vicreg")),
    "predictions": (_pictures, ("classifier", "simclr")),
}


@pytest.fixture(scope="module", params=["pictures", "two seeds", *KINDS])
def pages(
    request: pytest.FixtureRequest, runs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The page of a run and that of a comparison of two."""
    folder = tmp_path_factory.mktemp(request.param)
    made = runs
    if request.param == "two seeds":  # too few for intervals
        again = [
            nearfar.pretrain(name, **SMALL, seed=1, quiet=True, output=folder / name).folder
            for name in ("simclr", "vicreg")
        ]
        made = [*runs, *again]
    if request.param in KINDS:
        write, methods = KINDS[request.param]
        data = str(write(folder))
        made = [
            nearfar.pretrain(
                method, data=data, steps=8, batch_size=16, quiet=True, output=folder / method
            ).folder
            for method in methods
        ]
    return made[0] / "report.html", nearfar.report(*made, output=folder / "comparison.html")


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
    assert browser.get_log("browser") == []


def seen_as(browser: Any, width: int, theme: str) -> None:
    """From now on the browser has a window of this width and prefers this theme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": theme}]},
    )


CUT = """
const width = document.documentElement.clientWidth;
const boxed = element => {
  for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
    if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) {
      return box.getBoundingClientRect().right <= width + 1;
    }
  }
  return false;
};
return [...document.querySelectorAll('body *')].filter(element => {
  const place = element.getBoundingClientRect();
  const hidden = element.closest('.skip, .stack thead, #vg-tooltip-element');
  return place.width && place.height && !hidden && (place.right > width + 1 || place.left < -1)
    && !boxed(element);
}).map(element => `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`);
"""
"""Elements that reach out of the window and lie in no box that scrolls."""
CUT_TABLES = """
return [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)
  .map(box => box.textContent.slice(0, 60));
"""
EMPTY = """
return [...document.querySelectorAll('.chart')].filter(place =>
  !place.querySelector('.role-mark path, .role-mark line, .role-mark rect, .role-mark text')
  || place.querySelector('svg').getBoundingClientRect().width < 100).map(place => place.id);
"""
LEGENDS = """
return [...document.querySelectorAll('.chart')].map(place => [place.id,
  [...place.querySelectorAll('.role-legend-symbol path')].map(path =>
    (path.getAttribute('fill') || '') + path.getAttribute('stroke'))]);
"""
CUT_LEGENDS = """
return [...document.querySelectorAll('.chart svg')].flatMap(svg => {
  const right = svg.getBoundingClientRect().right;
  return [...svg.querySelectorAll('.role-legend-label text')].filter(text =>
    text.getBoundingClientRect().right > right + 1).map(text => text.textContent);
});
"""


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
@pytest.mark.parametrize("which", [0, 1], ids=["run", "comparison"])
def test_a_page_is_whole(
    pages: tuple[Path, Path], browser: Any, which: int, width: int, theme: str
) -> None:
    seen_as(browser, width, theme)
    opened(browser, pages[which])
    assert browser.execute_script(
        "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert browser.execute_script(CUT) == []
    assert browser.execute_script(CUT_TABLES) == []
    assert browser.execute_script(EMPTY) == []
    assert browser.execute_script(CUT_LEGENDS) == []
    legends = browser.execute_script(LEGENDS)
    assert any(len(colours) > 1 for _, colours in legends)
    for name, colours in legends:
        assert len(colours) == len(set(colours)), name


def test_the_matrix_has_the_same_colours_in_both_themes(runs: list[Path], browser: Any) -> None:
    seen = []
    for theme in ("light", "dark"):
        seen_as(browser, 1400, theme)
        opened(browser, runs[0] / "report.html")
        seen.append(
            browser.execute_script(
                "return [...document.querySelectorAll('#confusion .mark-rect.role-mark path')]"
                ".map(path => path.getAttribute('fill'))"
            )
        )
    assert len(seen[0]) == 100
    assert seen[0] == seen[1]


COLOURED = """
const hex = colour => {
  const pen = document.createElement('canvas').getContext('2d');
  pen.fillStyle = colour;
  return pen.fillStyle;
};
const found = [];
for (const head of document.querySelectorAll('th, h3')) {
  const square = head.querySelector('.swatch');
  if (square) found.push([head.textContent.trim(), hex(square.style.backgroundColor)]);
}
for (const place of document.querySelectorAll('.chart:not([id^=map])')) {
  const words = [...place.querySelectorAll('.role-legend-label text')].map(t => t.textContent);
  const marks = [...place.querySelectorAll('.role-legend-symbol path')];
  if (words.length === marks.length) words.forEach((word, n) => {
    const fill = marks[n].getAttribute('fill');
    found.push([word, hex(fill && fill !== 'none' ? fill : marks[n].getAttribute('stroke'))]);
  });
}
return found;
"""
"""The name and the colour of everything outside the maps that has a colour."""


@pytest.mark.parametrize("which", [0, 1], ids=["run", "comparison"])
def test_a_row_and_an_arm_have_one_colour_on_the_whole_page(
    pages: tuple[Path, Path], browser: Any, which: int
) -> None:
    seen_as(browser, 1400, "light")
    opened(browser, pages[which])
    colours: dict[str, set[str]] = {}
    for name, colour in browser.execute_script(COLOURED):
        colours.setdefault("trained" if name == "this run" else name, set()).add(colour)
    assert len(colours) >= 3
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}
    assert len(set().union(*colours.values())) == len(colours)


def test_neighbours_stand_on_one_line(pages: tuple[Path, Path], browser: Any) -> None:
    for width in (1400, 390):
        seen_as(browser, width, "light")
        opened(browser, pages[0])
        tops = browser.execute_script(
            "return [...document.querySelectorAll('.line')].map(line =>"
            "[...line.querySelectorAll('figure')].map(f => f.getBoundingClientRect().top))"
        )
        assert len(tops) > 1
        assert all(len(line) > 2 and len(set(line)) == 1 for line in tops)


def test_the_page_of_a_run(runs: list[Path], browser: Any) -> None:
    seen_as(browser, 1200, "light")
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


def test_the_page_of_a_comparison(runs: list[Path], browser: Any, tmp_path: Path) -> None:
    page = nearfar.report(*runs, output=tmp_path / "c.html")
    assert page.stat().st_size < 5_000_000
    opened(browser, page)
    text = browser.find_element("tag name", "body").text
    assert "No method is surely the best by kNN accuracy" in text
    assert "vicreg and simclr cannot be compared with one seed" in text
    assert "What the views look like" in text
