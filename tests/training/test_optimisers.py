"""LARS and LARC against reference values and slow twins; groups, peaks and errors of
``build_optimizer``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nearfar.errors import UserError
from nearfar.methods.method import Recipe
from nearfar.training.optimisers.optimisers import LARC, LARS, build_optimizer
from tests.training.toys import Toy, ToyEncoder

Golden = Callable[[str], dict[str, Tensor]]


def steps(
    make: Callable[[list[nn.Parameter]], Optimizer], starts: list[Tensor], gradients: list[Tensor]
) -> list[Tensor]:
    """Values (steps, *shape) of each parameter after each step with the given gradients (steps,
    *shape).
    """
    parameters = [nn.Parameter(start.clone()) for start in starts]
    optimizer = make(parameters)
    values: list[list[Tensor]] = [[] for _ in parameters]
    for step in range(len(gradients[0])):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient[step].clone()
        optimizer.step()
        for parameter, seen in zip(parameters, values, strict=True):
            seen.append(parameter.detach().clone())
    return [torch.stack(seen) for seen in values]


def test_lars_gives_the_reference_values(golden: Golden) -> None:
    case = golden("a-lars")
    options = {
        "momentum": float(case["hp_momentum"]),
        "weight_decay": float(case["hp_weight_decay"]),
        "trust": float(case["hp_eta"]),
    }
    make = functools.partial(LARS, lr=float(case["hp_lr"]), **options)
    starts = [case["in_b"], case["in_w"], torch.zeros(2, 2, dtype=torch.float64)]
    found = steps(make, starts, [case["in_grads_b"], case["in_grads_w"], case["in_grads_zero"]])
    for value, name in zip(found, ("out_b", "out_w", "out_zero"), strict=True):
        torch.testing.assert_close(value, case[name], rtol=1e-8, atol=1e-12)


def test_larc_gives_the_reference_values(golden: Golden) -> None:
    case = golden("a-larc-case1")
    options = {
        "momentum": float(case["hp_momentum"]),
        "weight_decay": float(case["hp_weight_decay"]),
        "trust": float(case["hp_trust"]),
    }
    make = functools.partial(LARC, lr=float(case["hp_lr"]), clip=bool(case["hp_clip"]), **options)
    found = steps(make, [case["in_w"], case["in_b"]], [case["in_grads_w"], case["in_grads_b"]])
    torch.testing.assert_close(found[0], case["out_w"], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found[1], case["out_b"], rtol=1e-8, atol=1e-12)


def test_larc_without_clipping_gives_the_reference_gradient(golden: Golden) -> None:
    case = golden("f-seer-larc-0")
    make = functools.partial(
        LARC, lr=1.0, weight_decay=float(case["hp_weight_decay"]), trust=float(case["hp_trust"])
    )
    (found,) = steps(make, [case["in_param"]], [case["in_grad"][None]])
    torch.testing.assert_close(
        case["in_param"] - found[0], case["out_scaled_grad"], rtol=1e-8, atol=1e-12
    )


def lars_twin(weight: Tensor, gradients: Tensor, lr: float, decay: float) -> Tensor:
    momentum = torch.zeros_like(weight)
    for g in gradients:
        if weight.dim() > 1:
            g = g + decay * weight
            if weight.norm() > 0 and g.norm() > 0:
                g = g * 0.001 * weight.norm() / g.norm()
        momentum = 0.9 * momentum + g
        weight = weight - lr * momentum
    return weight


def larc_twin(weight: Tensor, gradients: Tensor, lr: float, decay: float, *, clip: bool) -> Tensor:
    momentum = torch.zeros_like(weight)
    for g in gradients:
        if weight.norm() > 0 and g.norm() > 0:
            rate = 0.001 * weight.norm() / (g.norm() + decay * weight.norm() + 1e-8)
            g = (g + decay * weight) * (min(rate / lr, 1.0) if clip else rate)
        momentum = 0.9 * momentum + g
        weight = weight - lr * momentum
    return weight


@pytest.mark.parametrize("name", ["lars", "larc", "larc-clipped"])
def test_the_foreach_form_equals_a_loop(name: str) -> None:
    shapes = [(3, 4), (5,), (), (2, 3, 2, 2), (4, 1), (3,)]
    starts = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    gradients = [torch.randn(4, *shape, dtype=torch.float64) for shape in shapes]
    starts[4].zero_()
    starts[5].zero_()
    gradients[0][1] = 0.0
    gradients[5][:2] = 0.0
    clip = {"clip": True} if name == "larc-clipped" else {}
    kind = LARS if name == "lars" else LARC
    found = steps(functools.partial(kind, lr=1e-3, weight_decay=0.1, **clip), starts, gradients)
    for value, start, given in zip(found, starts, gradients, strict=True):
        twin = (
            lars_twin(start, given, 1e-3, 0.1)
            if name == "lars"
            else larc_twin(start, given, 1e-3, 0.1, clip=bool(clip))
        )
        torch.testing.assert_close(value[-1], twin, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", [LARS, LARC])
def test_a_parameter_without_gradient_stays_and_gets_no_state(kind: type[Optimizer]) -> None:
    moving = nn.Parameter(torch.ones(2, 2))
    still = nn.Parameter(torch.ones(2, 2))
    optimizer = kind([moving, still], lr=0.1)  # type: ignore[call-arg]
    moving.grad = torch.ones(2, 2)
    assert optimizer.step(lambda: 3.0) == 3.0
    assert torch.equal(still, torch.ones(2, 2))
    assert not torch.equal(moving, torch.ones(2, 2))
    assert set(optimizer.state) == {moving}


class Grouped(Toy):
    """Treats the encoder's weight, its bias and the scale in three ways."""

    groups: list[dict[str, Any]]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.groups


