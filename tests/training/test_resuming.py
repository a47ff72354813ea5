"""Which checkpoint a run goes on from, and what it says about those that it cannot use."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.assembly.callbacks import MetricsLog
from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Recipe
from nearfar.training.care.checkpoints import newest_first, save_checkpoint
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.progress import Progress
from tests.training.toys import Toy, ToyEncoder, ToySource, views

CONFIG = 'method = "toy"\nseed = 3\noutput = "here"\n'
PLAN = Plan(
    Recipe(learning_rate=0.1, batch_size=8, epochs=3), seed=3, checkpoint_minutes=0.0, config=CONFIG
)


class KilledError(Exception):
    """As if the process had died."""


class Killer:
    """Ends the run at a step, after the checkpoint of the step before."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        if self.step == 0:
            raise KilledError
        self.step -= 1
        return views(samples, generator)


def toy() -> Toy:
    torch.manual_seed(5)
    return Toy(ToyEncoder(0.5))


def finished(folder: Path | None, plan: Plan = PLAN, callbacks: Any = ()) -> Method:
    method = toy()
    fit(method, ToySource(), views, plan, folder, callbacks)
    return method


def killed(folder: Path, step: int) -> None:
    with pytest.raises(KilledError):
        fit(toy(), ToySource(), Killer(step), PLAN, folder)


def same(first: Method, second: Method) -> bool:
    a = first.state_dict()
    b = second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("step", range(1, 9))
def test_a_run_killed_at_any_step_goes_on_to_the_bit(tmp_path: Path, step: int) -> None:
    """An epoch has three steps: most of these are in the middle of one."""
    killed(tmp_path, step)
    assert newest_first(tmp_path)[0].name == f"step-{step:09d}.pt"
    assert same(finished(tmp_path), finished(None))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    state = torch.load(path, weights_only=True)
    change(state)
    save_checkpoint(path.parent, state, keep=9)


def to_nan(state: dict[str, Any]) -> None:
    state["method"]["encoder.layers.1.weight"][0, 0] = torch.nan


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped": (flipped, "is damaged"),
    "zeros": (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is damaged"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "a list": (
        lambda path: (path.with_name(f"{path.name}.sha256").unlink(), torch.save([1], path)),
        "is damaged",
    ),  # type: ignore
    "no method": (lambda path: changed(path, lambda state: state.pop("method")), "lacks parts"),
    "no optimiser": (
        lambda path: changed(path, lambda state: state.pop("optimizer")),
        "lacks parts",
    ),
    "no random state": (
        lambda path: changed(path, lambda state: state.pop("random")),
        "lacks parts",
    ),
    "other shapes": (
        lambda path: changed(path, lambda s: s["method"].update(centre=torch.zeros(9))),
        "does not fit",
    ),
    "fewer weights": (
        lambda path: changed(path, lambda s: s["method"].pop("scale")),
        "does not fit",
    ),
    "another run": (
        lambda path: changed(path, lambda s: s.update(config=CONFIG.replace("3", "4"))),
        "seed was 4 there and is 3",
    ),
    "not finite": (lambda path: changed(path, to_nan), "encoder.layers.1.weight are not finite"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_bad_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path, kind: str) -> None:
    damage, sentence = DAMAGES[kind]
    killed(tmp_path, 5)
    damage(newest_first(tmp_path)[0])
    told: list[str] = []
    assert same(finished(tmp_path, dataclasses.replace(PLAN, tell=told.append)), finished(None))
    assert len(told) == 1
    assert sentence in told[0]
    assert "Going on from step-000000004.pt" in told[0]
    assert (tmp_path / "step-000000005.pt.unusable").exists()


@pytest.mark.parametrize("kind", DAMAGES)
def test_where_no_checkpoint_is_good_the_run_says_so_and_changes_nothing(
    tmp_path: Path, kind: str
) -> None:
    damage, sentence = DAMAGES[kind]
    killed(tmp_path, 5)
    for path in newest_first(tmp_path):
        damage(path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=sentence) as caught:
        finished(tmp_path)
    assert "Nor can step-000000004.pt be used" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "end", [b'{"step": 4, "lo', b"\0" * 300, b"\xff\xfe", b"[1]\n", b'{"loss": 1}\n']
)
def test_damaged_lines_of_metrics_are_cut(tmp_path: Path, end: bytes) -> None:
    told: list[str] = []
    log = MetricsLog(tmp_path, told.append)
    progress = Progress(3, 9, 3, 8, {"loss": 1.0})
    log.write(progress, loss=1.0)
    with log.path.open("ab") as file:
        file.write(end)
    log.on_start(progress)
    assert [row["step"] for row in map(json.loads, log.path.read_text().splitlines())] == [3]
    assert len(told) == 1
    assert "1 damaged line(s)" in told[0]


def test_metrics_hold_no_nan_that_other_readers_refuse(tmp_path: Path) -> None:
    def strict(text: str) -> dict[str, object]:
        row: dict[str, object] = json.loads(text, parse_constant=pytest.fail)
        return row

    log = MetricsLog(tmp_path)
    progress = Progress(3, 9, 3, 8, {"loss": 1.0})
    old = {"step": 2, "epoch": 0.5, "terms": {"a": math.nan}}
    log.path.write_text(json.dumps(old) + "\n")
    log.on_start(progress)
    log.write(progress, loss=math.inf, terms={"a": math.nan, "b": 2.0})
    first, second = map(strict, log.path.read_text().splitlines())
    assert first == {**old, "terms": {"a": None}}
    assert (second["loss"], second["terms"]) == (None, {"a": None, "b": 2.0})
    read = log.rows()
    assert all(math.isnan(row["terms"]["a"]) for row in read)
    assert read[1]["terms"]["b"] == 2.0


class LateNan(Toy):
    """Its gradient, not its loss, is no longer finite at the fifth step."""

    def forward(self, batch: Batch) -> Outputs:
        outputs = super().forward(batch)
        if round(self.progress * 9) == 4 and self.training:
            outputs["z1"].register_hook(lambda gradient: gradient * torch.nan)
        return outputs


@pytest.mark.parametrize("at_once", [True, False])
def test_a_gradient_that_is_not_finite_is_never_saved(
    tmp_path: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without a look at every step before its optimiser, as on a CPU and on an
    accelerator.
    """
    if not at_once:
        from nearfar.training import update
        from nearfar.training.care.finite import FiniteSteps

        monkeypatch.setattr(
            update, "FiniteSteps", lambda *given, at_once: FiniteSteps(*given, at_once=False)
        )
    torch.manual_seed(5)
    with pytest.raises(
        UserError, match=r"The gradient of encoder.layers.1.weight was no longer finite at step 5"
    ) as caught:
        fit(LateNan(ToyEncoder()), ToySource(), views, PLAN, tmp_path)
    assert "ordinary values" in str(caught.value)
    assert newest_first(tmp_path)[0].name == "step-000000004.pt"


def test_samples_with_extreme_values_are_named(tmp_path: Path) -> None:
    source = ToySource()
    source.train.values[7, 0, 0] = torch.inf
    with pytest.raises(
        UserError, match=r"Samples of that batch with extreme values: 7 \((inf|nan)\)"
    ):
        fit(toy(), source, views, PLAN, tmp_path)


def test_huge_values_are_noted_before_the_run() -> None:
    from nearfar.training.care.finite import extremes

    source = ToySource()
    assert extremes(source) == []
    source.train.values[7, 1, 3] = 1e18
    (sentence,) = extremes(source)
    assert "1 of 24 training samples hold values of up to 1e+18 (sample 7)" in sentence
