"""Checks of what PyTorch does around a loss: checkpointing, functional gradients, vmap, strides and
the meta device."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from nearfar.testing.inputs import ROWS, cast, interleaved, on_device
from nearfar.testing.loss_case import Inputs, LossCase, gradients

__all__ = [
    "checkpointing_changes_nothing",
    "functional_gradient_is_the_gradient",
    "layout_in_memory_does_not_matter",
    "meta_tensors_give_a_shape_or_are_refused",
    "vmap_equals_a_loop_or_is_refused",
]

R = TypeVar("R")

MANY = 600
"""Samples of a large batch: a loss that works in blocks takes several of them."""

BATCHES = 3
"""Batches that are mapped over."""


def checkpointing_changes_nothing(case: LossCase) -> None:
    """Inside activation checkpointing, in both of its forms, value and gradients are those without
    it."""
    for reentrant in (False, True):
        inputs = case.make()
        expected = dict(gradients(case.value(inputs), inputs))
        names = _moving(inputs)
        leaves = [inputs[name] for name in names]

        def loss(*values: Tensor, inputs: Inputs = inputs, names: list[str] = names) -> Tensor:
            return case.value({**inputs, **dict(zip(names, values, strict=True))})

        said = f"checkpointing with use_reentrant={reentrant} changes the "
        with _what_fails(f"checkpointing with use_reentrant={reentrant}"):
            value = checkpoint(loss, *leaves, use_reentrant=reentrant)
            value.backward()  # type: ignore[no-untyped-call]
        assert_close(
            value, case.value(inputs), rtol=1e-10, atol=1e-12, msg=(said + "value: ").__add__
        )
        for name, leaf in zip(names, leaves, strict=True):
            message = f"{said}gradient of {name}: ".__add__
            assert_close(leaf.grad, expected[name], rtol=1e-9, atol=1e-12, msg=message)


def functional_gradient_is_the_gradient(case: LossCase) -> None:
    """``torch.func.grad`` gives the gradients of ``backward``, of a small batch and of a large
    one."""
    for rows in (ROWS, MANY):
        inputs = case.make(rows)
        expected = dict(gradients(case.value(inputs), inputs))
        names = _moving(inputs)
        leaves = [inputs[name].detach() for name in names]
        with _what_fails(f"torch.func.grad of {rows} samples"):
            found = torch.func.grad(_of(case, inputs, names), argnums=tuple(range(len(names))))(
                *leaves
            )
        for name, gradient in zip(names, found, strict=True):
            said = f"torch.func.grad of {rows} samples errs in {name}: ".__add__
            assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=said)


def vmap_equals_a_loop_or_is_refused(case: LossCase) -> None:
    """``torch.func.vmap`` over batches gives each batch's value and gradient, or a ``ValueError``
    that says vmap.

    All tensors are mapped over, and the first one alone while the batches share the others.
    """
    several = [
        case.make_inputs(ROWS, torch.Generator().manual_seed(seed)) for seed in range(BATCHES)
    ]
    moving = _moving(several[0])
    names = moving + [
        name
        for name, given in several[0].items()
        if isinstance(given, Tensor) and name not in moving
    ]
    each = torch.func.grad_and_value(
        _of(case, several[0], names), argnums=tuple(range(len(moving)))
    )
    for mapped in (names, names[:1]):
        stacked = {
            name: torch.stack([inputs[name].detach() for inputs in several]) for name in mapped
        }
        values = [stacked[name] if name in stacked else several[0][name].detach() for name in names]
        axes = tuple(0 if name in stacked else None for name in names)
        over_batches = functools.partial(torch.func.vmap(each, in_dims=axes), *values)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            with _what_fails("vmap"):
                results = _unless_refused(over_batches, "vmap")
        if results is None:
            return
        slopes, found = results
        for number in range(BATCHES):
            alone = [
                value[number] if axis == 0 else value
                for value, axis in zip(values, axes, strict=True)
            ]
            gradient, value = each(*alone)
            said = f"vmap over {', '.join(mapped)} gives batch {number} another "
            assert_close(
                found[number], value, rtol=1e-9, atol=1e-12, msg=(said + "value: ").__add__
            )
            for name, slope, wanted in zip(moving, slopes, gradient, strict=True):
                message = f"{said}gradient of {name}: ".__add__
                assert_close(slope[number], wanted, rtol=1e-9, atol=1e-12, msg=message)


def layout_in_memory_does_not_matter(case: LossCase) -> None:
    """Inputs whose entries do not lie one after another give the same value and gradients, also as
    the outcome of a view."""
    inputs = case.make()
    expected = case.value(inputs)
    wanted = dict(gradients(expected, inputs))
    moved = {name: interleaved(given) for name, given in inputs.items()}
    value = case.value(moved)
    said = "inputs that are not contiguous change the "
    assert_close(value, expected, rtol=1e-10, atol=1e-12, msg=(said + "value: ").__add__)
    for name, gradient in gradients(value, moved):
        assert_close(
            gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=f"{said}gradient of {name}: ".__add__
        )


def meta_tensors_give_a_shape_or_are_refused(case: LossCase) -> None:
    """On the meta device the loss is a scalar with gradients of the right shapes, or a
    ``ValueError`` that says meta."""
    inputs = {
        name: on_device(cast(given, torch.float32), "meta") for name, given in case.make().items()
    }
    with _what_fails("the meta device"):
        value = _unless_refused(lambda: case.value(inputs), "meta")
    if value is None:
        return
    assert value.device.type == "meta", f"meta tensors give a loss on {value.device}"
    assert value.shape == (), f"meta tensors give the shape {tuple(value.shape)}; expected a scalar"
    assert value.dtype == torch.float32, f"meta tensors in float32 give a {value.dtype}"
    for name, gradient in gradients(value, inputs):
        assert gradient.shape == inputs[name].shape, (
            f"the gradient of {name} has the shape {tuple(gradient.shape)}"
        )


def _moving(inputs: Inputs) -> list[str]:
    """Names of the inputs that ask for a gradient."""
    return [
        name for name, given in inputs.items() if isinstance(given, Tensor) and given.requires_grad
    ]


@contextmanager
def _what_fails(what: str) -> Iterator[None]:
    """Turn PyTorch's own errors into a failed check that says what was tried."""
    try:
        yield
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise AssertionError(f"{what} fails: {str(error).splitlines()[0]}") from error


def _unless_refused(function: Callable[[], R], what: str) -> R | None:
    """What the function gives; None where it raises a ``ValueError`` whose one line names what it
    refuses."""
    refusal = None
    try:
        return function()
    except ValueError as error:
        refusal = str(error)
    assert what in refusal, f"{what} is refused without being named: {refusal}"
    assert "\n" not in refusal, f"the refusal of {what} takes more than a sentence: {refusal}"
    return None


def _of(case: LossCase, inputs: Inputs, names: list[str]) -> Any:
    """The loss as a function of the inputs of these names, the others fixed."""

    def loss(*values: Tensor) -> Tensor:
        return case.value({**inputs, **dict(zip(names, values, strict=True))})

    return loss
