"""The inputs of a loss, changed as its checks need them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

ROWS = 7
"""Samples of most checks; no other axis of the inputs may have this length."""


def reordered(given: Any, order: Tensor) -> Any:
    """A tensor with the samples of every axis of length ``ROWS`` taken in ``order``, as a leaf of
    its own."""
    if not isinstance(given, Tensor):
        return given
    moved = given.detach()
    for axis in [axis for axis, length in enumerate(given.shape) if length == ROWS]:
        moved = moved.index_select(axis, order)
    return moved.clone().requires_grad_(given.requires_grad)


def sample_axis(given: Any) -> int | None:
    """The first axis of length ``ROWS`` of a tensor that asks for a gradient."""
    if isinstance(given, Tensor) and given.requires_grad and ROWS in given.shape:
        return given.shape.index(ROWS)
    return None


def orthogonal(given: Tensor, axis: int) -> Tensor:
    """Sample i is the unit vector i along the last axis, or the number i where samples are
    numbers."""
    samples = given.shape[axis]
    axis = axis - given.ndim
    if axis == -1:
        return torch.arange(samples, dtype=given.dtype).expand_as(given).clone()
    rows = torch.eye(samples, given.shape[-1], dtype=given.dtype)
    return rows.view(samples, *[1] * (-axis - 2), -1).expand_as(given).clone()


def cast(given: Any, dtype: torch.dtype) -> Any:
    """A floating-point tensor in another type, as a leaf of its own; anything else as it is."""
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return given
    return given.detach().to(dtype).requires_grad_(given.requires_grad)


def interleaved(given: Any) -> Any:
    """The same numbers as every second entry of a larger tensor with its axes reversed, as a leaf
    of its own."""
    if not isinstance(given, Tensor) or given.ndim == 0:
        return given
    reversed_axes = tuple(range(given.ndim - 1, -1, -1))
    larger = given.detach().permute(reversed_axes).repeat_interleave(2, dim=0)
    return larger[::2].permute(reversed_axes).requires_grad_(given.requires_grad)


def on_device(given: Any, device: str) -> Any:
    """A tensor on another device, as a leaf of its own, also within a dataclass; anything else as
    it is."""
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        moved = {
            field.name: on_device(getattr(given, field.name), device)
            for field in dataclasses.fields(given)
        }
        return dataclasses.replace(given, **moved)
    if not isinstance(given, Tensor):
        return given
    return given.detach().to(device).requires_grad_(given.requires_grad)
