"""The average of the weights: its values, who sees it, and that training never does."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar import collectives
from nearfar.cli import main
from nearfar.methods.method import Method, Outputs, Recipe
from nearfar.testing import on_processes
from nearfar.training.care.checkpoints import load_checkpoint, newest_first
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.weight_average import WeightAverage, averaged_names
from tests.training.test_interruption import Asking
from tests.training.test_loop_processes import same_views
from tests.training.toys import Silent, Toy, ToyEncoder, ToySource, views

RECIPE = Recipe(learning_rate=0.3, batch_size=8, epochs=4)
PLAN = Plan(RECIPE, seed=3, weight_average=0.5)
AVERAGED = [
    "scale",
    *(f"encoder.layers.{name}" for name in ("1.weight", "1.bias", "2.weight", "2.bias")),
    *(f"encoder.layers.2.{name}" for name in ("running_mean", "running_var")),
]


class Normed(ToyEncoder):
    """With a batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2)
        )


class Recorded(Toy):
    """Remembers its state after every step, and has a frozen copy with statistics of its own."""

    def __init__(self) -> None:
        super().__init__(Normed())
        self.frozen = nn.BatchNorm1d(6).requires_grad_(False)
        self.states: list[dict[str, Tensor]] = [state_of(self)]

    def after_step(self, outputs: Outputs) -> None:
        super().after_step(outputs)
        self.states.append(state_of(self))


def state_of(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def recorded() -> Recorded:
    torch.manual_seed(5)
    return Recorded()


def by_hand(states: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """The plain recursion; what is not averaged is that of the last step."""
    found = dict(states[0])
    for step, state in enumerate(states[1:], start=1):
        d = min(decay, (1 + step) / (10 + step))
        for name, value in state.items():
            found[name] = d * found[name] + (1 - d) * value if name in AVERAGED else value
    return found


def test_the_average_is_given_and_everything_else_is_of_the_last_step() -> None:
    method = recorded()
    fit(method, ToySource(), views, PLAN)
    torch.testing.assert_close(state_of(method), by_hand(method.states, 0.5))
    last = method.states[-1]
    given = state_of(method)
    assert sorted(averaged_names(method)) == sorted(AVERAGED)
    assert all(not torch.equal(given[name], last[name]) for name in AVERAGED)
    assert all(torch.equal(given[name], last[name]) for name in given if name not in AVERAGED)


class Seeing(Silent):
    """Remembers what it is shown at each epoch's end."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def on_epoch(self, progress: Any, method: Method) -> None:
        self.seen.append(state_of(method))


def test_callbacks_see_the_average_and_training_goes_on_without(tmp_path: Path) -> None:
    seeing = Seeing()
    method, plain = recorded(), recorded()
    fit(method, ToySource(), views, PLAN, tmp_path / "average", [seeing])
    fit(plain, ToySource(), views, dataclasses.replace(PLAN, weight_average=0.0), tmp_path / "off")
    assert [same(*pair) for pair in zip(method.states, plain.states, strict=True)] == [True] * 13
    for epoch, seen in enumerate(seeing.seen, start=1):
        torch.testing.assert_close(seen, by_hand(method.states[: 1 + 3 * epoch], 0.5))
    on, off = (load_checkpoint(newest_first(tmp_path / name)[0]) for name in ("average", "off"))
    assert same(on["method"], off["method"])
    assert sorted(on["average"]) == sorted(AVERAGED)
    assert "average" not in off, "a run without it has the checkpoints that it always had"


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_resumed_run_has_the_average_of_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, stopped, resumed = recorded(), recorded(), recorded()
    fit(whole, ToySource(), views, PLAN)
    fit(stopped, ToySource(), Asking(15, 5), PLAN, tmp_path)
    torch.testing.assert_close(state_of(stopped), by_hand(stopped.states, 0.5))
    fit(resumed, ToySource(), views, PLAN, tmp_path)
    assert same(state_of(whole), state_of(resumed))


def test_without_it_nothing_is_kept() -> None:
    average = WeightAverage(recorded(), 0.0)
    assert average.values == []
    assert average.state() == {}


def on_several() -> list[dict[str, Tensor]]:
    """What runs with an average give, whole and divided; called on every process."""
    found = []
    for shard in (False, True):
        torch.manual_seed(5)
        method = Toy(ToyEncoder()).double()
        folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
        recipe = dataclasses.replace(RECIPE, batch_size=11)
        plan = Plan(recipe, seed=3, weight_average=0.7, shard=shard)
        fit(method, ToySource(), same_views, dataclasses.replace(plan, steps=3), folder)
        fit(method, ToySource(), same_views, dataclasses.replace(plan, steps=6), folder)
        found.append(state_of(method))
    return found


@pytest.mark.slow
def test_several_processes_average_as_one() -> None:
    expected = on_several()
    for results in on_processes(on_several, counts=(2, 3)).values():
        for result in results:
            torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weight-average", "1"], "Option weight_average is 1.0; expected"),
        (["--weight-average", "0"], "Option weight_average is 0.0; expected"),
        (
            ["--weight-average", "0.9", "--order", "label", "--branch", "2"],
            "Options branch and weight_average were both given",
        ),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_anything_is_written(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "simclr", "--data", "digits", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_files_of_a_run_hold_the_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nearfar.verbs.run import Run

    monkeypatch.chdir(tmp_path)
    words = ["simclr", "--data", "digits", "--limit", "64", "--encoder", "perceptron"]
    words += ["--steps", "4", "--batch-size", "32", "--no-evaluate", "--output", "r"]
    assert main(["pretrain", *words, "--weight-average", "0.9"]) == 0
    kept = load_checkpoint(newest_first(tmp_path / "r" / "checkpoints")[0])
    encoder = Run(tmp_path / "r").encoder().state_dict()
    for name, value in kept["average"].items():
        if name.startswith("encoder."):
            assert torch.equal(encoder[name.removeprefix("encoder.")], value)
            assert not torch.equal(kept["method"][name], value)
