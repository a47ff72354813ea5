"""What the losses share: full precision, unit rows, reductions, and the checks of their inputs."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = [
    "expect_no_nan",
    "expect_queue",
    "expect_rows",
    "expect_shapes",
    "expect_temperature",
    "expect_values",
    "full_precision",
    "own_range",
    "reduce",
    "similarity_bound",
    "unit",
    "unit_and_length",
    "unit_gradient",
    "values_can_be_read",
    "without_autocast",
]

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a loss: tensors of half types reach it as float32, and autocast is off while it
    computes."""

    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def exact(*args: P.args, **kwargs: P.kwargs) -> R:
        with without_autocast(_device_type((*args, *kwargs.values()))):
            given = [_promoted(value) for value in args]
            named = {name: _promoted(value) for name, value in kwargs.items()}
            dtype = _expect_floats({**dict(zip(names, given, strict=False)), **named})
            if dtype is not None:
                named = {name: _scalar_in(dtype, value) for name, value in named.items()}
            return function(*given, **named)

    return exact


EMBEDDINGS = frozenset(
    {
        *("z", "z1", "z2", "p1", "p2", "q1", "q2", "k1", "k2", "nn1", "nn2", "target1", "target2"),
        *(
            "query",
            "key",
            "first",
            "second",
            "features",
            "views",
            "prediction",
            "prototype",
            "gate",
        ),
        *("similarity", "logits", "scores", "student", "teacher", "single_logits", "joint_logits"),
        *(
            "common",
            "salient",
            "latent",
            "latents",
            "mixed",
            "other",
            "trained",
            "frozen",
            "margins",
        ),
    }
)
"""Names of arguments that hold floating-point numbers, all of one type in a call."""


def _expect_floats(given: dict[str, Any]) -> torch.dtype | None:
    """The one floating-point type of all embeddings, None without any; ValueError for integers and
    for two types."""
    found: dict[str, torch.dtype] = {}
    for name, value in given.items():
        if name in EMBEDDINGS and isinstance(value, Tensor):
            if not value.is_floating_point():
                raise ValueError(
                    f"{name} must hold floating-point numbers; found {_word(value.dtype)}: convert "
                    "it with .float()."
                )
            found[name] = value.dtype
    if len(set(found.values())) > 1:
        words = ", ".join(f"{name} {_word(dtype)}" for name, dtype in found.items())
        raise ValueError(
            f"All embeddings must be of one number type; found {words}: convert them to one."
        )
    return next(iter(found.values()), None)


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _scalar_in(dtype: torch.dtype, value: Any) -> Any:
    """A scalar tensor, such as a learned temperature, in the type of the embeddings; anything else
    as it is."""
    scalar = isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point()
    return value.to(dtype) if scalar else value


def without_autocast(device: str) -> contextlib.AbstractContextManager[object]:
    """A context in which autocast is off, for tensors on a type of device, such as "cpu"; "meta"
    has no autocast."""
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else contextlib.nullcontext()


def _device_type(values: tuple[Any, ...]) -> str:
    """Of the first tensor among them, also in a tuple."""
    for value in values:
        if isinstance(value, Tensor):
            return value.device.type
        if isinstance(value, tuple) and any(isinstance(item, Tensor) for item in value):
            return _device_type(value)
    return "cpu"


