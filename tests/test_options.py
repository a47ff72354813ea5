"""Options, settings and config.toml: what is accepted, what is refused and in which words."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from nearfar.errors import UserError, unknown_name
from nearfar.options import Config, PretrainOptions, changed, read_config, resolved_settings


@dataclass(frozen=True)
class Settings:
    temperature: float = 0.1
    hidden: int = 2048
    widths: tuple[int, ...] = (1, 2)
    name: str = "a"


def test_config_survives_toml(tmp_path: Path) -> None:
    options = changed(
        PretrainOptions(), {"data": 'a "b"', "epochs": 3, "learning_rate": 1e-3, "output": "runs/x"}
    )
    config = Config("simclr", options, {"temperature": 0.2, "widths": (3, 4)})
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    again = read_config(path)
    assert again.options == options
    assert again.method == "simclr"
    assert resolved_settings(Settings, again.settings) == Settings(temperature=0.2, widths=(3, 4))


def test_later_layers_win_and_integers_become_floats() -> None:
    settings = resolved_settings(Settings, {"temperature": 1, "hidden": 8}, {"hidden": 9})
    assert settings == Settings(temperature=1.0, hidden=9)
    assert isinstance(settings.temperature, float)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epoch": 3}, "Unknown option 'epoch': did you mean epochs"),
        ({"epochs": 0}, "epochs is 0; expected a whole number from 1 to 1,048,576"),
        ({"batch_size": 1}, "batch_size is 1; expected a whole number from 2"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; expected a number of at least 0"),
        ({"warmup": float("nan")}, "warmup is nan"),
        ({"precision": "float16"}, "Unknown option precision 'float16'"),
        ({"accumulate": 2, "gradient_cache": 8}, "choose one"),
    ],
)
def test_wrong_options_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        changed(PretrainOptions(), values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temprature": 0.1}, "Unknown setting 'temprature': did you mean temperature"),
        ({"hidden": "wide"}, "Setting hidden is 'wide', a str; expected a whole number"),
        ({"hidden": 2.5}, "Setting hidden is 2.5, a float"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolved_settings(Settings, values)


@pytest.mark.parametrize(
    ("text", "words"), [("method = ", "not valid TOML"), ("epochs = 3", "names no method")]
)
def test_wrong_config_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_config(path)
    with pytest.raises(UserError, match=r"Cannot read .*missing\.toml: No such file"):
        read_config(tmp_path / "missing.toml")


def test_a_name_without_neighbours_lists_all() -> None:
    assert str(unknown_name("verb", "zzz", ["b", "a"])) == "Unknown verb 'zzz': valid names: a, b."


def test_every_option_is_documented() -> None:
    documentation = PretrainOptions.__doc__ or ""
    for field in dataclasses.fields(PretrainOptions):
        assert f"    {field.name}: " in documentation


@dataclass(frozen=True)
class Chosen(Settings):
    network: Literal["odd_even", "bitonic"] = "odd_even"


def test_a_setting_of_few_values_takes_no_other() -> None:
    assert resolved_settings(Chosen, {"network": "bitonic"}).network == "bitonic"
    with pytest.raises(UserError, match="Unknown setting network 'bitonick': did you mean bitonic"):
        resolved_settings(Chosen, {"network": "bitonick"})
