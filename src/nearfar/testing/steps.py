"""Training steps as the loop takes them, with everything they change laid open; on one process or
several.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.testing import assert_close

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.data.batches.samplers import part
from nearfar.methods.method import Method, Outputs, Recipe
from nearfar.testing.toys import toy
from nearfar.training.gradients import gradients
from nearfar.training.phases import due, moving
from nearfar.training.plan import Plan
from nearfar.training.processes import sharding
from nearfar.training.processes.batch_norm import synchronise

_RATE = 0.1


class Trained(TypedDict):
    """What some steps left behind.

    Attributes:
        terms: the loss terms of each step.
        gradients: the parameter gradients of each step, named "phase: parameter".
        state: the method's parameters and buffers at the end.
    """

    terms: list[dict[str, Tensor]]
    gradients: list[dict[str, Tensor]]
    state: dict[str, Tensor]


def train(
    method: Method,
    batch: Batch,
    progress: Sequence[float] = (0.25, 0.75),
    *,
    gradient_cache: int = 0,
    precision: str = "float32",
    shard: bool = False,
) -> Trained:
    """Take one step of plain gradient descent for each value of ``progress``, each on the same
    batch.

    Args:
        method: changed in place; has the same weights on every process.
        batch: the joined batch, of which each process takes its part.
        progress: share of the run that is done, for each step.
        gradient_cache: samples embedded at once; 0: off.
        precision: "float32" (that is, as the method is) or "bfloat16".
        shard: divide the parameters over the processes; ``method`` holds them whole again at the
            end.
    """
    plan = Plan(
        Recipe(batch_size=len(batch)),
        gradient_cache=gradient_cache,
        precision=precision,
        shard=shard,
    )
    if collectives.world() > 1:
        synchronise(method)
    whole = method
    method = sharding.sharded(method, plan.device) if shard and collectives.world() > 1 else method
    model = method if shard or len(method.phases()) > 1 else collectives.data_parallel(method)
    own = batch[part(torch.arange(len(batch)), collectives.rank(), collectives.world())]
    trained = Trained(terms=[], gradients=[], state={})
    with torch.random.fork_rng(devices=[]), _one_thread():
        for number, share in enumerate(progress):
            torch.manual_seed(number)
            method.progress = share
            terms, found = _step(model, method, own, plan)
            trained["terms"].append(terms)
            trained["gradients"].append(found)
    sharding.fill(whole, method)
    trained["state"] = {name: value.clone() for name, value in whole.state_dict().items()}
    return trained


@contextmanager
def _one_thread() -> Iterator[None]:
    """On tensors this small, several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _step(
    model: torch.nn.Module, method: Method, own: Batch, plan: Plan
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One step, phase by phase: its loss terms and parameter gradients."""
    terms: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    outputs: Outputs = {}
    for phase in due(method.phases(), 0, method.progress):
        method.zero_grad(set_to_none=True)
        with moving(method, phase.parameters):
            made, joined = gradients(model, method, phase, own, plan)
        terms |= made
        outputs |= joined
        with torch.no_grad(), sharding.mixed():
            method.after_backward(phase.name)
            for name, parameter in method.named_parameters():
                if parameter.grad is not None:
                    found[f"{phase.name}: {name}"] = sharding.whole(parameter.grad).clone()
                    parameter.sub_(_RATE * parameter.grad)
    with torch.no_grad(), sharding.mixed():
        method.after_step(outputs)
    return terms, found


def train_by_name(
    tasks: Sequence[tuple[str, str | None, Mapping[str, Any]]], shards: Sequence[bool] = (False,)
) -> list[Trained]:
    """``train`` on the toys of several methods, each a registered name (or "module:Class"), a
    modality and settings; all of them once for each value of ``shard`` that is asked for.
    """
    trained = []
    for shard, (name, modality, settings) in itertools.product(shards, tasks):
        try:
            trained.append(train(*toy(name, modality, settings=settings), shard=shard))
        except Exception as error:
            error.add_note(f"in the method {name} on {modality} data{', sharded' if shard else ''}")
            raise
    return trained


def assert_processes_equal(results: Sequence[Trained], expected: Trained, how: str = "") -> None:
    """What each process of a group found is what one process finds alone, to 1e-10; gradients to
    1e-14 of the step's largest where that is more, as some (of a bias before batch norm) are 0 but
    for the rounding of others. ``how`` they trained is told if not.
    """
    for rank, found in enumerate(results):
        where = f"process {rank} of {len(results)}{how} differs from one process: "
        for own, alone in zip(found["gradients"], expected["gradients"], strict=True):
            largest = max((float(gradient.abs().max()) for gradient in alone.values()), default=0.0)
            assert_close(
                own, alone, rtol=1e-10, atol=max(1e-10, 1e-14 * largest), msg=where.__add__
            )
        for what in ("terms", "state"):
            assert_close(found[what], expected[what], rtol=1e-10, atol=1e-10, msg=where.__add__)
