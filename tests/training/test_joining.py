"""Losses that take rows: on p processes each computes the share of its own samples, which is 1 / p
of the work.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nearfar import collectives
from nearfar.methods import registry
from nearfar.methods.method import Summed
from nearfar.testing import on_processes, toy
from nearfar.testing.steps import assert_processes_equal, train
from nearfar.training.objective import joined_loss, takes_rows
from nearfar.training.outputs import detached
from nearfar.training.processes.joining import join_rows, summed_terms

NAMES = [
    "adainf",
    "clip",
    "dcl",
    "fixed-head",
    "genecis",
    "genview",
    "mcl",
    "mcl-clip",
    "mochi",
    "moco-v2",
    "moco-v3",
    "nnclr",
    "ressl",
    "scatsimclr",
    "seed",
    "simclr",
    "supcon",
]
COUNTS = (2, 4)
SYMMETRIC = {"clip": 2.0, "mcl-clip": 2.0}
"""How many times more products all shares take together, as one process alone makes a pair's
product once for both directions.
"""

WITHOUT_PRODUCTS = ["genview"]
"""Whose host is SimSiam unless another is chosen: a loss of each pair by itself."""

ROWS = 64
"""Samples of the joined batch whose products are counted; a multiple of 4, so that parts are equal.
"""


def products(name: str) -> int:
    """Floating point operations of one process in the loss of ``ROWS`` samples, forwards and
    backwards.
    """
    method, batch = toy(name)
    method.progress = 0.5
    rows = ROWS // collectives.world()
    outputs = {
        key: value[torch.arange(rows) % len(batch)]
        for key, value in detached(method(batch)).items()
    }
    for value in outputs.values():
        value.requires_grad_(value.is_floating_point())
    with FlopCounterMode(display=False) as counter:
        _, terms = joined_loss(method, method.phases()[0], outputs)
        terms["loss"].backward()
    return counter.get_total_flops()


class Whole(nn.Module):
    """A loss of rows and of a parameter, with a diagnostic of the rows and one of the parameter
    alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3).double())
        self.scale = nn.Parameter(torch.tensor(2.0).double())

    def forward(self, x: Tensor) -> dict[str, Any]:
        z = x @ self.weight
        return {"z": z, "pair": [z.exp()], "sum": Summed(z.sum(0))}

    def loss(self, outputs: dict[str, Any], rows: slice | None = None) -> dict[str, Tensor]:
        own = slice(None) if rows is None else rows
        z = outputs["z"]
        values = (self.scale * z[own] @ outputs["pair"][0].T).logsumexp(1) * outputs[
            "sum"
        ].value.sum().sin()
        return {
            "value": values.sum() / len(z),
            "mean": z[own].detach().mean(),
            "scale": self.scale.detach(),
        }


def step(counts: tuple[int, ...]) -> dict[str, Any]:
    """Terms and parameter gradients of ``Whole`` on 7 samples."""
    samples = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    own = samples.split(counts)[collectives.rank()] if collectives.world() > 1 else samples
    model = Whole()
    outputs, share = join_rows(model(own))
    terms = (
        model.loss(outputs)
        if share is None
        else summed_terms(model.loss(outputs, share.rows), share)
    )
    terms["value"].backward()
    collectives.average_gradients(model.parameters())
    shared = torch.tensor(share is not None)
    return {
        "terms": {name: term.detach() for name, term in terms.items()},
        "gradients": [parameter.grad for parameter in model.parameters()],
        "shared": shared,
        "learns": {name: torch.tensor(term.requires_grad) for name, term in terms.items()},
    }


PARTS = {2: [(5, 2), (7, 0)], 4: [(2, 1, 3, 1), (3, 0, 2, 2)]}


def talk() -> dict[str, Any]:
    return {
        "products": {name: products(name) for name in NAMES},
        "trained": {name: train(*toy(name)) for name in NAMES},
        "steps": [step(counts) for counts in PARTS[collectives.world()]],
    }


@pytest.fixture(scope="module")
def several() -> dict[int, list[dict[str, Any]]]:
    return on_processes(talk, counts=COUNTS)


def test_the_listed_methods_and_no_others_take_rows() -> None:
    assert {
        name
        for name in registry.names()
        if all(takes_rows(toy(name)[0], phase) for phase in toy(name)[0].phases())
    } == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_PRODUCTS])
def test_each_of_p_processes_does_a_pth_of_the_products(
    several: dict[int, list[dict[str, Any]]], name: str
) -> None:
    whole = products(name)
    most = SYMMETRIC.get(name, 1.0)
    for count in COUNTS:
        for told in several[count]:
            assert 0 < told["products"][name] <= 1.01 * most * whole / count


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_several_processes_equals_one(
    several: dict[int, list[dict[str, Any]]], name: str
) -> None:
    expected = train(*toy(name))
    for count in COUNTS:
        assert_processes_equal([told["trained"][name] for told in several[count]], expected)


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_terms_and_gradients_are_those_of_one_process(
    several: dict[int, list[dict[str, Any]]], count: int
) -> None:
    expected = step((7,))
    for told in several[count]:
        for number, (found, counts) in enumerate(zip(told["steps"], PARTS[count], strict=True)):
            assert bool(found["shared"]) == (min(counts) > 0), number
            for key in ("terms", "gradients", "learns"):
                torch.testing.assert_close(found[key], expected[key], rtol=1e-12, atol=1e-13)
