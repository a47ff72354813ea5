"""The command line itself: which words it knows, how it answers wrong ones, and that help needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nearfar import HOMES, cli
from nearfar.errors import UserError


def test_every_command_is_a_public_function() -> None:
    assert set(cli._VERBS) <= set(HOMES)


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert listed == set(cli._VERBS)


@pytest.mark.parametrize(("word", "nearest"), [("pretrian", "pretrain"), ("evalute", "evaluate")])
def test_a_wrong_command_is_the_users_mistake(word: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 2
    told = capsys.readouterr().err
    assert told.startswith("nearfar: ")
    assert nearest in told
    assert "Traceback" not in told


def test_a_defect_is_not_called_the_users_mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(words: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_dispatch", broken)
    assert cli.main(["doctor"]) == 1
    assert "a defect of nearfar" in capsys.readouterr().err


def test_settings_to_try_are_taken_out_of_the_words() -> None:
    rest, grid = cli._grid(["simclr", "--settings.temperature", "0.1,0.2", "--seeds", "3", "--settings.head-depth=2"])
    assert rest == ["simclr", "--seeds", "3"]
    assert grid == {"temperature": ["0.1", "0.2"], "head_depth": ["2"]}


@pytest.mark.parametrize("words", [["--settings.temperature"], ["--settings.temperature", "--seeds"]])
def test_a_setting_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"temperature has no value"):
        cli._grid(words)


def test_options_count_as_given_under_their_python_names() -> None:
    assert cli._given(["simclr", "--batch-size=8", "--no-evaluate"]) == {"batch_size", "no_evaluate", "evaluate"}


def test_the_overview_imports_no_torch() -> None:
    code = "import sys; from nearfar.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
