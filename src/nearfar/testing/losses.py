"""Checks of losses, each of one promise; an ``AssertionError`` says what was found instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError
from torch.testing import assert_close

ROWS = 7
"""Samples of most checks; no other axis of the inputs may have this length."""

Inputs = dict[str, Any]


@dataclass(frozen=True)
class LossCase:
    """What a check looks at.

    Attributes:
        function: the loss; gives a scalar, or a dict of scalars, which are added.
        make_inputs: from a number of samples and a generator to the function's arguments by name, in float64; those
            that should receive gradient have ``requires_grad``.
    """

    function: Callable[..., Tensor | dict[str, Tensor]]
    make_inputs: Callable[[int, torch.Generator], Inputs]

    def make(self, rows: int = ROWS) -> Inputs:
        """The same inputs at each call."""
        return self.make_inputs(rows, torch.Generator().manual_seed(rows))

    def value(self, inputs: Inputs) -> Tensor:
        """The loss as one tensor."""
        found = self.function(**inputs)
        return torch.stack(list(found.values())).sum() if isinstance(found, dict) else found


def finite_with_gradient(case: LossCase) -> None:
    """A finite scalar whose finite gradient reaches every input that asks for one; inputs stay as they are."""
    inputs = case.make()
    value = case.value(inputs)
    assert value.ndim == 0, f"the loss has the shape {tuple(value.shape)}; expected a scalar"
    assert value.dtype == torch.float64, f"float64 inputs give a {value.dtype}"
    _assert_finite(value, inputs, "")
    fresh = case.make()
    for name, given in inputs.items():
        assert not isinstance(given, Tensor) or torch.equal(given, fresh[name]), f"the input {name} is changed in place"
    assert torch.equal(case.value(fresh), value), "the same inputs give another value"


def gradient_matches_differences(case: LossCase) -> None:
    """PyTorch's gradcheck in float64."""
    inputs = case.make(4)
    moving = [name for name, given in inputs.items() if isinstance(given, Tensor) and given.requires_grad]

    def loss(*values: Tensor) -> Tensor:
        return case.value({**inputs, **dict(zip(moving, values, strict=True))})

    try:
        torch.autograd.gradcheck(loss, [inputs[name] for name in moving])
    except GradcheckError as error:
        raise AssertionError(str(error)) from error


def order_does_not_matter(case: LossCase) -> None:
    """Samples in another order give the same loss, and their gradients in that order."""
    inputs = case.make()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    moved = {name: _reordered(given, order) for name, given in inputs.items()}
    value, other = case.value(inputs), case.value(moved)
    assert_close(other, value, rtol=1e-10, atol=1e-12, msg=lambda text: f"the order of samples matters: {text}")
    gradients = zip(_gradients(value, inputs), _gradients(other, moved), strict=True)
    for (name, gradient), (_, found) in gradients:
        said = f"the order of samples matters to the gradient of {name}: "
        assert_close(found, _reordered(gradient, order), rtol=1e-9, atol=1e-12, msg=said.__add__)


def half_types_compute_in_float32(case: LossCase) -> None:
    """bfloat16 inputs give, in float32, what the same numbers give in float64; also under autocast."""
    inputs = {name: _cast(given, torch.bfloat16) for name, given in case.make().items()}
    with torch.autocast("cpu", torch.bfloat16):
        value = case.value(inputs)
    assert value.dtype == torch.float32, f"bfloat16 inputs give a {value.dtype}"
    _assert_finite(value, inputs, " in bfloat16")
    expected = case.value({name: _cast(given, torch.float64) for name, given in inputs.items()})
    assert_close(
        value.double(), expected, rtol=1e-3, atol=1e-5, msg=lambda text: f"bfloat16 inputs lose precision: {text}"
    )


def finite_at_any_temperature(case: LossCase) -> None:
    """Finite values and gradients from a temperature of 0.001 to 10, in float32; losses without one pass."""
    if "temperature" not in inspect.signature(case.function).parameters:
        return
    for temperature in (1e-3, 1e-2, 0.1, 1.0, 10.0):
        inputs = {name: _cast(given, torch.float32) for name, given in case.make().items()} | {
            "temperature": temperature
        }
        _assert_finite(case.value(inputs), inputs, f" at temperature {temperature}")


def few_samples_are_right_or_refused(case: LossCase) -> None:
    """One sample, and equal samples, give finite values and gradients or a ``ValueError`` (a ``UserError`` is one)."""
    first = torch.zeros(ROWS, dtype=torch.int64)
    equal = {name: _reordered(given, first) for name, given in case.make().items()}
    for what, inputs in ((" for one sample", case.make(1)), (" for equal samples", equal)):
        try:
            value = case.value(inputs)
        except ValueError:
            continue
        _assert_finite(value, inputs, what)


def memory_is_linear(case: LossCase) -> None:
    """What is kept for backward grows with the number of samples, not with its square."""
    few, many = (_saved_bytes(case, rows) for rows in (64, 256))
    assert many < 6 * few + 4096, f"64 samples keep {few} bytes for backward, 256 samples {many}"


LOSS_CHECKS: Mapping[str, Callable[[LossCase], None]] = {
    check.__name__: check
    for check in [
        finite_with_gradient,
        gradient_matches_differences,
        order_does_not_matter,
        half_types_compute_in_float32,
        finite_at_any_temperature,
        few_samples_are_right_or_refused,
        memory_is_linear,
    ]
}
"""Every check of a loss, by name."""


def _reordered(given: Any, order: Tensor) -> Any:
    """A tensor with the samples of every axis of length ``ROWS`` taken in ``order``, as a leaf of its own."""
    if not isinstance(given, Tensor):
        return given
    moved = given.detach()
    for axis in [axis for axis, length in enumerate(given.shape) if length == ROWS]:
        moved = moved.index_select(axis, order)
    return moved.clone().requires_grad_(given.requires_grad)


def _cast(given: Any, dtype: torch.dtype) -> Any:
    if not isinstance(given, Tensor) or not given.is_floating_point():
        return given
    return given.detach().to(dtype).requires_grad_(given.requires_grad)


def _gradients(value: Tensor, inputs: Inputs) -> Iterable[tuple[str, Tensor]]:
    moving = {name: given for name, given in inputs.items() if isinstance(given, Tensor) and given.requires_grad}
    assert moving, "no input asks for a gradient"
    found = torch.autograd.grad(value, list(moving.values()), allow_unused=True)
    for name, gradient in zip(moving, found, strict=True):
        assert gradient is not None, f"no gradient reaches the input {name}"
        yield name, gradient


def _assert_finite(value: Tensor, inputs: Inputs, where: str) -> None:
    assert bool(value.isfinite()), f"the loss is {value.item()}{where}"
    for name, gradient in _gradients(value, inputs):
        assert bool(gradient.isfinite().all()), f"the gradient of {name} is not finite{where}"


def _saved_bytes(case: LossCase, rows: int) -> int:
    """Bytes of the distinct storages that the graph holds, without the inputs themselves."""
    inputs = case.make(rows)
    given = {value.untyped_storage().data_ptr() for value in inputs.values() if isinstance(value, Tensor)}
    kept: dict[int, Tensor] = {}

    def keep(saved: Tensor) -> Tensor:
        kept[saved.untyped_storage().data_ptr()] = saved
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        value = case.value(inputs)
    sizes = {place: saved.untyped_storage().nbytes() for place, saved in kept.items() if place not in given}
    del value
    return sum(sizes.values())
