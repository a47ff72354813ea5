"""A whole run on two, three and four processes gives the weights of one, with uneven parts, also
through the gradient cache.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nearfar import collectives
from nearfar.methods.method import Method, Recipe
from nearfar.testing import on_processes
from nearfar.training.branch import Branch
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from tests.training.toys import SharedToy, Toy, ToyEncoder, ToySource

PLANS = {
    "whole": Plan(Recipe(learning_rate=0.3, batch_size=11, epochs=3), seed=3),
    "cached": Plan(Recipe(learning_rate=0.3, batch_size=11, epochs=3), seed=3, gradient_cache=2),
}


def same_views(samples: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Views without randomness, so that processes and batches see the same."""
    return [samples.double(), 1.1 * samples.double()]


def weights() -> dict[str, dict[str, Tensor]]:
    """The state after a run of each plan, by methods whose loss every process computes whole or by
    rows; called on every process.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for (name, plan), kind in itertools.product(PLANS.items(), (Toy, SharedToy)):
        torch.manual_seed(5)
        method = kind(ToyEncoder()).double()
        folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
        progress = fit(method, ToySource(), same_views, dataclasses.replace(plan), folder)
        found[f"{name}, {kind.__name__}"] = {
            key: value.clone() for key, value in method.state_dict().items()
        } | {
            f"term {key}": torch.tensor(value, dtype=torch.float64)
            for key, value in progress.terms.items()
        }
    return found


@pytest.mark.slow
def test_a_run_on_several_processes_equals_a_run_on_one() -> None:
    expected = weights()
    for found in expected.values():
        torch.testing.assert_close(found, expected["whole, Toy"], rtol=1e-10, atol=1e-12)
    for results in on_processes(weights, counts=(2, 3, 4)).values():
        for result in results:
            torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


class TaskSource(ToySource):
    """Two tasks, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        count = len(self.train)
        self.train.group = {"task": (torch.arange(count) >= count // 2).long()}
        self.members = {"task": ("first", "second")}


def through_tasks() -> list[dict[str, Tensor]]:
    """The states that a run through tasks delivers, and its own at the end; called on every
    process. Deliveries are seen on the first process alone.
    """
    delivered: list[dict[str, Tensor]] = []

    def deliver(method: Method, task: int) -> None:
        delivered.append({name: value.clone() for name, value in method.state_dict().items()})

    torch.manual_seed(5)
    method = Toy(ToyEncoder()).double()
    recipe = Recipe(learning_rate=0.3, batch_size=11, epochs=2, schedule="infinite")
    plan = Plan(recipe, seed=3, order="task", branch=Branch(4, deliver))
    folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
    fit(method, TaskSource(), same_views, plan, folder)
    return [*delivered, {name: value.clone() for name, value in method.state_dict().items()}]


@pytest.mark.slow
def test_tasks_and_branches_on_several_processes_are_those_of_one() -> None:
    expected = through_tasks()
    assert len(expected) == 3, "a delivery for each task, and the run"
    for results in on_processes(through_tasks, counts=(2, 3)).values():
        for rank, found in enumerate(results):
            wanted = expected if rank == 0 else expected[-1:]
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def with_dropout() -> list[dict[str, Tensor]]:
    """The state after an uninterrupted run with dropout, and after one that was stopped and
    resumed; called on every process.
    """
    found = []
    for lengths in ((3,), (1, 3)):
        folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
        for epochs in lengths:
            torch.manual_seed(5)
            method = Toy(ToyEncoder(dropout=0.5)).double()
            plan = Plan(Recipe(learning_rate=0.3, batch_size=11, epochs=3), seed=3)
            views = same_views if epochs == 3 else stopping_views()
            fit(method, ToySource(), views, dataclasses.replace(plan, log_every=1), folder)
        found.append({key: value.clone() for key, value in method.state_dict().items()})
    return found


def stopping_views() -> Callable[[Tensor, torch.Generator], list[Tensor]]:
    """As ``same_views``, and at the second batch this process is asked to stop."""
    calls: list[int] = []

    def views(samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return same_views(samples, generator)

    return views


@pytest.mark.slow
def test_dropout_resumes_to_the_bit_on_two_processes() -> None:
    for results in on_processes(with_dropout, counts=(2,)).values():
        for whole, resumed in results:
            for name, value in whole.items():
                assert torch.equal(value, resumed[name]), name
