"""The options of a comparison: what is wrong is refused before a folder is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nearfar
from nearfar.errors import UserError, unknown_name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("epochs", 0),
        ("batch_size", 1),
        ("limit", 1),
        ("size", 0),
        ("steps", "5"),
        ("seeds", 0),
        ("seeds", 1.5),
        ("recipe", "large"),
        ("data", 7),
        ("seconds", 0.0),
    ],
)
def test_wrong_options_make_no_folder(name: str, value: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"data": "digits", "output": tmp_path / "c", name: value}
    with pytest.raises(UserError, match=f"(?i)option {name} "):
        nearfar.compare("simclr", "byol", quiet=True, **options)
    assert not (tmp_path / "c").exists()


def test_an_error_lists_no_thousand_names() -> None:
    assert str(unknown_name("encoder", "zzz", map(str, range(1500)))).endswith("and 1,400 more.")
