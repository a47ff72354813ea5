"""Checks of losses, each of one promise; an ``AssertionError`` says what was found instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError
from torch.testing import assert_close

from nearfar.testing.allocations import Allocations
from nearfar.testing.inputs import ROWS, cast, orthogonal, reordered, sample_axis
from nearfar.testing.loss_case import LossCase, assert_finite, gradients
from nearfar.testing.loss_transforms import (
    checkpointing_changes_nothing,
    functional_gradient_is_the_gradient,
    layout_in_memory_does_not_matter,
    meta_tensors_give_a_shape_or_are_refused,
    vmap_equals_a_loop_or_is_refused,
)

__all__ = ["LOSS_CHECKS", "LossCase"]


def finite_with_gradient(case: LossCase) -> None:
    """A finite scalar whose finite gradient reaches every input that asks for one; inputs stay as
    they are."""
    inputs = case.make()
    value = case.value(inputs)
    assert value.ndim == 0, f"the loss has the shape {tuple(value.shape)}; expected a scalar"
    assert value.dtype == torch.float64, f"float64 inputs give a {value.dtype}"
    assert_finite(value, inputs, "")
    fresh = case.make()
    for name, given in inputs.items():
        assert not isinstance(given, Tensor) or torch.equal(given, fresh[name]), (
            f"the input {name} is changed in place"
        )
    assert torch.equal(case.value(fresh), value), "the same inputs give another value"


def gradient_matches_differences(case: LossCase) -> None:
    """PyTorch's gradcheck in float64, along random directions of each input."""
    _check_differences(case, torch.autograd.gradcheck)


def second_derivative_matches_differences(case: LossCase) -> None:
    """PyTorch's gradgradcheck in float64, along random directions of each input."""
    _check_differences(case, torch.autograd.gradgradcheck)


def order_does_not_matter(case: LossCase) -> None:
    """Samples in another order give the same loss, and their gradients in that order."""
    inputs = case.make()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    moved = {name: reordered(given, order) for name, given in inputs.items()}
    value = case.value(inputs)
    other = case.value(moved)
    assert_close(
        other,
        value,
        rtol=1e-10,
        atol=1e-12,
        msg=lambda text: f"the order of samples matters: {text}",
    )
    pairs = zip(gradients(value, inputs), gradients(other, moved), strict=True)
    for (name, gradient), (_, found) in pairs:
        said = f"the order of samples matters to the gradient of {name}: "
        assert_close(found, reordered(gradient, order), rtol=1e-9, atol=1e-12, msg=said.__add__)


def views_may_be_exchanged(case: LossCase) -> None:
    """Inputs that are declared exchangeable are."""
    if not case.exchanged:
        return
    inputs = case.make()
    moved = dict(inputs)
    for one, other in case.exchanged:
        moved[one], moved[other] = inputs[other], inputs[one]
    said = "exchanging the views matters: "
    assert_close(case.value(moved), case.value(inputs), rtol=1e-10, atol=1e-12, msg=said.__add__)


