"""What is wrong with a file of the user's own is told with its place, in one sentence."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from nearfar import modalities, studies
from nearfar.data import prepare
from nearfar.errors import UserError
from nearfar.evaluation import protocols
from nearfar.found import OWN_FOLDERS, part_in
from nearfar.methods import registry
from nearfar.training import schedules

ASKED: dict[str, Any] = {
    "studies": studies.get,
    "modalities": modalities.get,
    "data/prepare": prepare.kind_of,
    "training/schedules": schedules.schedule_of,
    "methods/instance": registry.get,
    "evaluation/protocols": lambda name: part_in(
        protocols.__name__, name, "PROTOCOLS", "protocol", tuple
    ),
}
DEFINED = {
    "studies": "STUDY",
    "modalities": "MODALITY",
    "data/prepare": "PREPARATION",
    "training/schedules": "factor",
    "methods/instance": "Sniffs",
    "evaluation/protocols": "PROTOCOLS",
}


@pytest.mark.parametrize("folder", ASKED)
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{name} = (", "SyntaxError"),
        ("\n{name} = nothing.at_all", "line 2"),
        ("import not_to_be_had\n{name} = 1", "not_to_be_had"),
        ("from nearfar.errors import UserError\n{name} = 1\nraise UserError('No.')", "No"),
        ("{name} = 1", "not_one.py"),
        ("'''caf\xe9'''\n{name} = 1", "utf-8"),
    ],
)
def test_a_file_that_is_none_is_named(
    folder: str, text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package: Any = importlib.import_module(f"nearfar.{folder.replace('/', '.')}")
    for one in (package, sys.modules[package.__name__.rpartition(".")[0]]):
        monkeypatch.setattr(one, "__path__", list(one.__path__))
    monkeypatch.setenv(OWN_FOLDERS, str(tmp_path))
    file = tmp_path / folder / "not_one.py"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.format(name=DEFINED[folder]).encode("latin-1"))
    try:
        with pytest.raises(UserError, match=r"not_one\.py") as refused:
            ASKED[folder]("not-one")
    finally:
        sys.modules.pop(f"{package.__name__}.not_one", None)
    sentence = str(refused.value)
    assert told in sentence
    assert OWN_FOLDERS in sentence
    assert "\n" not in sentence
