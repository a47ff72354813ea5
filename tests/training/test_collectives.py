"""Joining over real processes: values, gradients and what one process does instead."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar import collectives
from nearfar.errors import UserError
from nearfar.methods.method import Summed
from nearfar.testing.processes import on_processes
from nearfar.training.processes.batch_norm import synchronise
from nearfar.training.processes.joining import join

PARTS = {2: [(5, 3), (4, 4), (1, 7)], 3: [(4, 3, 1), (2, 2, 2), (1, 1, 6)]}
ROWS = (2, 3)


def own_rows(whole: Tensor, counts: tuple[int, ...]) -> Tensor:
    """This process's rows of the joined batch; all of them where there is one process."""
    return whole.split(counts)[collectives.rank()] if collectives.world() > 1 else whole


class Network(nn.Module):
    """Convolution, batch norms and an MLP; ``scale`` is used in the loss only."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()
        )
        self.second = nn.Sequential(
            nn.Linear(4 * 9, 6), nn.BatchNorm1d(6, affine=False), nn.Tanh(), nn.Linear(6, 5)
        )
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.double()

    def forward(self, x: Tensor) -> dict[str, Any]:
        z = self.second(self.first(x))
        return {
            "z": z,
            "nested": [(z[:, :2].exp(),), {"label": torch.arange(len(x))}],
            "sum": Summed(z.square().sum(0)),
        }

    def loss(self, outputs: dict[str, Any]) -> Tensor:
        z = outputs["z"]
        other = outputs["nested"][0][0]
        contrast = torch.log_softmax(self.scale * (z @ z.T), dim=1).diagonal().mean()
        return (
            (outputs["sum"].value / len(z)).sin().sum()
            - contrast
            + (other.mean(0) * other.std(0)).prod()
        )


def train(counts: tuple[int, ...]) -> dict[str, Any]:
    """Two steps of gradient descent on the joined batch; its losses, gradients and final state."""
    samples = torch.randn(
        sum(counts), 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    batch = samples + torch.arange(len(samples)).view(-1, 1, 1, 1)
    network = synchronise(Network())
    model = collectives.data_parallel(network)
    losses = []
    gradients = []
    for _ in range(2):
        network.zero_grad()
        loss = network.loss(join(model(own_rows(batch, counts))))  # type: ignore[operator]
        loss.backward()
        losses.append(loss.detach())
        gradients.append(
            {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        )
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.1 * parameter.grad  # type: ignore[operator]
    return {"losses": losses, "gradients": gradients, "state": dict(network.state_dict())}


def joined_types() -> dict[str, Any]:
    """What ``join`` makes of every type of tensor, and the small talk between processes."""
    rank = collectives.rank()
    rows = ROWS[collectives.rank()]
    types = (
        torch.bool,
        torch.uint8,
        torch.int16,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.complex64,
    )
    outputs = {
        str(kind): (torch.arange(rows * 2).view(2, rows).T + 10 * rank).to(kind) for kind in types
    }
    outputs["count"] = Summed(torch.tensor(rows))
    joined = join(outputs)
    collectives.barrier()
    return {
        "joined": {
            name: value.value if isinstance(value, Summed) else value
            for name, value in joined.items()
        },
        "any": [collectives.any_process(rank == 1), collectives.any_process(False)],
        "first": collectives.is_first(),
        "heard": collectives.broadcast_object({"folder": "runs/é", "from": rank}),
    }


X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def adjoints() -> dict[str, Tensor]:
    """Gradients where every process has another gradient of the sum, and second derivatives through
    it.
    """
    own = (X + collectives.rank()).requires_grad_()
    weight = torch.arange(1.0, 4.0, dtype=X.dtype) * (1 + collectives.rank())
    loss = (weight * collectives.all_reduce_sum(own.square())).sum()
    (gradient,) = torch.autograd.grad(loss, own, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), own)
    return {"first": gradient.detach(), "second": second}


def averaged() -> list[Tensor | None]:
    """Gradients of two types, one of a transposed parameter, and a parameter without any."""
    parameters = [
        nn.Parameter(torch.zeros(2, 3).T),
        nn.Parameter(torch.zeros(())),
        nn.Parameter(torch.zeros(2).double()),
    ]
    for number, parameter in enumerate(parameters[1:], 1):
        parameter.grad = torch.full_like(parameter, number + 10.0 * collectives.rank())
    parameters[0].grad = (torch.arange(6.0) + collectives.rank()).view(2, 3).T
    parameters.append(nn.Parameter(torch.zeros(1)))
    collectives.average_gradients(parameters)
    return [parameter.grad for parameter in parameters]


def threads_after_leaving() -> list[str]:
    """Names of this process's threads once it trained with the others and left them."""
    model = collectives.data_parallel(nn.Linear(3, 3))
    model(torch.ones(2, 3)).sum().backward()
    model.itself = [model]
    del model
    collectives.stop()
    return [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]


