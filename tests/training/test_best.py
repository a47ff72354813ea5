"""The best encoder is kept, a run without gain ends, and a resumed one knows both."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nearfar.cli import main
from nearfar.evaluation.online import OnlineProbe
from nearfar.methods.method import Method, Recipe
from nearfar.testing import on_processes
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.progress import Progress
from nearfar.verbs.run import Run
from tests.training.test_loop_processes import same_views
from tests.training.toys import Silent, Toy, ToyEncoder, ToySource

WORDS = ["simclr", "--data", "digits", "--limit", "64", "--encoder", "perceptron"]
WORDS += ["--batch-size", "32", "--epochs", "8", "--evaluate-every", "1", "--no-evaluate"]
ASKED = [*WORDS, "--keep-best", "--early-stop", "3", "--views.rotation", "9", "--output", "r"]
SCORES = [0.2, 0.5, 0.4, 0.5, 0.1, 0.9, 0.9, 0.9]
"""The second is the highest until three more have not been higher."""
SAID = "has not risen over 3 evaluations; it was highest, 50.0 %, after step 4."


class Scripted:
    """An online probe that gives these scores, remembers each encoder, and asks for an end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ask_at: int = 0) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.ask_at = ask_at
        monkeypatch.setattr(OnlineProbe, "__call__", lambda probe, encode: self.looked(encode))

    def looked(self, encode: Any) -> tuple[dict[str, float], None]:
        state = encode.__self__.encoder.state_dict()
        self.states.append({name: value.clone() for name, value in state.items()})
        if len(self.states) == self.ask_at:
            os.kill(os.getpid(), signal.SIGUSR1)
        return {"knn": SCORES[len(self.states) - 1]}, None


def holds(run: Run, state: dict[str, Tensor]) -> bool:
    own = run.encoder().state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items())


@pytest.mark.slow
@pytest.mark.parametrize("ask_at", [0, 1, 4], ids=lambda at: f"interrupted after {at}")
def test_a_run_ends_without_gain_and_its_best_is_kept(
    ask_at: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    scripted = Scripted(monkeypatch, ask_at)
    if ask_at:
        assert main(["pretrain", *ASKED]) == 130
        assert "as --early-stop" not in capsys.readouterr().out
        assert main(["pretrain", "--resume", "r"]) == 0
    else:
        assert main(["pretrain", *ASKED]) == 0
    told = capsys.readouterr().out
    assert "Ended after step 10 of 16, as --early-stop 3 asks: the online kNN accuracy " in told
    assert SAID in told
    assert "best: the online kNN accuracy was highest, 50.0 %, after step 4;" in told
    assert len(scripted.states) == 5
    assert holds(Run(tmp_path / "r"), scripted.states[4])
    best = Run(tmp_path / "r" / "best")
    assert holds(best, scripted.states[1])
    assert holds(Run(best.folder), best.method().encoder.state_dict())
    assert best.config.views == Run(tmp_path / "r").config.views == {"rotation": 9.0}
    rows = Run(tmp_path / "r").metrics()
    assert main(["pretrain", "--resume", "r"]) == 0
    assert SAID in capsys.readouterr().out
    assert len(scripted.states) == 5, "it does not train on"
    assert Run(tmp_path / "r").metrics() == rows


@pytest.mark.slow
def test_without_the_options_nothing_is_kept_and_the_run_goes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scripted = Scripted(monkeypatch)
    assert main(["pretrain", *WORDS, "--output", "r"]) == 0
    assert len(scripted.states) == 8
    assert not (tmp_path / "r" / "best").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep-best"], "--keep-best goes by the online probe, which has no labels of"),
        (["--early-stop", "2"], "--early-stop goes by the online probe, which has no labels of"),
        (["--early-stop", "0"], "Option early_stop is 0; expected"),
    ],
)
def test_what_has_no_score_is_refused_and_nothing_is_written(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "plain.npz", images=np.zeros((40, 8, 8, 3), np.uint8))
    given = ["simclr", "--data", "plain.npz", "--encoder", "perceptron", "--steps", "2"]
    assert main(["pretrain", *given, *words, "--output", "r"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plain.npz"]


class Ending(Silent):
    """Ends the run at the end of its second epoch."""

    def on_epoch(self, progress: Progress, method: Method) -> None:
        if progress.epoch == 2:
            progress.stopped = "enough"


def ended() -> list[Any]:
    """Where a run stands that its callback ended; called on every process."""
    torch.manual_seed(5)
    method = Toy(ToyEncoder()).double()
    plan = Plan(Recipe(batch_size=11, epochs=5), seed=3)
    progress = fit(method, ToySource(), same_views, plan, callbacks=[Ending()])
    return [progress.step, progress.is_over, method.encoder.layers[1].weight.clone()]


@pytest.mark.slow
def test_all_processes_end_where_the_first_one_does() -> None:
    expected = ended()
    assert expected[:2] == [4, True]
    for result in on_processes(ended, counts=(2,))[2]:
        torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
