"""A dry run on a pretended CUDA device, which needs none: shapes, dtypes and devices are followed
through ``forward`` and ``loss``, and no number is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from nearfar.batch import Batch
from nearfar.methods.method import Method
from nearfar.rows import map_tensors, tensors_of

_DEVICE = "cuda"
_WAITS = (DataDependentOutputException, DynamicOutputShapeException)
"""What the dry run raises where a value must be known: ``item``, ``bool``, ``nonzero``, ``unique``
...
"""


def wait_in(method: Method, batch: Batch) -> str:
    """Where ``forward`` and ``loss`` of a method wait for the device, in words; "" where they do
    not.

    The method is moved to the pretended device and cannot be used afterwards.

    Args:
        method: On the CPU.
        batch: On the CPU.

    Raises:
        AssertionError: If tensors of two devices meet, or a loss term ends on the CPU.
    """
    mode = FakeTensorMode()

    def pretended(value: Tensor) -> Tensor:
        size = tuple(value.shape)
        stride = value.stride()
        dtype = value.dtype
        with mode:
            return torch.empty_strided(size, stride, dtype=dtype, device=_DEVICE)

    _move(method, pretended)
    moved = _moved(batch, pretended)
    try:
        with mode:
            for phase in method.phases():
                outputs = getattr(method, phase.forward)(moved)
                terms = getattr(method, phase.loss)(outputs)
                places = {name: term.device.type for name, term in terms.items()}
                assert set(places.values()) == {_DEVICE}, f"loss terms end on {places}"
    except _WAITS as error:
        return str(error)
    except RuntimeError as error:
        if "device" not in str(error):
            raise
        raise AssertionError(f"tensors of two devices meet: {error}") from error
    return ""


def _move(module: nn.Module, pretended: Callable[[Tensor], Tensor]) -> None:
    """Every parameter and buffer becomes a pretended one; those that are shared stay shared."""
    known: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in known:
                made = nn.Parameter(pretended(parameter.detach()), parameter.requires_grad)
                known[id(parameter)] = made
            part._parameters[name] = known[id(parameter)]
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = known.setdefault(id(buffer), pretended(buffer))


def _moved(batch: Batch, pretended: Callable[[Tensor], Tensor]) -> Batch:
    label = None if batch.label is None else map_tensors(batch.label, pretended)
    extra = {
        name: map_tensors(value, pretended) if tensors_of(value) else value
        for name, value in batch.extra.items()
    }
    views = [map_tensors(view, pretended) for view in batch.views]
    return replace(batch, views=views, index=pretended(batch.index), label=label, extra=extra)
