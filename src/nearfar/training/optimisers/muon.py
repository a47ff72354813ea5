"""Muon: matrices move along their orthogonalised momentum, all else by AdamW."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.adamw import adamw

from nearfar.training.optimisers.grouped import GroupedOptimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(GroupedOptimizer):
    """Descent in the spectral norm: every direction of a matrix moves equally far, however small
    its share of the gradient is.

    For a parameter W of two and more dimensions, taken as a matrix of a rows and b columns (of a
    convolution: output channels, all else), a, b > 1, with gradient G:

        M <- momentum M + (1 - momentum) G
        O  = orthogonalised((1 - momentum) G + momentum M)
        W <- (1 - lr weight_decay) W - 0.2 lr sqrt(max(a, b)) O

    The factor makes the step's root mean square that of AdamW, so that all parameters share one
    learning rate; vectors, scalars and matrices of one row or column move by AdamW.

    Args:
        params: parameters or groups.
        lr: learning rate, at least 0.
        momentum: of the matrices, in [0, 1).
        betas: AdamW's, of all else.
        weight_decay: at least 0.
        dtype: of the orthogonalisation's products; bfloat16 is enough where the hardware is fast at
            it. float64 parameters keep theirs.
        fused: AdamW in one kernel, on devices that have it.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the
        factor is Liu et al. 2025, "Muon is
    Scalable for LLM Training", section 2.2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
        fused: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        )
        self.dtype = dtype
        self.fused = fused

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        matrices = [p for p in parameters if _is_matrix(p)]
        if matrices:
            self._step_matrices(matrices, group)
        others = [p for p in parameters if not _is_matrix(p)]
        if others:
            self._step_others(others, group)

    def _step_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        momenta = [self._state(p, "momentum") for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for parameter, direction in zip(
            parameters, orthogonalised(list(ahead), self.dtype), strict=True
        ):
            parameter.add_(direction, alpha=-0.2 * group["lr"] * math.sqrt(max(_sides(parameter))))

    def _step_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        steps = [self._state(p, "step", torch.zeros((), device=p.device)) for p in parameters]
        first, second = ([self._state(p, name) for p in parameters] for name in ("mean", "square"))
        gradients = [p.grad for p in parameters if p.grad is not None]
        adamw(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            foreach=not self.fused,
            fused=self.fused,
            amsgrad=False,
            maximize=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
        )

    def _state(self, parameter: Tensor, name: str, start: Tensor | None = None) -> Tensor:
        if name not in self.state[parameter]:
            self.state[parameter][name] = torch.zeros_like(parameter) if start is None else start
        found: Tensor = self.state[parameter][name]
        return found


def orthogonalised(tensors: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Each tensor, as a matrix, with all its singular values brought near 1 (0.7 to 1.2 unless they
    are tiny beside the largest).

    Five iterations X <- a X + (b X X' + c (X X')^2) X from X / |X|, matrices of equal sides (or of
    each other's) in one batch.

    Args:
        tensors: of at least two dimensions, the later ones taken together; may be sharded.
        dtype: of the products.

    Returns:
        Tensors of the same shapes and types, sharded alike.

    Source: Jordan et al. 2024, "Muon".
    """
    whole = [tensor.full_tensor() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, tensor in enumerate(whole):
        alike[tensor.device, *sorted(_sides(tensor))].append(place)
    found: dict[int, Tensor] = {}
    for places in alike.values():
        kept = torch.float64 if whole[places[0]].dtype == torch.float64 else dtype
        wide = torch.stack([_wide(whole[place].to(kept)) for place in places])
        for place, matrix in zip(places, _iterated(wide), strict=True):
            rows, columns = _sides(whole[place])
            upright = matrix if rows <= columns else matrix.mT
            found[place] = upright.reshape(whole[place].shape).to(whole[place].dtype)
    return [_divided(found[place], tensor) for place, tensor in enumerate(tensors)]


def _iterated(x: Tensor) -> Tensor:
    a, b, c = _COEFFICIENTS
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _sides(tensor: Tensor) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix."""
    return tensor.shape[0], tensor.shape[1:].numel()


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.ndim >= 2 and min(_sides(tensor)) > 1


def _wide(tensor: Tensor) -> Tensor:
    matrix = tensor.flatten(1)
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def _divided(tensor: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
