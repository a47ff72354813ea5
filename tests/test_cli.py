"""The command line itself: which words it knows, how it answers wrong ones, and that help needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nearfar import HOMES, cli
from nearfar.errors import UserError
from nearfar.parsing import sentence


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


MALFORMED = {
    "claim dcl --seeds x": "--seeds is 'x'; expected a whole number. See nearfar claim --help.",
    "pretrain simclr --epochs x": "--epochs is 'x'; expected a whole number. See nearfar pretrain --help.",
    "pretrain simclr --learning-rate=": "--learning-rate is ''; expected a number. See nearfar pretrain --help.",
    "pretrain simclr --settings.temperature hot": "--settings.temperature is 'hot'; expected a number. See nearfar pretrain --help.",
    "pretrain supremix --settings.mixing 1 b": "--settings.mixing is 'b'; expected a number and a number. See nearfar pretrain --help.",
    "pretrain simclr --recipe big": "--recipe is 'big'; expected one of 'auto', 'small', 'paper'. See nearfar pretrain --help.",
    "compare simclr dcl --sedes 3": "Unknown words on the command line, '--sedes' first: did you mean --seeds? See nearfar compare --help.",
    "compare simclr dcl --seeds x": "--seeds is 'x'; expected a whole number. See nearfar compare --help.",
    "compare simclr dcl --seeds": "--seeds has no value; give one behind it. See nearfar compare --help.",
    "evaluate": "A word is missing on the command line: the run folder. See nearfar evaluate --help.",
    "doctor loudly": "Unknown words on the command line, 'loudly' first. See nearfar doctor --help.",
}


@pytest.mark.parametrize("words", MALFORMED)
def test_a_malformed_word_is_answered_in_one_sentence(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words.split(" ")) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"nearfar: {MALFORMED[words]}\n")


def test_what_the_parser_says_otherwise_is_kept_in_its_words() -> None:
    box = "╭─ Odd ─╮\n│ Something new went wrong. │\n│ ───── │\n│ For full helptext, run x --help │\n╰──╯\n"
    plain = " Odd   \n ------- \n  Something new went wrong. \n ------- \n  For full helptext, run x --help\n"
    assert sentence(box) == sentence(plain) == "The words cannot be read: Something new went wrong."
    assert sentence("") == "The words cannot be read: the parser does not say why."


def test_options_count_as_given_under_their_python_names() -> None:
    assert cli._given(["simclr", "--batch-size=8", "--no-evaluate"]) == {"batch_size", "no_evaluate", "evaluate"}


def test_the_overview_imports_no_torch() -> None:
    code = "import sys; from nearfar.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0
