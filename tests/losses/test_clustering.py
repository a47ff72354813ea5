"""SwAV's loss: the authors' values and gradients, a loop twin, its minimum, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses import swav
from tests.losses.cases import close, leaves, named

F64 = torch.float64


@pytest.mark.parametrize("name", named("a-swav-loss-*"))
def test_reference(golden: Callable[[str], dict[str, Tensor]], name: str) -> None:
    case = golden(name)
    crops, prototypes = leaves(case, "crops", "prototypes")
    loss = swav(crops @ prototypes.T, case["out_codes"], temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(crops.grad, case["out_grad_crops"])
    close(prototypes.grad, case["out_grad_prototypes"])


@pytest.mark.parametrize(("views", "assigned"), [(2, 2), (5, 2), (3, 1), (3, 3)])
def test_loop_twin(views: int, assigned: int) -> None:
    scores = torch.randn(views, 4, 6, dtype=F64, requires_grad=True)
    codes = torch.rand(assigned, 4, 6, dtype=F64)  # codes need not sum to 1 for the formula to hold
    expected = scores.new_zeros(4)
    for a in range(assigned):
        for v in range(views):
            if v != a:
                expected = expected - (codes[a] * (scores[v] / 0.2).log_softmax(dim=1)).sum(
                    dim=1
                ) / assigned / (views - 1)
    found = swav(scores, codes, temperature=0.2, reduction="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found.mean(), scores), torch.autograd.grad(expected.mean(), scores)
    )
    torch.testing.assert_close(swav(scores, codes, temperature=0.2), found.mean())


def test_gradcheck_and_constant_codes() -> None:
    scores = torch.randn(3, 2, 4, dtype=F64, requires_grad=True)
    codes = torch.rand(2, 2, 4, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: swav(s, codes), scores)
    assert torch.autograd.grad(swav(scores, codes), codes, allow_unused=True) == (None,)


def test_sure_and_right_costs_nothing_and_even_scores_cost_log_k() -> None:
    codes = torch.eye(4, dtype=F64)[None].repeat(2, 1, 1)
    assert swav(codes.repeat(2, 1, 1), codes, temperature=0.01).item() == pytest.approx(
        0, abs=1e-12
    )
    torch.testing.assert_close(
        swav(torch.zeros(4, 4, 4, dtype=F64), codes), torch.tensor(4.0, dtype=F64).log()
    )


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 10.0])
def test_half_precision_agrees_with_float64(temperature: float) -> None:
    scores = (2 * torch.rand(4, 8, 16) - 1).bfloat16()
    codes = torch.rand(2, 8, 16).softmax(dim=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = swav(scores, codes, temperature=temperature)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(),
        swav(scores.double(), codes.double(), temperature=temperature),
        rtol=1e-5,
        atol=0,
    )


@pytest.mark.parametrize(
    ("scores", "codes", "message"),
    [
        ((3, 4, 5), (2, 4, 6), r"found \(3, 4, 5\) and \(2, 4, 6\)"),
        ((3, 4, 5), (4, 4, 5), "1 <= A <= V"),
        ((4, 5), (4, 5), r"found \(4, 5\) and \(4, 5\)"),
        ((1, 4, 5), (1, 4, 5), "at least 2 views are needed"),
    ],
)
def test_errors(scores: tuple[int, ...], codes: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swav(torch.zeros(scores), torch.zeros(codes))


def test_settings_are_checked() -> None:
    x: Any = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        swav(x, x, temperature=0.0)
    with pytest.raises(ValueError, match="Unknown reduction 'sum'"):
        swav(x, x, reduction="sum")
