"""Synchronised batch norm: PyTorch's on one process; on several, PyTorch's on the joined batch,
gradients included.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar import collectives
from nearfar.errors import UserError
from nearfar.testing.processes import on_processes
from nearfar.training.processes.batch_norm import SyncedBatchNorm, synchronise

LAYERS = {
    "vectors": (lambda: nn.BatchNorm1d(3), (9, 3)),
    "series": (lambda: nn.BatchNorm1d(3, affine=False, momentum=None), (9, 3, 4)),
    "images": (lambda: nn.BatchNorm2d(3, eps=1e-3, momentum=0.3), (9, 3, 2, 5)),
    "volumes": (lambda: nn.BatchNorm3d(3, track_running_stats=False), (9, 3, 2, 2, 2)),
}
ROWS = {1: (9,), 2: (8, 1), 3: (1, 3, 5)}


def case(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A layer with learned values that are not the starting ones, samples far from zero, and
    weights of a loss.
    """
    make, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(1)
    layer = make().double()
    for parameter in layer.parameters():
        parameter.data = torch.randn(3, generator=generator, dtype=torch.float64)
    x = 100.0 + torch.randn(shape, generator=generator, dtype=torch.float64)
    return layer, x, torch.randn(shape, generator=generator, dtype=torch.float64)


def passes(layer: nn.Module, x: Tensor, weight: Tensor) -> dict[str, Any]:
    """Twice forward and backward through a loss that is not linear in the output, and the state
    afterwards.
    """
    own = slice(
        sum(ROWS[collectives.world()][: collectives.rank()]),
        sum(ROWS[collectives.world()][: collectives.rank() + 1]),
    )
    x = x[own].requires_grad_()
    layer(x.detach() + 1)
    output = layer(x)
    (weight[own] * output + output.pow(3)).sum().backward()
    learned = {
        name: collectives.all_reduce_sum(p.grad)
        for name, p in layer.named_parameters()
        if p.grad is not None
    }
    evaluated = layer.eval()(x.detach()) if layer.running_mean is not None else x
    rows = {"output": output.detach(), "gradient": x.grad, "evaluated": evaluated.detach()}
    return {"rows": rows, "learned": learned, "state": dict(layer.state_dict())}


def synchronised(name: str) -> dict[str, Any]:
    layer, x, weight = case(name)
    return passes(synchronise(layer), x, weight)


def synchronised_all() -> dict[str, Any]:
    return {name: synchronised(name) for name in LAYERS}


@pytest.fixture(scope="module")
def several() -> dict[int, list[dict[str, Any]]]:
    return on_processes(synchronised_all)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("count", [2, 3])
def test_uneven_parts_on_several_processes_equal_the_joined_batch(
    several: dict[int, list[dict[str, Any]]], name: str, count: int
) -> None:
    layer, x, weight = case(name)
    expected = passes(layer, x, weight)
    found = [result[name] for result in several[count]]
    for key, value in expected["rows"].items():
        torch.testing.assert_close(
            torch.cat([part["rows"][key] for part in found]), value, rtol=1e-10, atol=1e-10
        )
    for part in found:
        torch.testing.assert_close(part["learned"], expected["learned"], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(part["state"], expected["state"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_one_process_is_exactly_pytorch(name: str) -> None:
    layer, x, weight = case(name)
    expected = passes(copy.deepcopy(layer), x, weight)
    torch.testing.assert_close(passes(synchronise(layer), x, weight), expected, rtol=0, atol=0)


def test_synchronising_keeps_every_parameter_buffer_hook_and_flag() -> None:
    shared = nn.BatchNorm1d(4)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.BatchNorm2d(4).eval(),
        nn.Flatten(2),
        shared,
        nn.ModuleList([shared, nn.BatchNorm3d(2)]),
    )
    before = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    calls = []
    shared.register_forward_hook(lambda *_: calls.append(1))
    assert synchronise(network) is network
    after = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    assert before.keys() == after.keys()
    assert all(after[key] is before[key] for key in before)
    assert sum(isinstance(layer, SyncedBatchNorm) for layer in network.modules()) == 3
    assert network[3] is shared is network[4][0]  # type: ignore[index]
    assert not network[1].training
    assert network[3].training
    network[:4](torch.randn(2, 3, 2, 2))
    assert calls == [1]
    assert isinstance(synchronise(nn.BatchNorm1d(2)), SyncedBatchNorm)


def test_the_batch_norms_of_timm_keep_their_activation() -> None:
    timm_layers = pytest.importorskip("timm.layers")
    layer = timm_layers.BatchNormAct2d(3)
    x = torch.randn(4, 3, 2, 2)
    expected = copy.deepcopy(layer)(x)
    torch.testing.assert_close(synchronise(layer)(x), expected, rtol=0, atol=0)
    assert isinstance(layer, SyncedBatchNorm)
    assert float(expected.detach().min()) == 0.0


def test_an_unknown_kind_of_batch_norm_is_named() -> None:
    class Renorm(nn.BatchNorm1d):
        pass

    with pytest.raises(
        UserError,
        match=r"The layer 1 is a Renorm, which cannot be synchronised over processes; train with "
        r"one process",
    ):
        synchronise(nn.Sequential(nn.Linear(2, 2), Renorm(2)))
