"""Layers nearer to the input learn more slowly, by every optimiser, and go on to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.methods.method import Recipe
from nearfar.networks.depths import Depths
from nearfar.options import read_config
from nearfar.training.care.checkpoints import load_checkpoint, newest_first
from nearfar.training.loop import fit
from nearfar.training.optimisers.choices import OPTIMIZERS
from nearfar.training.optimisers.optimisers import build_optimizer
from nearfar.training.plan import Plan
from tests.training.test_interruption import Asking
from tests.training.toys import Toy, ToyEncoder, ToySource, views

RECIPE = Recipe(learning_rate=0.1, batch_size=8, epochs=3, layer_decay=0.5)


class Deep(ToyEncoder):
    """Three linear layers, the first with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(16, 8), nn.LayerNorm(8), nn.Tanh()),
            *(nn.Linear(8, 8), nn.Dropout(0.3), nn.Linear(8, 6)),
        )


def toy() -> Toy:
    torch.manual_seed(5)
    return Toy(Deep())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_depth_learns_at_its_share_of_the_next_ones_rate(name: str) -> None:
    method = toy()
    optimizer = build_optimizer(method, dataclasses.replace(RECIPE, optimizer=name))
    names = {parameter: key for key, parameter in method.named_parameters()}
    peak = RECIPE.peak_learning_rate
    found = {names[p]: g["lr"] / peak for g in optimizer.param_groups for p in g["params"]}
    expected = {"scale": 1.0}
    for layer, share in ((1, 0.25), (2, 0.25), (4, 0.5), (6, 1.0)):
        for kind in ("weight", "bias"):
            expected[f"encoder.layers.{layer}.{kind}"] = share
    assert found == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == peak, "the rate that is logged is the full one"


def moved(layer_decay: float | None) -> dict[str, Tensor]:
    """How far one step of plain descent moves each parameter."""
    method = toy().double()
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    recipe = dataclasses.replace(RECIPE, optimizer="sgd:momentum=0", layer_decay=layer_decay)
    plan = Plan(dataclasses.replace(recipe, schedule="constant", warmup=0.0), steps=1, seed=3)
    fit(method, ToySource64(), views, plan)
    return {name: value.detach() - before[name] for name, value in method.named_parameters()}


class ToySource64(ToySource):
    def __init__(self) -> None:
        super().__init__()
        self.train.values = self.train.values.double()


def test_a_step_is_shorter_by_the_decay() -> None:
    whole, decayed = moved(None), moved(0.5)
    for name, share in (("1.weight", 0.25), ("2.bias", 0.25), ("4.weight", 0.5), ("6.bias", 1.0)):
        key = f"encoder.layers.{name}"
        assert whole[key].abs().max() > 0
        torch.testing.assert_close(decayed[key], share * whole[key], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_is_the_uninterrupted_one(name: str, tmp_path: Path) -> None:
    plan = Plan(dataclasses.replace(RECIPE, optimizer=name), seed=3, checkpoint_minutes=0.0)
    for folder, asked in (("whole", False), ("parts", True), ("parts", False)):
        made = Asking(15, 4) if asked else views
        fit(toy(), ToySource(), made, plan, tmp_path / folder)
    whole, parts = (
        load_checkpoint(newest_first(tmp_path / folder)[0]) for folder in ("whole", "parts")
    )
    for kind in ("method", "optimizer", "step"):
        torch.testing.assert_close(whole[kind], parts[kind], rtol=0, atol=0)


def test_an_order_that_is_not_whole_is_refused() -> None:
    class Forgetful(Deep):
        def by_depth(self) -> Depths:
            return super().by_depth()[1:]

    with pytest.raises(UserError, match=r"by_depth.. of Forgetful holds the parameter layers.1"):
        build_optimizer(Toy(Forgetful()), RECIPE)


@pytest.mark.parametrize("value", ["0", "1.5", "-1", "nan"])
def test_a_decay_out_of_range_is_refused_before_anything_is_written(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "simclr", "--data", "digits", f"--layer-decay={value}"]) == 2
    assert "Option layer_decay is " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_remembers_its_decay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["simclr", "--data", "digits", "--limit", "64", "--encoder", "perceptron"]
    words += ["--steps", "2", "--batch-size", "32", "--no-evaluate", "--output", "r"]
    assert main(["pretrain", *words, "--layer-decay", "0.75"]) == 0
    assert read_config(tmp_path / "r" / "config.toml").options.layer_decay == 0.75
