"""Optimisers by name, and LARS and LARC, which PyTorch lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nearfar.errors import unknown_name
from nearfar.methods.method import Method, Recipe

_SAMPLES = 256
"""Recipes state learning rates for batches of this size."""


class LARS(Optimizer):
    """Momentum SGD whose steps are scaled, weight by weight, to the size of the weight.

        for tensors of 2 and more dimensions:  g <- g + decay w;  g <- trust ||w|| / ||g|| g  (factor 1 where a norm is 0)
        for all:  m <- momentum m + g;  w <- w - lr m

    Vectors (biases, norms) have neither decay nor scaling.

    Args:
        params: parameters or groups.
        lr: at least 0.
        momentum: in [0, 1).
        weight_decay: at least 0.
        trust: eta.

    Source: You et al. 2017 (LARS); the exceptions for vectors as in Grill et al. 2020 (BYOL) and Zbontar et al. 2021.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            wide = [p for p in group["params"] if p.grad is not None and p.ndim > 1]
            vectors = [p for p in group["params"] if p.grad is not None and p.ndim <= 1]
            decayed = _decayed(wide, group["weight_decay"])
            scaled = torch._foreach_mul(decayed, _trust_ratios(wide, decayed, group["trust"])) if wide else []
            _momentum_step(self, group, [*wide, *vectors], [*scaled, *(p.grad for p in vectors if p.grad is not None)])


class LARC(Optimizer):
    """Momentum SGD with a rate for each tensor, vectors included.

        g <- (g + decay w) trust ||w|| / (||g|| + decay ||w|| + 1e-8),  ||g|| taken before the decay; unchanged where a norm is 0
        m <- momentum m + g;  w <- w - lr m

    Args:
        params: parameters or groups.
        lr: at least 0.
        momentum: in [0, 1).
        weight_decay: at least 0.
        trust: as above.
        clip: never take a larger step than plain SGD would: the factor becomes min(factor / lr, 1).

    Source: Caron et al. 2020 (SwAV), which takes it from NVIDIA's apex; You et al. 2017.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001, clip: bool = False
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "clip": clip})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            decay, size = group["weight_decay"], torch.stack(torch._foreach_norm(parameters))
            slope = torch.stack(torch._foreach_norm([p.grad for p in parameters]))
            factor = group["trust"] * size / (slope + decay * size + 1e-8)
            if group["clip"]:
                factor = (factor / group["lr"]).clamp(max=1.0)
            moves = (size != 0) & (slope != 0)
            plain = [p.grad for p in parameters]
            scaled = torch._foreach_mul(_decayed(parameters, decay), list(factor.unbind()))
            chosen = [torch.where(m, s, g) for m, s, g in zip(moves.unbind(), scaled, plain, strict=True)]
            _momentum_step(self, group, parameters, chosen)


def _decayed(parameters: list[Tensor], decay: float) -> list[Tensor]:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return list(torch._foreach_add(gradients, parameters, alpha=decay)) if parameters else []


def _trust_ratios(parameters: list[Tensor], gradients: list[Tensor], trust: float) -> list[Tensor]:
    size, slope = torch.stack(torch._foreach_norm(parameters)), torch.stack(torch._foreach_norm(gradients))
    ratio = torch.where((size > 0) & (slope > 0), trust * size / slope, 1.0)
    return list(ratio.unbind())


def _momentum_step(optimizer: Optimizer, group: Mapping[str, Any], parameters: list[Tensor], gradients: list[Tensor]) -> None:
    if not parameters:
        return
    for parameter in parameters:
        if not optimizer.state[parameter]:
            optimizer.state[parameter]["momentum"] = torch.zeros_like(parameter)
    velocity = [optimizer.state[p]["momentum"] for p in parameters]
    torch._foreach_mul_(velocity, group["momentum"])
    torch._foreach_add_(velocity, gradients)
    torch._foreach_add_(parameters, velocity, alpha=-group["lr"])


def _adamw(groups: list[dict[str, Any]]) -> Optimizer:
    on = {p.device.type for group in groups for p in group["params"]}
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=on <= {"cpu", "cuda"})


def _sgd(groups: list[dict[str, Any]]) -> Optimizer:
    return torch.optim.SGD(groups, momentum=0.9, foreach=True)


_MAKERS: Mapping[str, Callable[[list[dict[str, Any]]], Optimizer]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "lars": lambda groups: LARS(groups, 0.0),
    "larc": lambda groups: LARC(groups, 0.0),
}


def build_optimizer(method: Method | nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser for a method's parameter groups.

    Every group gets ``peak`` (recipe.learning_rate x batch size / 256 x its ``learning_rate_scale``) and
    ``constant_learning_rate`` for ``apply_schedule``. Weight decay falls on tensors of two and more dimensions, unless the
    group's ``decay`` says otherwise.

    Raises:
        UserError: for an unknown optimiser.
    """
    if recipe.optimizer not in _MAKERS:
        raise unknown_name("optimizer", recipe.optimizer, _MAKERS)
    groups = []
    for given in method.parameter_groups():  # type: ignore[operator, union-attr]
        peak = recipe.learning_rate * recipe.batch_size / _SAMPLES * given.get("learning_rate_scale", 1.0)
        constant, decay = given.get("constant_learning_rate", False), given.get("decay")
        for decays in (True, False):
            members = [p for p in given["params"] if (p.ndim > 1 if decay is None else decay) == decays]
            if members:
                weight_decay = recipe.weight_decay if decays else 0.0
                groups.append({"params": members, "lr": peak, "peak": peak, "constant_learning_rate": constant, "weight_decay": weight_decay})
    return _MAKERS[recipe.optimizer](groups)
