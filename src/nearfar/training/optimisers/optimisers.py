"""Optimisers by name, made from a method's parameter groups; LARS, LARC and Muon are ours."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from nearfar.errors import UserError
from nearfar.methods.method import Method, Recipe
from nearfar.training.optimisers.choices import optimizer_choice
from nearfar.training.optimisers.grouped import GroupedOptimizer
from nearfar.training.optimisers.layer_decay import decayed_by_depth
from nearfar.training.optimisers.muon import Muon

_FUSED = ("cpu", "cuda", "mps")
"""Devices on which PyTorch updates all parameters in one kernel."""


class _LayerwiseSGD(GroupedOptimizer):
    """Gradient descent with heavy-ball momentum on gradients that a subclass rescales layer by
    layer.
    """

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, self._rescaled(group, parameters, gradients))
        torch._foreach_add_(parameters, momenta, alpha=-group["lr"])

    def _rescaled(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]
    ) -> list[Tensor]:
        raise NotImplementedError


class LARS(_LayerwiseSGD):
    """Layer-wise adaptive rates: each matrix moves in proportion to its own norm.

    For parameters of two and more dimensions, with gradient g and weights w: g <- g + weight_decay
    w;  g <- g trust |w| / |g|, unscaled if a norm is 0. Vectors and scalars (biases, norms) have
    neither weight decay nor rescaling. Then m <- momentum m + g and w <- w - lr m.

    Args:
        params: parameters or groups.
        lr: learning rate, at least 0.
        momentum: share of the last update direction that stays, in [0, 1).
        weight_decay: of matrices, at least 0.
        trust: step relative to the weights' norm at a learning rate of 1, above 0.

    Source: You et al. 2017, as used by BYOL and Barlow Twins (biases and norms excluded).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        )

    def _rescaled(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]
    ) -> list[Tensor]:
        places = [place for place, p in enumerate(parameters) if p.ndim >= 2]
        if not places:
            return gradients
        matrices = [parameters[place] for place in places]
        updates = torch._foreach_add(
            [gradients[place] for place in places], matrices, alpha=group["weight_decay"]
        )
        weight = _norms(matrices)
        update = _norms(updates)
        factor = torch.where((weight > 0) & (update > 0), group["trust"] * weight / update, 1.0)
        torch._foreach_mul_(updates, list(factor.unbind()))
        rescaled = dict(zip(places, updates, strict=True))
        return [rescaled.get(place, gradient) for place, gradient in enumerate(gradients)]


