"""The command line itself: which words it knows, how it answers wrong ones, and that help needs no
torch.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

import nearfar
from nearfar import HOMES, cli
from nearfar.cli.comparing import grid_of
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.options import OPTION_GROUPS, PretrainOptions, resolved_settings
from nearfar.parsing import sentence


def test_every_command_is_a_public_function() -> None:
    assert set(cli._VERBS) <= set(HOMES)


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = {
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")
    }
    assert listed == set(cli._VERBS)


@pytest.mark.parametrize(("word", "nearest"), [("pretrian", "pretrain"), ("evalute", "evaluate")])
def test_a_wrong_command_is_the_users_mistake(
    word: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([word]) == 2
    told = capsys.readouterr().err
    assert told.startswith("nearfar: ")
    assert nearest in told
    assert "Traceback" not in told


def test_a_defect_is_not_called_the_users_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(words: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_dispatch", broken)
    assert cli.main(["doctor"]) == 1
    assert "a defect of nearfar" in capsys.readouterr().err


def test_settings_to_try_are_taken_out_of_the_words() -> None:
    rest, grid = grid_of(
        ["simclr", "--settings.temperature", "0.1,0.2", "--seeds", "3", "--settings.head-depth=2"]
    )
    assert rest == ["simclr", "--seeds", "3"]
    assert grid == {"temperature": ["0.1", "0.2"], "head_depth": ["2"]}


@pytest.mark.parametrize(
    "words", [["--settings.temperature"], ["--settings.temperature", "--seeds"]]
)
def test_a_setting_without_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"temperature has no value"):
        grid_of(words)


MALFORMED = {
    "claim dcl --seeds x": "--seeds is 'x'; expected a whole number. See nearfar claim --help.",
    "pretrain simclr --epochs x": "--epochs is 'x'; expected a whole number. See nearfar pretrain "
    "--help.",
    "pretrain simclr --learning-rate=": "--learning-rate is ''; expected a number. See nearfar "
    "pretrain --help.",
    "pretrain simclr --settings.temperature hot": "--settings.temperature is 'hot'; expected a "
    "number. See nearfar pretrain --help.",
    "pretrain supremix --settings.mixing 1 b": "--settings.mixing is 'b'; expected a number and a "
    "number. See nearfar pretrain --help.",
    "pretrain simclr --recipe big": "--recipe is 'big'; expected one of 'auto', 'small', 'paper', "
    "'continue'. See nearfar pretrain --help.",
    "compare simclr dcl --sedes 3": "Unknown words on the command line, '--sedes' first: did you "
    "mean --seeds? See nearfar compare --help.",
    "compare simclr dcl --seeds x": "--seeds is 'x'; expected a whole number. See nearfar compare "
    "--help.",
    "compare simclr dcl --seeds": "--seeds has no value; give one behind it. See nearfar compare "
    "--help.",
    "pretrain simclr --temperature 0.3": "Unknown option --temperature: did you mean "
    "--settings.temperature?",
    "pretrain moco-v2 --settings.no-decoupled=1": "--settings.no-decoupled was given the value "
    "'1'; expected none: write "
    "--settings.decoupled or --settings.no-decoupled.",
    "pretrain simclr --strict=yes": "--strict was given the value 'yes'; expected none: write "
    "--strict or --no-strict.",
    "pretrain simclr --settings.temperature 0": "Setting temperature is 0.0; expected a number "
    "above 0.",
    "pretrain simclr --seed -1": "Option seed is -1; expected a whole number from 0 to "
    "2,147,483,647.",
    "pretrain --settings.temperature 1": "--settings.NAME or --views.NAME was given without a "
    "method; name the method first: nearfar pretrain METHOD ...",
    "evaluate": "A word is missing on the command line: the run folder. See nearfar evaluate "
    "--help.",
    "doctor loudly": "Unknown words on the command line, 'loudly' first. See nearfar doctor "
    "--help.",
}


@pytest.mark.parametrize("words", MALFORMED)
def test_a_malformed_word_is_answered_in_one_sentence(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split(" ")) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"nearfar: {MALFORMED[words]}\n")


def test_what_the_parser_says_otherwise_is_kept_in_its_words() -> None:
    box = (
        "╭─ Odd ─╮\n│ Something new went wrong. │\n│ ───── │\n│ For full helptext, run x --help "
        "│\n╰──╯\n"
    )
    plain = (
        " Odd   \n ------- \n  Something new went wrong. \n ------- \n  For full helptext, "
        "run x --help\n"
    )
    assert sentence(box) == sentence(plain) == "The words cannot be read: Something new went wrong."
    assert sentence("") == "The words cannot be read: the parser does not say why."


BOOLEAN_SETTINGS = [
    (method, name, value)
    for method in registry.names()
    for name, hint in get_type_hints(registry.get(method).Settings).items()
    if hint is bool
    for value in (True, False)
]


def _given_to_pretrain(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str | None, dict[str, Any]]:
    """What the command hands to the verb, which does not run."""
    calls: list[tuple[str | None, dict[str, Any]]] = []
    finished = SimpleNamespace(interrupted=False)
    monkeypatch.setattr(
        nearfar, "pretrain", lambda method=None, **found: calls.append((method, found)) or finished
    )
    assert cli.main(["pretrain", *words]) == 0
    (call,) = calls
    return call


@pytest.mark.parametrize(("method", "name", "value"), BOOLEAN_SETTINGS)
def test_every_boolean_setting_acts_from_the_command_line(
    method: str, name: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = f"--settings.{'' if value else 'no-'}{name.replace('_', '-')}"
    found = _given_to_pretrain([method, option], monkeypatch)[1]["settings"]
    assert found == {name: value}
    kind = registry.get(method)
    for recipe in kind.recipes.values():
        assert getattr(resolved_settings(kind.Settings, recipe.settings, found), name) is value


def test_there_are_boolean_settings_that_a_recipe_turns_on() -> None:
    on = [
        (m, n)
        for m, n, _ in BOOLEAN_SETTINGS
        for r in registry.get(m).recipes.values()
        if r.settings.get(n)
    ]
    assert len(on) >= 2, "else the test above would not see a parser that drops --settings.no-NAME"


def test_only_what_stands_on_the_command_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [
        "--epochs=3",
        "simclr",
        "--no-evaluate",
        "--settings.hidden",
        "8",
        "--log",
        "wandb",
        "tensorboard",
    ]
    method, found = _given_to_pretrain(words, monkeypatch)
    options = {"epochs": 3, "evaluate": False, "log": ("wandb", "tensorboard")}
    assert (method, found) == (
        "simclr",
        {"settings": {"hidden": 8}, "config": None, "profile": False, "trace": None, **options},
    )


def test_settings_can_be_changed_of_a_method_that_the_configuration_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text('method = "moco-v2"\n')
    words = ["--config", str(tmp_path / "config.toml"), "--settings.decoupled"]
    assert _given_to_pretrain(words, monkeypatch)[1]["settings"] == {"decoupled": True}


def test_help_groups_the_options_and_names_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["pretrain", "simclr", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for title in (*OPTION_GROUPS, "settings"):
        assert f" {title} options " in told
    assert "--settings.NAME" in told
    assert "paper: 2048; small: 512; from 1 to 1,048,576" in told


def test_every_option_stands_in_one_group() -> None:
    names = [name for group in OPTION_GROUPS.values() for name in group]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(PretrainOptions))


@pytest.mark.parametrize(
    ("words", "grid"),
    [
        (["moco-v2", "--settings.decoupled"], {"decoupled": ["true"]}),
        (["moco-v2", "--settings.no-decoupled", "simclr"], {"decoupled": ["false"]}),
        (["moco-v2", "--settings.decoupled", "true,false"], {"decoupled": ["true", "false"]}),
        (["moco-v2", "--settings.decoupled=false"], {"decoupled": ["false"]}),
    ],
)
def test_boolean_settings_to_try(words: list[str], grid: dict[str, list[str]]) -> None:
    rest, found = grid_of(words)
    assert found == grid
    assert rest == [
        word for word in words if not word.startswith("--") and word not in ("true,false",)
    ]


def test_the_overview_imports_no_torch() -> None:
    code = (
        "import sys; from nearfar.cli import main; main(['--help']); sys.exit('torch' in "
        "sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode
        == 0
    )
