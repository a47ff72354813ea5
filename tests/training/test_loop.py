"""The loop: determinism, exact resume, interruption, accumulation, the gradient cache, and what
goes wrong in plain words.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method, Recipe
from nearfar.training.gradients import gradients
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.progress import Progress
from tests.training.toys import Toy, ToyEncoder, ToySource, views

RECIPE = Recipe(optimizer="adamw", learning_rate=0.3, batch_size=8, epochs=4)
PLAN = Plan(RECIPE, seed=3)


class Watcher:
    """Counts calls; optionally asks for an interruption as Ctrl-C does."""

    def __init__(self, interrupt_at: int = -1) -> None:
        self.interrupt_at = interrupt_at  # type: ignore[var-annotated]
        self.calls = []
        self.seen = []

    def on_start(self, progress: Progress) -> None:
        self.calls.append(("start", progress.step))

    def on_log(self, progress: Progress) -> None:
        self.seen.append(dict(progress.terms))

    def on_epoch(self, progress: Progress, method: Method) -> None:
        self.calls.append(("epoch", progress.step))
        if progress.step == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    def on_end(self, progress: Progress) -> None:
        self.calls.append(("end", progress.step))


def toy(dropout: float = 0.5) -> Toy:
    torch.manual_seed(5)
    return Toy(ToyEncoder(dropout))


def same(first: Method, second: Method) -> bool:
    a = first.state_dict()
    b = second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    first = toy()
    second = toy()
    other = toy()
    fit(first, ToySource(), views, PLAN, tmp_path / "a")
    fit(second, ToySource(), views, PLAN, tmp_path / "b")
    fit(other, ToySource(), views, dataclasses.replace(PLAN, seed=4), tmp_path / "c")
    assert same(first, second)
    assert not same(first, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars", "larc", "muon"])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path, optimizer: str) -> None:
    plan = dataclasses.replace(
        PLAN, recipe=dataclasses.replace(RECIPE, optimizer=optimizer, learning_rate=0.1)
    )
    whole = toy()
    resumed = toy()
    fit(whole, ToySource(), views, plan, tmp_path / "whole")
    watcher = Watcher(interrupt_at=6)
    stopped = fit(toy(), ToySource(), views, plan, tmp_path / "parts", [watcher])
    assert 6 <= stopped.step < stopped.steps
    assert watcher.calls[-1] == ("end", stopped.step)
    torch.manual_seed(
        99
    )  # whatever the random state is in the new process, the checkpoint's counts
    finished = fit(resumed, ToySource(), views, plan, tmp_path / "parts", [watcher])
    assert finished.step == finished.steps
    assert ("start", stopped.step) in watcher.calls
    assert same(whole, resumed)


def test_training_lowers_the_loss_and_reports_every_term(tmp_path: Path) -> None:
    watcher = Watcher()
    fit(
        toy(0.0),
        ToySource(),
        views,
        dataclasses.replace(PLAN, recipe=dataclasses.replace(RECIPE, epochs=20)),
        tmp_path,
        [watcher],
    )
    assert set(watcher.seen[0]) == {"loss", "contrast", "drift", "seen"}
    first = watcher.seen[0]
    assert first["loss"] == pytest.approx(first["contrast"] + first["drift"]), (
        "diagnostics are not part of the loss"
    )
    assert watcher.seen[-1]["contrast"] < watcher.seen[0]["contrast"] - 0.1
    assert watcher.seen[0]["seen"] == 8


def _batch() -> Batch:
    samples = ToySource().train
    index = torch.arange(12)
    return Batch(views(samples.take(index).double(), torch.Generator().manual_seed(0)), index, None)


def _gradients(
    plan: Plan, dropout: float = 0.0
) -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
    method = toy(dropout).double()
    torch.manual_seed(7)
    terms, outputs = gradients(method, method, method.phases()[0], _batch(), plan)
    return (
        terms,
        {name: p.grad for name, p in method.named_parameters() if p.grad is not None},
        outputs,
    )


@pytest.mark.parametrize("chunk", [1, 5, 7, 12, 40])
def test_the_gradient_cache_gives_the_gradients_of_the_whole_batch(chunk: int) -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=12)
    terms, plain, outputs = _gradients(Plan(recipe))
    cached_terms, cached, cached_outputs = _gradients(Plan(recipe, gradient_cache=chunk))
    assert cached.keys() == plain.keys()
    for name in plain:
        torch.testing.assert_close(cached[name], plain[name], rtol=1e-12, atol=1e-14)
    for name in terms:
        torch.testing.assert_close(cached_terms[name], terms[name])
    torch.testing.assert_close(cached_outputs["sum"].value, outputs["sum"].value)
    assert torch.equal(cached_outputs["pair"][1], outputs["pair"][1])


def test_the_gradient_cache_repeats_dropout_in_its_second_pass() -> None:
    """The gradient of a chunked pass with dropout must belong to the embeddings that the loss
    saw.
    """
    plan = Plan(dataclasses.replace(RECIPE, batch_size=12), gradient_cache=4)
    method = toy(0.5).double()
    calls: list[Tensor] = []
    method.encoder.register_forward_hook(
        lambda module, given, result: calls.append(result.detach())
    )
    gradients(method, method, method.phases()[0], _batch(), plan)
    half = len(calls) // 2
    for first, second in zip(calls[:half], calls[half:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(calls[0], calls[1])


def test_accumulation_averages_the_parts() -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=12)
    _, found, outputs = _gradients(Plan(recipe, accumulate=3))
    expected: dict[str, Tensor] = {}
    for start in (0, 4, 8):
        method = toy(0.0).double()
        gradients(method, method, method.phases()[0], _batch()[start : start + 4], Plan(recipe))
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None
            expected[name] = expected.get(name, torch.zeros_like(parameter)) + parameter.grad / 3
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    assert len(outputs["z1"]) == 12


def test_a_loss_that_is_not_finite_stops_the_run_in_words(tmp_path: Path) -> None:
    method = toy(0.0)
    with torch.no_grad():
        method.scale.fill_(float("nan"))
    with pytest.raises(
        UserError,
        match=r"loss term (contrast|drift) became nan at step 1; usual causes are a learning rate",
    ):
        fit(method, ToySource(), views, PLAN, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, recipe=dataclasses.replace(RECIPE, batch_size=25))
    with pytest.raises(UserError, match=r"The batch size is 25, but there are 24"):
        fit(toy(), ToySource(), views, plan, tmp_path)


def test_bfloat16_keeps_the_loss_in_float32(tmp_path: Path) -> None:
    dtypes: list[torch.dtype] = []

    class Recorded(Toy):
        def loss(self, outputs: Any) -> dict[str, Tensor]:
            dtypes.append(outputs["z1"].dtype)
            terms = super().loss(outputs)
            dtypes.append(terms["contrast"].dtype)
            return terms

    torch.manual_seed(5)
    fit(
        Recorded(ToyEncoder()),
        ToySource(),
        views,
        dataclasses.replace(PLAN, precision="bfloat16"),
        tmp_path,
    )
    assert set(dtypes) == {torch.float32}
