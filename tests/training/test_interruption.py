"""A signal, such as Slurm sends before a job's time is over, is honoured after the current step."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nearfar.methods.method import Recipe
from nearfar.training.care.checkpoints import newest_first
from nearfar.training.care.interruption import ASKING, Interruption
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from tests.training.toys import Toy, ToyEncoder, ToySource, views

PLAN = Plan(Recipe(learning_rate=0.1, batch_size=8, epochs=3), seed=3)


class Asking:
    """Views as always; while those of one step are made, the process gets a signal."""

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        self.left = step

    def __call__(self, samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return views(samples, generator)


def toy() -> Toy:
    torch.manual_seed(5)
    return Toy(ToyEncoder(0.5))


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_ends_the_run_after_its_step_and_it_goes_on_to_the_bit(
    number: signal.Signals, tmp_path: Path
) -> None:
    previous = signal.signal(number, signal.default_int_handler)
    try:
        stopped = fit(toy(), ToySource(), Asking(number, 4), PLAN, tmp_path)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, previous)
    assert stopped.step == 4
    assert newest_first(tmp_path)[0].name == "step-000000004.pt"
    whole, resumed = toy(), toy()
    fit(whole, ToySource(), views, PLAN)
    fit(resumed, ToySource(), views, PLAN, tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGUSR1, previous)
