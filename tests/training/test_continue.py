"""Going on with a finished encoder: the first depths stand still, the rest moves slowly, and a
resumed run is the uninterrupted one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar
from nearfar.cli import main
from nearfar.cli.comparing import grid_of
from nearfar.comparison.arms import arms_of
from nearfar.comparison.conditions import options_of
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.networks.freezing import freeze_depths
from nearfar.options import PretrainOptions, read_config
from nearfar.training.care.checkpoints import load_checkpoint, newest_first
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from tests.training.test_interruption import Asking
from tests.training.test_layer_decay import RECIPE, toy
from tests.training.toys import ToySource, views

SHORT: dict[str, Any] = {
    "data": "digits",
    "limit": 64,
    "steps": 2,
    "batch_size": 32,
    "device": "cpu",
    "encoder": "perceptron",
    "evaluate": False,
    "quiet": True,
}


def test_frozen_depths_stay_to_the_bit_and_a_resumed_run_is_whole(tmp_path: Path) -> None:
    plan = Plan(RECIPE, seed=3, checkpoint_minutes=0.0)
    before = toy()
    for folder, asked in (("whole", False), ("parts", True), ("parts", False)):
        method = toy()
        freeze_depths(method.encoder, 1)
        made = Asking(15, 4) if asked else views
        fit(method, ToySource(), made, plan, tmp_path / folder)
    whole, parts = (
        load_checkpoint(newest_first(tmp_path / folder)[0]) for folder in ("whole", "parts")
    )
    torch.testing.assert_close(whole["method"], parts["method"], rtol=0, atol=0)
    depths = [len(method.encoder.by_depth()[0]), 0]
    for (name, start), now in zip(
        before.encoder.named_parameters(), method.encoder.parameters(), strict=True
    ):
        frozen = name.startswith(("layers.1.", "layers.2."))
        depths[1] += frozen
        assert torch.equal(start, now) == frozen, name
    assert depths == [4, 4]


def test_the_recipe_goes_on_slowly_and_survives_its_file(tmp_path: Path) -> None:
    first = nearfar.pretrain("simclr", output=tmp_path / "first", **SHORT)
    second = nearfar.pretrain(
        "vicreg",
        recipe="continue",
        start_from=first.folder,
        output=tmp_path / "second",
        **SHORT,
    )
    small = registry.get("vicreg").recipe("small")
    options = second.config.options
    assert options.learning_rate == pytest.approx(small.learning_rate / 10)
    assert (options.recipe, options.layer_decay, options.freeze) == ("continue", 0.75, 1)
    assert options.warmup == 0.02
    weights = [run.encoder().state_dict() for run in (first, second)]
    moved = {key: not torch.equal(weights[0][key], weights[1][key]) for key in weights[0]}
    kept = [key for key, parameter in first.encoder().named_parameters()][:2]
    assert not any(moved[key] for key in kept)
    assert any(moved.values())
    third = nearfar.pretrain(
        config=second.folder / "config.toml", output=tmp_path / "third", quiet=True
    )
    assert dataclasses.replace(third.config.options, output=None) == dataclasses.replace(
        read_config(second.folder / "config.toml").options, output=None
    )
    again = third.encoder().state_dict()
    assert all(torch.equal(again[key], value) for key, value in weights[1].items())


def test_each_part_of_the_recipe_can_be_set_otherwise() -> None:
    base = registry.get("simclr").recipe("small")
    found = base.continued()
    changes = {f.name for f in dataclasses.fields(found)}
    same = {name for name in changes if getattr(base, name) == getattr(found, name)}
    assert changes - same == {"learning_rate", "layer_decay", "freeze", "warmup"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--recipe continue", "goes on with a finished encoder, but none was given"),
        ("--freeze 2", "freeze is 2, but the encoder has 2 depths; expected at most 1"),
        ("--freeze -1", "expected a whole number"),
        ("--freeze half", "expected a whole number"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "pretrain simclr --data digits --limit 64 --encoder perceptron --output run"
    assert main([*line.split(), *words.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_comparison_tries_options_of_training_and_hands_on_starts() -> None:
    words = "srgan --training.layer-decay 0.5,1 --training.freeze=0,1 --settings.temperature 0.2"
    rest, grid = grid_of(words.split())
    assert rest == ["srgan"]
    arms = arms_of(["simclr"], grid)
    assert len(arms) == 4
    assert arms[1].name == "simclr training.layer_decay=0.5 training.freeze=1 temperature=0.2"
    shared = PretrainOptions(start_from=("runs/a", "features=runs/b"))
    found = options_of(arms[1], shared)
    assert (found.layer_decay, found.freeze, found.start_from) == (0.5, 1, ("runs/a",))
    assert arms[1].of_method == {"temperature": 0.2}
    (other,) = arms_of(["srgan"], {})
    assert options_of(other, shared).start_from == ("runs/a", "features=runs/b")
    for name, value in (("training.seed", "1"), ("training.freeze", "x"), ("training.clip", "-1")):
        with pytest.raises(UserError, match=r"option of training in a grid|Option"):
            arms_of(["simclr"], {name: [value]})