def grouped() -> Grouped:
    method = Grouped(ToyEncoder())
    weight, bias = method.encoder.parameters()
    method.groups = [
        {"params": [weight, bias], "learning_rate_scale": 0.1},
        {"params": [method.scale], "constant_learning_rate": True, "decay": True},
    ]
    return method


RECIPE = Recipe(optimizer="sgd", learning_rate=0.2, weight_decay=0.05, batch_size=512)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "larc", "muon"])
def test_groups_are_split_by_decay_and_scaled_by_the_batch(name: str) -> None:
    method = grouped()
    optimizer = build_optimizer(method, dataclasses.replace(RECIPE, optimizer=name))
    found = [
        (g["params"][0].ndim, g["lr"], g["weight_decay"], g["constant_learning_rate"])
        for g in optimizer.param_groups
    ]
    assert found == [
        (2, pytest.approx(0.04), 0.05, False),
        (1, pytest.approx(0.04), 0.0, False),
        (0, pytest.approx(0.4), 0.05, True),
    ]


def test_a_group_may_refuse_decay() -> None:
    method = grouped()
    method.groups[0]["decay"] = False
    assert [g["weight_decay"] for g in build_optimizer(method, RECIPE).param_groups] == [0.0, 0.05]


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "larc", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_optimiser_lowers_a_quadratic(name: str, dtype: torch.dtype) -> None:
    method = Toy(ToyEncoder()).to(dtype)
    optimizer = build_optimizer(
        method, dataclasses.replace(RECIPE, optimizer=name, learning_rate=0.05, weight_decay=0.0)
    )
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = sum(parameter.square().sum() for parameter in method.parameters())
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
        losses.append(float(loss.detach()))  # type: ignore[union-attr]
    assert losses[-1] < losses[0]


def test_an_unknown_optimiser_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"Unknown optimizer 'adamm': did you mean adam or adamw\?"):
        build_optimizer(grouped(), dataclasses.replace(RECIPE, optimizer="adamm"))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_relative_learning_rate_must_be_above_zero(scale: float) -> None:
    method = grouped()
    method.groups[0]["learning_rate_scale"] = scale
    with pytest.raises(
        UserError, match=rf"relative to the others' is {scale}; expected a number above 0"
    ):
        build_optimizer(method, RECIPE)


@pytest.mark.parametrize("count", [0, 2])
def test_a_parameter_must_be_in_exactly_one_group(count: int) -> None:
    method = grouped()
    method.groups = method.groups[:1] + [method.groups[1]] * count
    with pytest.raises(
        UserError,
        match=rf"scale learns but is in {count} of the groups .* of Grouped gives; put it in",
    ):
        build_optimizer(method, RECIPE)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "larc", "muon"])
def test_parameters_may_get_their_first_gradient_late(name: str) -> None:
    method = Toy(ToyEncoder())
    optimizer = build_optimizer(method, Recipe(optimizer=name, batch_size=8))
    early = method.encoder.layers[1].weight
    late = method.scale
    before = late.detach().clone()
    for step in range(3):
        early.grad = torch.ones_like(early)
        late.grad = torch.ones_like(late) if step else None
        optimizer.step()
        assert torch.equal(late, before) == (step == 0)