def half_types_compute_in_float32(case: LossCase) -> None:
    """float32 inputs, alone and under bfloat16 autocast, and bfloat16 inputs give float64's value
    and gradients closely.

    The numbers are rounded to bfloat16 beforehand, so that all types see the same.
    """
    rounded = {name: cast(given, torch.bfloat16) for name, given in case.make().items()}
    exact = {name: cast(given, torch.float64) for name, given in rounded.items()}
    expected = case.value(exact)
    exact_gradients = dict(gradients(expected, exact))
    for dtype, autocast in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, True)):
        kind = f"{str(dtype).removeprefix('torch.')} inputs{' under autocast' if autocast else ''}"
        inputs = {name: cast(given, dtype) for name, given in rounded.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = case.value(inputs)
        assert value.dtype == torch.float32, f"{kind} give a {value.dtype}"
        error = abs(value.item() - expected.item()) / max(1.0, abs(expected.item()))
        assert error <= case.tolerance, (
            f"{kind} lose precision: the value errs by {error:.1e} against float64"
        )
        for name, gradient in gradients(value, inputs):
            wanted = exact_gradients[name]
            scale = wanted.abs().max()
            rounding = 2**-8 * wanted.abs() if gradient.dtype == torch.bfloat16 else 0.0
            excess = ((gradient.double() - wanted).abs() - rounding).max() / scale.clamp(min=1e-30)
            found = f"the gradient of {name} errs by {excess:.1e} of its largest entry"
            assert excess <= 10 * case.tolerance, f"{kind} lose precision: {found}"


def finite_at_any_temperature(case: LossCase) -> None:
    """Finite values and gradients from a temperature of 0.001 to 10, in float32; losses without one
    pass."""
    names = [
        name for name in inspect.signature(case.function).parameters if name.endswith("temperature")
    ]
    for temperature in (1e-3, 1e-2, 0.1, 1.0, 10.0) if names else ():
        inputs = {name: cast(given, torch.float32) for name, given in case.make().items()}
        inputs |= dict.fromkeys(names, temperature)
        assert_finite(case.value(inputs), inputs, f" at temperature {temperature}")


def degenerate_embeddings_stay_finite(case: LossCase) -> None:
    """All samples alike, orthogonal samples, and a sample of zeros give finite values and gradients
    in both types."""
    axes = {
        name: axis
        for name, given in case.make().items()
        if (axis := sample_axis(given)) is not None
    }
    changes: dict[str, Callable[[Tensor, int], Tensor]] = {
        "equal": lambda given, axis: given.index_select(
            axis, torch.zeros(given.shape[axis], dtype=torch.int64)
        ),
        "orthogonal": orthogonal,
        "zero": lambda given, axis: given.index_fill(axis, torch.tensor([0]), 0.0),
    }
    for what, change in changes.items():
        for dtype in (torch.float32, torch.float64):
            inputs = case.make(4)
            for name, axis in axes.items():
                inputs[name] = change(inputs[name].detach(), axis).requires_grad_()
            inputs = {name: cast(given, dtype) for name, given in inputs.items()}
            assert_finite(case.value(inputs), inputs, f" for {what} samples in {dtype}")


def few_samples_are_right_or_refused(case: LossCase) -> None:
    """One sample, two, and equal samples, give finite values and gradients or a ``ValueError`` (a
    ``UserError`` is one)."""
    first = torch.zeros(ROWS, dtype=torch.int64)
    equal = {name: reordered(given, first) for name, given in case.make().items()}
    for what, inputs in (
        (" for one sample", case.make(1)),
        (" for two samples", case.make(2)),
        (" for equal samples", equal),
    ):
        try:
            value = case.value(inputs)
        except ValueError:
            continue
        assert_finite(value, inputs, what)


def nothing_is_held_after_backward(case: LossCase) -> None:
    """A loss that was differentiated, such as one in a list of an epoch's losses, holds no matrix
    of all pairs."""
    inputs = case.make(HELD_ROWS)
    with Allocations() as made:
        value = case.value(inputs)
        value.backward()  # type: ignore[no-untyped-call]
        for given in inputs.values():
            if isinstance(given, Tensor):
                given.grad = None
        held = made.living()
    pairs = HELD_ROWS**2 * value.element_size()
    assert held < pairs / 4, (
        f"{held} bytes are held after backward; a matrix of all pairs takes {pairs}"
    )


HELD_ROWS = 160
"""Samples of ``nothing_is_held_after_backward``: few, since only a small matrix is worth keeping
until backward."""


def memory_is_linear(case: LossCase) -> None:
    """What lives between forward and backward, and the largest tensor of both, grow as the samples,
    not as their square."""
    (few_kept, few_largest), (many_kept, many_largest) = (
        _memory(case, rows) for rows in (160, 640)
    )
    assert many_kept < 6 * few_kept + 4096, (
        f"160 samples keep {few_kept} bytes for backward, 640 samples {many_kept}"
    )
    found = (
        f"the largest tensor takes {few_largest} bytes with 160 samples, {many_largest} with 640"
    )
    assert many_largest < 6 * few_largest + 4096, found


LOSS_CHECKS: Mapping[str, Callable[[LossCase], None]] = {
    check.__name__: check
    for check in [
        finite_with_gradient,
        gradient_matches_differences,
        second_derivative_matches_differences,
        order_does_not_matter,
        views_may_be_exchanged,
        half_types_compute_in_float32,
        finite_at_any_temperature,
        degenerate_embeddings_stay_finite,
        few_samples_are_right_or_refused,
        memory_is_linear,
        nothing_is_held_after_backward,
        checkpointing_changes_nothing,
        functional_gradient_is_the_gradient,
        vmap_equals_a_loop_or_is_refused,
        layout_in_memory_does_not_matter,
        meta_tensors_give_a_shape_or_are_refused,
    ]
}
"""Every check of a loss, by name."""


def _check_differences(case: LossCase, check: Callable[..., bool]) -> None:
    inputs = case.make(4)
    moving = [
        name for name, given in inputs.items() if isinstance(given, Tensor) and given.requires_grad
    ]

    def loss(*values: Tensor) -> Tensor:
        return case.value({**inputs, **dict(zip(moving, values, strict=True))})

    try:
        check(loss, [inputs[name] for name in moving], fast_mode=True)
    except GradcheckError as error:
        raise AssertionError(str(error)) from error


def _memory(case: LossCase, rows: int) -> tuple[int, int]:
    """Bytes that live between forward and backward, inputs aside, and bytes of the largest tensor
    of both."""
    inputs = case.make(rows)
    with Allocations() as made:
        value = case.value(inputs)
        kept = made.living()
        dict(gradients(value, inputs))
    return kept, made.largest
