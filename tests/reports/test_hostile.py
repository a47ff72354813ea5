"""What a run folder says is text on the page, whoever wrote it: no name, label or number becomes
markup or script.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.reports.document import Section, chart, document
from nearfar.reports.pictures import sample_sections
from nearfar.runs.folder import CONFIG, METRICS
from nearfar.verbs.run import Run
from tests.warm import nearfar as warm

HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "'];alert(1);//",
    "datum['constructor']:Q",
    "a.b[0]:N",
    "\u2028alert(1)",
    "[bold]x[/bold]",
)


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Every element of a page; scripts' texts do not count."""
    parser = Elements()
    parser.feed(page)
    return parser.found


def _assert_harmless(page: str) -> None:
    found = elements(page)
    assert [tag for tag, _ in found].count("script") == 2
    for tag, attributes in found:
        assert tag not in {"iframe", "object", "embed", "form", "base", "link"}
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "img" or str(attributes["src"]).startswith("data:image/"), attributes
    policy = next(
        attributes["content"]
        for tag, attributes in found
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("text", HOSTILE)
def test_every_name_on_a_page_is_text(text: str) -> None:
    section = Section(
        f"Part {text}",
        chart(text, text),
        {text: {"title": text, "data": {"values": [{"x": text}]}}},
    )
    page = document(text, "", [section])
    _assert_harmless(page)
    for opening in ("<!--<script>", "</script><script>alert"):
        assert (
            opening
            not in page.partition("<main")[2].replace("<script>", "", 0).partition("<script>")[0]
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    options = {
        "data": "digits",
        "limit": 60,
        "encoder": "perceptron",
        "epochs": 2,
        "batch_size": 20,
    }
    return nearfar.pretrain("simclr", **options, quiet=True, output=folder)


def _poisoned(value: Any, text: str) -> Iterator[Any]:
    """Copies of nested JSON with one text, or one key, replaced."""
    if isinstance(value, str):
        yield text
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: one} for one in _poisoned(item, text))
        yield {**value, text: 1.0}
    elif isinstance(value, list) and value:
        yield from ([one, *value[1:]] for one in _poisoned(value[0], text))


def test_a_run_folder_full_of_markup_is_shown_as_text(run: Run, tmp_path: Path) -> None:
    text = HOSTILE[0]
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    hostile = [
        {**row, text: 0.5, "alarm": name} for row, name in zip(rows, HOSTILE * 9, strict=False)
    ]
    hostile += [
        {"step": 1, "terms": dict.fromkeys(HOSTILE, 1.0)},
        {"step": 2, "terms": dict.fromkeys(HOSTILE, 0.5)},
    ]
    (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in hostile))
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["notes"] = list(HOSTILE)
    evaluation["protocols"] = {name: name for name in (*evaluation["protocols"], *HOSTILE)}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    encoder = json.loads((folder / "encoder.json").read_text())
    encoder["versions"] = {name: name for name in HOSTILE}
    (folder / "encoder.json").write_text(json.dumps(encoder))
    page = nearfar.report(folder, output=tmp_path / "page.html").read_text(encoding="utf-8")
    _assert_harmless(page)
    assert page.count("onerror=alert(1)&gt;") > 3


def test_every_text_of_the_scores_is_escaped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The map of the samples is the same on every page, and takes longest.
    monkeypatch.setattr(sample_sections, "neighbourhoods", lambda features: features[:, :2])
    text = HOSTILE[0] + HOSTILE[1]
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    scores = json.loads((folder / "evaluation.json").read_text())
    written = 0
    for poisoned in _poisoned(scores["scores"][0], text):
        (folder / "evaluation.json").write_text(
            json.dumps({**scores, "scores": [poisoned, *scores["scores"][1:]]})
        )
        try:
            page = nearfar.report(folder, output=tmp_path / "page.html").read_text(encoding="utf-8")
        except nearfar.errors.UserError:
            continue
        written += 1
        _assert_harmless(page)
    assert written > 0


@pytest.mark.slow
def test_a_run_that_names_a_foreign_class_runs_none_of_its_code(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace('method = "simclr"', 'method = "evil:Method"'))
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\n")
    for verb in (
        ["report", "run"],
        ["evaluate", "run"],
        ["embed", "run", "-o", "x.npz"],
        ["pretrain", "--resume", "run"],
    ):
        done = warm(verb, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 2), done.stderr
        assert not (tmp_path / "ran").exists(), verb
    done = warm(["pretrain", "--config", "run/config.toml"], cwd=tmp_path)
    assert done.returncode == 2
    assert "name it yourself: nearfar pretrain evil:Method" in done.stderr
    assert not (tmp_path / "ran").exists()