def wrong_output(kind: str) -> str:
    try:
        join({"pair": [torch.ones(2), torch.tensor(1.0) if kind == "scalar" else kind]})
    except UserError as error:
        return str(error)
    return ""


def talk() -> dict[str, Any]:
    """Everything that one process of a group has to tell."""
    told: dict[str, Any] = {"trained": [train(counts) for counts in PARTS[collectives.world()]]}
    if collectives.world() == 2:
        told |= {
            "types": joined_types(),
            "adjoints": adjoints(),
            "averaged": averaged(),
            "errors": [wrong_output("scalar"), wrong_output("text")],
        }
    return told


@pytest.fixture(scope="module")
def several() -> dict[int, list[dict[str, Any]]]:
    return on_processes(talk)


@pytest.mark.parametrize("count", [2, 3])
def test_training_on_several_processes_equals_training_on_one(
    several: dict[int, list[dict[str, Any]]], count: int
) -> None:
    expected = [train(counts) for counts in PARTS[count]]
    for result in several[count]:
        torch.testing.assert_close(result["trained"], expected, rtol=1e-10, atol=1e-12)


def test_every_type_travels_and_all_processes_hear_the_same(
    several: dict[int, list[dict[str, Any]]],
) -> None:
    results = [result["types"] for result in several[2]]
    counts = ROWS
    assert [result["first"] for result in results] == [True, False]
    for result in results:
        assert result["any"] == [True, False]
        assert result["heard"] == {"folder": "runs/é", "from": 0}
        joined = result["joined"]
        assert joined.pop("count") == 5
        for name, value in joined.items():
            parts = [
                torch.arange(rows * 2).view(2, rows).T + 10 * rank
                for rank, rows in enumerate(counts)
            ]
            assert str(value.dtype) == name
            assert torch.equal(value, torch.cat(parts).to(value.dtype))


def test_the_gradient_of_a_sum_is_the_sum_of_all_gradients(
    several: dict[int, list[dict[str, Any]]],
) -> None:
    for rank, found in enumerate(result["adjoints"] for result in several[2]):
        weight = torch.arange(1.0, 4.0, dtype=torch.float64) * (1 + 2)
        torch.testing.assert_close(found["first"], 2 * weight * (X + rank))
        torch.testing.assert_close(found["second"], 2 * weight)


def test_gradients_are_averaged_in_place(several: dict[int, list[dict[str, Any]]]) -> None:
    for found in (result["averaged"] for result in several[2]):
        assert torch.equal(found[0], (torch.arange(6.0) + 0.5).view(2, 3).T)
        assert torch.equal(found[1], torch.tensor(6.0))
        assert torch.equal(found[2], torch.full((2,), 7.0, dtype=torch.float64))
        assert found[3] is None


def test_an_output_that_cannot_be_joined_is_named(several: dict[int, list[dict[str, Any]]]) -> None:
    expected = "expected a tensor with a row for each sample, or Summed(tensor)."
    for messages in (result["errors"] for result in several[2]):
        assert messages[0] == f"outputs['pair'][1] of the method is a scalar tensor; {expected}"
        assert messages[1] == f"outputs['pair'][1] of the method is a str; {expected}"


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(),
    reason="this system does not list the threads of a process",
)
def test_no_thread_is_left_that_could_abort_the_ending_interpreter() -> None:
    for threads in on_processes(threads_after_leaving, counts=(2,))[2]:
        assert threads
        assert not [name for name in threads if "gloo" in name]


def test_one_process_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    outputs = {"z": torch.ones(2, 3), "sum": Summed(torch.ones(3))}
    with collectives.processes():
        assert join(outputs) is outputs
        assert collectives.all_reduce_sum(outputs["z"]) is outputs["z"]
        assert (collectives.rank(), collectives.world(), collectives.is_first()) == (0, 1, True)
        assert collectives.any_process(True)
        assert not collectives.any_process(False)
        assert collectives.broadcast_object((1, "a")) == (1, "a")
        collectives.barrier()


def fail() -> None:
    if collectives.rank() == 1:
        raise ValueError("something odd")
    time.sleep(60)


@pytest.mark.slow
def test_a_failing_process_ends_all_and_says_why() -> None:
    with pytest.raises(
        RuntimeError,
        match=r"(?s)fail on processes failed.*something odd.*process 1 of 2 ended with code 1",
    ):
        on_processes(fail, counts=[2])