def _promoted(value: Any) -> Any:
    """A half-precision tensor as float32, also in a tuple; anything else as it is."""
    if isinstance(value, tuple):
        items = [_promoted(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return (
        value.float()
        if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        else value
    )


_LEAST = 1e-12


def unit(x: Tensor) -> Tensor:
    """``x / max(||x||, 1e-12)`` along the last axis; a zero vector stays zero and has a finite
    gradient."""
    value: Tensor = _Unit.apply(x)[0]
    return value


def unit_and_length(x: Tensor) -> tuple[Tensor, Tensor]:
    """``unit(x)`` and what x was divided by, (..., 1), for a function that makes its gradient by
    hand, with ``unit_gradient``."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(_LEAST)
    return x / length, length


def unit_gradient(upstream: Tensor, rows: Tensor, length: Tensor) -> Tensor:
    """The gradient of x, (..., D), from that of ``rows``, where (rows, length) =
    unit_and_length(x)."""
    along = (rows * upstream).sum(dim=-1, keepdim=True) * (length > _LEAST)
    return torch.addcmul(upstream, rows, along, value=-1).div_(length)


class _Unit(torch.autograd.Function):
    """Rows made unit, and their lengths to be saved. The gradient that autograd would put together
    takes three times as long."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return unit_and_length(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, unused: Tensor) -> Tensor:
        x, *made = ctx.saved_tensors
        # A second derivative needs them as functions of x.
        return unit_gradient(upstream, *(unit_and_length(x) if torch.is_grad_enabled() else made))


def reduce(values: Tensor, reduction: str, *, of: int | None = None) -> Tensor:
    """The mean of ``values`` ("mean") or the values themselves ("none").

    Args:
        values: of the wanted rows.
        reduction: "mean" or "none".
        of: number of rows of the whole batch; the mean is then the wanted rows' share of the
            whole's mean.
    """
    if reduction not in ("mean", "none"):
        raise ValueError(f"Unknown reduction {reduction!r}: valid are 'mean' and 'none'.")
    if reduction == "none":
        return values
    return values.mean() if of is None or of == len(values) else values.sum() / of


def own_range(rows: slice | None, samples: int) -> slice:
    """The wanted rows of a batch as a range with both ends; all of them for None."""
    if rows is None:
        return slice(0, samples)
    start, stop, step = rows.indices(samples)
    if step != 1 or start >= stop:
        raise ValueError(
            f"rows must be a range of the {samples} samples with at least one of them; found "
            f"{rows}."
        )
    return slice(start, stop)


def similarity_bound(temperature: float | Tensor, *factors: Tensor) -> float:
    """The largest possible |x . y / temperature|, or infinity where it is not known without waiting
    for a device.

    Args:
        temperature: above 0.
        factors: the matrices whose rows are multiplied; none for unit rows.
    """
    tensors = [value.detach() for value in (temperature, *factors) if isinstance(value, Tensor)]
    if not tensors:
        return 1 / float(temperature)
    if torch.compiler.is_compiling() or any(value.device.type != "cpu" for value in tensors):
        return math.inf
    try:
        scale = float(temperature.detach() if isinstance(temperature, Tensor) else temperature)
        return math.prod(float(factor.detach().norm(dim=1).max()) for factor in factors) / scale
    except RuntimeError:  # under torch.vmap a tensor stands for several, and has no value
        return math.inf


def expect_rows(*, least: int = 1, **tensors: Tensor) -> None:
    """Raise ValueError unless all tensors are matrices of one shape (N, D) with N at least
    ``least``."""
    names = ", ".join(tensors)
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise ValueError(
            f"{names} must be matrices of one shape (N, D); found {', '.join(map(str, shapes))}."
        )
    if shapes[0][0] < least:
        raise ValueError(
            f"{names} need at least {least} rows; found {shapes[0][0]}: take a larger batch."
        )


def expect_values(loss: str, **tensors: Tensor) -> None:
    """Raise ValueError where a loss must look at values that a tensor does not have: on the meta
    device and under vmap."""
    for name, tensor in tensors.items():
        if tensor.device.type == "meta":
            raise ValueError(
                f"{loss} looks at the values of {name}, and tensors on the meta device have none: "
                "take another device."
            )
        if not torch.compiler.is_compiling() and _stands_for_several(tensor):
            raise ValueError(
                f"{loss} looks at the values of {name}, so torch.vmap cannot map over it: take one "
                "batch after another."
            )


def values_can_be_read(tensor: Tensor) -> bool:
    """Whether a tensor's values are there to be looked at without waiting for a device: on a CPU,
    outside of compile and vmap."""
    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not _stands_for_several(tensor)
    )


def _stands_for_several(tensor: Tensor) -> bool:
    """Whether ``torch.vmap`` maps over the tensor, within other transforms or not."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def expect_shapes(least: int = 1, **tensors: tuple[Tensor, str]) -> None:
    """Raise ValueError unless tensors have the axes that are named, such as ``z=(z, "N D"),
    label=(label, "N")``.

    An axis has one length wherever it is named. No axis is empty, and the first axis of the first
    tensor has at least ``least``.
    """
    lengths: dict[str, int] = {}
    fits = True
    for tensor, axes in tensors.values():
        names = axes.split()
        fits = fits and len(names) == tensor.ndim and 0 not in tensor.shape
        fits = fits and all(
            lengths.setdefault(name, length) == length
            for name, length in zip(names, tensor.shape, strict=True)
        )
    if not fits:
        *others, last = [
            f"{name} ({', '.join(axes.split())})" for name, (_, axes) in tensors.items()
        ]
        expected = f"{', '.join(others)} and {last}" if others else last
        found = ", ".join(str(tuple(tensor.shape)) for tensor, _ in tensors.values())
        empty = (
            ", none of them empty"
            if any(0 in tensor.shape for tensor, _ in tensors.values())
            else ""
        )
        raise ValueError(f"Expected {expected}{empty}; found {found}.")
    name, (tensor, axes) = next(iter(tensors.items()))
    if len(tensor) < least:
        raise ValueError(
            f"{name} needs at least {least} along {axes.split()[0]}; found {len(tensor)}: take a "
            "larger batch."
        )


def expect_queue(queue: Tensor, width: int) -> None:
    """Raise ValueError unless the queue (..., K, D) has keys, of the queries' width, in
    floating-point numbers."""
    if (
        queue.ndim < 2
        or queue.shape[-1] != width
        or queue.shape[-2] == 0
        or not queue.is_floating_point()
    ):
        found = f"{tuple(queue.shape)} in {_word(queue.dtype)}"
        raise ValueError(
            f"The queue must hold at least one key of {width} floating-point numbers; found "
            f"{found}."
        )


def expect_no_nan(loss: str, **tensors: Tensor | None) -> None:
    """Raise UserError where one of these has NaN; on CPUs only, since a look would stall a GPU."""
    for name, tensor in tensors.items():
        if tensor is None or not tensor.is_floating_point() or not values_can_be_read(tensor):
            continue
        count = int(tensor.isnan().sum())
        if count:
            found = f"{count} of its {tensor.numel()} numbers are NaN"
            raise UserError(
                f"{loss} cannot compare NaN in {name}; {found}: look for the step that made them."
            )


def expect_temperature(
    temperature: float | Tensor, name: str = "temperature", *, zero: bool = False
) -> None:
    """Raise ValueError unless the temperature is a number above 0, or from 0 on with ``zero``, or a
    scalar tensor.

    The value of a tensor is not looked at, since that would stall a GPU.
    """
    least = "at least 0" if zero else "above 0"
    if isinstance(temperature, Tensor):
        if temperature.ndim or not temperature.is_floating_point():
            found = f"the shape {tuple(temperature.shape)} in {_word(temperature.dtype)}"
            raise ValueError(
                f"The {name} must be a number or a scalar tensor; found {found}: take "
                "temperature.squeeze() or float()."
            )
        return
    if not isinstance(temperature, numbers.Real) or math.isinf(temperature):
        raise ValueError(f"The {name} must be a finite number {least}; found {temperature!r}.")
    if not temperature >= 0 or (temperature == 0 and not zero):
        raise ValueError(f"The {name} must be {least}; found {temperature}.")
