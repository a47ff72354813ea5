"""The page on trust names tests that exist, and what no other test holds is held here."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.errors import UserError
from nearfar.options import Config, PretrainOptions
from nearfar.runs import hub

ROOT = Path(__file__).parents[1]


def test_every_sentence_is_held_by_a_test_that_exists() -> None:
    page = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    text = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    assert named - defined == set()
    rows = [
        line
        for line in page.splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| what"))
    ]
    assert len(rows) > 15
    assert [row for row in rows if "`test_" not in row] == []


def test_a_configuration_does_not_choose_where_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = PretrainOptions(
        data="digits",
        limit=20,
        encoder="perceptron",
        epochs=1,
        batch_size=10,
        output=tmp_path / "theirs",
        evaluate=False,
    )
    (tmp_path / "config.toml").write_text(
        Config("simclr", options, {"hidden": 8, "projection": 8}).to_toml()
    )
    run = nearfar.pretrain(config=tmp_path / "config.toml", quiet=True)
    assert run.folder == Path("runs/simclr-digits")
    assert not (tmp_path / "theirs").exists()


def test_only_the_files_of_an_encoder_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(tmp_path)

    library = types.ModuleType("huggingface_hub")
    library.snapshot_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    (tmp_path / "modeling.py").write_text("raise SystemExit('code was run')\n")
    with pytest.raises(UserError, match="holds no encoder"):
        hub.load("owner/name")
    files = [
        "encoder.safetensors",
        "encoder.json",
        "tokenizer.json",
        "method.json",
        "method.safetensors",
        "config.toml",
        "evaluation.json",
    ]
    assert asked == [{"name": "owner/name", "revision": None, "allow_patterns": files}]
