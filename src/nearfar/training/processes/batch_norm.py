"""Batch norm whose statistics are those of the joined batch of all processes, on any device and for
uneven parts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nearfar import collectives
from nearfar.errors import UserError


class SyncedBatchNorm(_BatchNorm):
    """Batch norm over the samples of all processes, each value counted once; for (N, C), (N, C, T),
    (N, C, H, W) ...

    With one process, and in evaluation mode, it is PyTorch's own. Otherwise the mean is taken first
    and the variance of what remains second, both through sums over processes whose gradient is
    exact (``collectives.all_reduce_sum``).

    Source: Ioffe and Szegedy 2015, algorithm 1, over all processes' samples.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if collectives.world() == 1 or not self.training:
            output: Tensor = super().forward(input)
            return output
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, count = _mean(x)
        centred = x - mean.view(shape)
        variance, _ = _mean(centred.square())
        self._update(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps)
        output = centred * (scale if self.weight is None else scale * self.weight).view(shape)
        if self.bias is not None:
            output = output + self.bias.view(shape)
        return output.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.ndim < 2:
            raise ValueError(
                f"batch norm expects a tensor with at least 2 axes, found {input.ndim}"
            )

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, with the unbiased variance, as PyTorch does."""
        if (
            self.running_mean is None
            or self.running_var is None
            or self.num_batches_tracked is None
        ):
            return
        self.num_batches_tracked.add_(1)
        step = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)


class _SyncedBatchNormAct(SyncedBatchNorm):
    """timm's ``BatchNormAct2d``: batch norm with the following dropout and activation built in."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        output: Tensor = self.act(self.drop(super().forward(input)))  # type: ignore[operator]
        return output


def synchronise(module: nn.Module) -> nn.Module:
    """Make every batch norm in ``module`` use the statistics of all processes; changes and returns
    ``module``.

    Raises:
        UserError: if a layer is a batch norm of an unknown kind, which would silently use its own
            process's statistics.
    """
    kinds = {
        "BatchNorm1d": SyncedBatchNorm,
        "BatchNorm2d": SyncedBatchNorm,
        "BatchNorm3d": SyncedBatchNorm,
    }
    kinds["BatchNormAct2d"] = _SyncedBatchNormAct
    for name, layer in module.named_modules():
        if not isinstance(layer, _BatchNorm) or isinstance(layer, SyncedBatchNorm):
            continue
        kind = type(layer).__name__
        if kind not in kinds:
            raise UserError(
                f"The layer {name} is a {kind}, which cannot be synchronised over processes;"
                " train with one process, or build the encoder with PyTorch's BatchNorm layers."
            )
        # Only the class changes: parameters, buffers, hooks and every reference to the layer stay
        # what they are.
        layer.__class__ = kinds[kind]
    return module


def _mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean per channel over the samples of all processes, and how many values that was."""
    total = x.sum([axis for axis in range(x.ndim) if axis != 1])
    totals = collectives.all_reduce_sum(
        torch.cat([total, total.new_full((1,), x.numel() / x.shape[1])])
    )
    return totals[:-1] / totals[-1], totals[-1].detach()