class LARC(_LayerwiseSGD):
    """Layer-wise adaptive rates for every parameter, biases and norms included, as SwAV trains
    with.

    g <- (g + weight_decay w) r  with  r = trust |w| / (|g| + weight_decay |w|
            + 1e-8); a parameter whose weights or
    gradient are all 0 keeps its gradient as it is, without weight decay. Then m <- momentum m + g
    and w <- w - lr m.

    Args:
        params: parameters or groups.
        lr: learning rate, at least 0.
        momentum: share of the last update direction that stays, in [0, 1).
        weight_decay: at least 0.
        trust: as in ``LARS``.
        clip: take min(r / lr, 1) for r, so that the layer's own rate is only an upper limit of
            ``lr``.

    Source: NVIDIA apex's LARC, used by Caron et al. 2020 (SwAV).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        clip: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "clip": clip,
            },
        )

    def _rescaled(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]
    ) -> list[Tensor]:
        decay = group["weight_decay"]
        weight = _norms(parameters)
        gradient = _norms(gradients)
        rate = group["trust"] * weight / (gradient + decay * weight + 1e-8)
        if group["clip"]:
            rate = (rate / group["lr"]).clamp(max=1.0)
        still = gradient == 0
        factor = torch.where(still | (weight == 0), torch.where(still, 0.0, 1.0), rate)
        updates = torch._foreach_add(gradients, parameters, alpha=decay)
        torch._foreach_mul_(updates, list(factor.unbind()))
        return list(updates)


def build_optimizer(
    method: Method, recipe: Recipe, precision: str = "float32", *, only: set[int] | None = None
) -> Optimizer:
    """The optimiser of a method by its recipe, at the peak learning rate ``recipe.learning_rate *
    batch_size / 256``.

    ``only`` holds the identities of the parameters that it updates; all of the groups' by default.

    With ``recipe.layer_decay``, layers of the encoder nearer to its input learn more slowly, see
    ``decayed_by_depth``.

    ``precision``, "float32" or "bfloat16", is that of Muon's own products; parameters and what is
    remembered of them keep theirs.

    Each group of ``method.parameter_groups()`` is split by whether it has weight decay, which falls
    on parameters of two and more dimensions unless the group's ``decay`` says otherwise (LARS never
    lets it fall on others). The groups' learning rates are then moved by
    ``schedules.apply_schedule``.

    Raises:
        UserError: for an unknown optimiser, a learning parameter that is in no group or in several,
            or a scale that is not above 0.
    """
    peak = recipe.peak_learning_rate
    given = method.parameter_groups()
    _check_cover(method, given)
    if recipe.layer_decay is not None:
        given = decayed_by_depth(given, method.encoder, recipe.layer_decay)
    if only is not None:
        given = [
            {**group, "params": [p for p in group["params"] if id(p) in only]} for group in given
        ]
    groups = [part for group in given for part in _split(group, peak, recipe.weight_decay)]
    return optimizer_of(recipe.optimizer, groups, peak, precision)


def optimizer_of(
    name: str, groups: list[dict[str, Any]], peak: float, precision: str = "float32"
) -> Optimizer:
    """The optimiser of that name for parameter groups; ``precision`` as for ``build_optimizer``.

    Raises:
        UserError: for an unknown name.
    """
    fused = all(p.device.type in _FUSED for group in groups for p in group["params"])
    kind, options = optimizer_choice(name)
    given = vars(options).copy()
    if "beta1" in given:
        given["betas"] = (given.pop("beta1"), given.pop("beta2"))
    makers: dict[str, Callable[[], Optimizer]] = {
        "adamw": lambda: AdamW(groups, lr=peak, fused=fused, **given),
        "adam": lambda: Adam(groups, lr=peak, fused=fused, **given),
        # Not fused: PyTorch's kernel fails when some parameters get their first gradient later than
        # others (frozen prototypes).
        "sgd": lambda: SGD(groups, lr=peak, foreach=True, **given),
        "lars": lambda: LARS(groups, lr=peak, **given),
        "larc": lambda: LARC(groups, lr=peak, **given),
        "muon": lambda: Muon(groups, lr=peak, dtype=getattr(torch, precision), fused=fused),
    }
    return makers[kind]()


def _split(group: dict[str, Any], peak: float, weight_decay: float) -> list[dict[str, Any]]:
    """A method's group as one with weight decay and one without, where they have members."""
    decay = group.get("decay")
    scale = group.get("learning_rate_scale", 1.0)
    if not 0 < scale < math.inf:
        raise UserError(
            f"A learning rate relative to the others' is {scale}; expected a number above 0."
        )
    scaled = peak * scale
    constant = group.get("constant_learning_rate", False)
    shared = {"lr": scaled, "peak_learning_rate": scaled, "constant_learning_rate": constant}
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in group["params"]:
        parts[parameter.ndim >= 2 if decay is None else decay].append(parameter)
    decays = {True: weight_decay, False: 0.0}
    return [
        {"params": part, "decays": key, "weight_decay": decays[key], **shared}
        for key, part in parts.items()
        if part
    ]


def _check_cover(method: Method, groups: list[dict[str, Any]]) -> None:
    """Every parameter that learns is in exactly one group."""
    grouped = Counter(id(parameter) for group in groups for parameter in group["params"])
    for name, parameter in method.named_parameters():
        count = grouped[id(parameter)]
        if parameter.requires_grad and count != 1:
            raise UserError(
                f"The parameter {name} learns but is in {count} of the groups that "
                "parameter_groups() of"
                f" {type(method).__name__} gives; put it in exactly one, or give it "
                "requires_grad=False."
            )


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of each tensor, of the whole where a process holds a shard:
    (len(tensors),).
    """
    norms = torch.stack(torch._foreach_norm(list(tensors)))
    return norms.full_tensor() if isinstance(norms, DTensor) else norms
