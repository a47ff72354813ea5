"""The checks that the losses of images share: number types, shapes, settings and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import expect_shapes
from nearfar.ranges import checked

__all__ = ["expect_choice", "expect_number", "expect_pictures", "per_image"]


def expect_pictures(**tensors: tuple[Tensor, str]) -> None:
    """Refuse tensors that are not of one floating-point type or not of the shapes named.

    Args:
        tensors: Name to tensor and its axes, such as ``made=(made, "N C H W")``. An axis has one
            length wherever it is named; an axis named by a number has that length.

    Raises:
        ValueError: If a tensor does not fit; the sentence names what was found and expected.

    >>> import torch
    >>> from nearfar.losses.restoration.inputs import expect_pictures
    >>> expect_pictures(made=(torch.zeros(2, 3), "N D"), truth=(torch.zeros(2, 4), "N D"))
    Traceback (most recent call last):
    ...
    ValueError: Expected made (N, D) and truth (N, D); found (2, 3), (2, 4).
    """
    types = {}
    for name, (tensor, _) in tensors.items():
        if not isinstance(tensor, Tensor):
            raise UserError(f"{name} is a {type(tensor).__name__}; expected a tensor.")
        if not tensor.is_floating_point():
            word = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{name} must hold floating-point numbers; found {word}: convert it with .float()."
            )
        types[name] = str(tensor.dtype).removeprefix("torch.")
    if len(set(types.values())) > 1:
        words = ", ".join(f"{name} {word}" for name, word in types.items())
        raise UserError(f"All tensors must be of one number type; found {words}.")
    wrong = False
    for tensor, axes in tensors.values():
        sides = zip(axes.split(), tensor.shape, strict=False)
        wrong |= any(axis.isdigit() and int(axis) != side for axis, side in sides)
    if wrong:
        expected = ", ".join(f"{name} ({', '.join(a.split())})" for name, (_, a) in tensors.items())
        found = ", ".join(str(tuple(tensor.shape)) for tensor, _ in tensors.values())
        raise UserError(f"Expected {expected}; found {found}.")
    expect_shapes(1, **tensors)


def expect_number(hint: Any, **numbers: Any) -> None:
    """Refuse a number outside the range of a type such as ``Annotated[float, above(0)]``.

    Raises:
        UserError: If a number does not fit; names it.
    """
    for name, value in numbers.items():
        checked(hint, name, value)


def expect_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        UserError: If it is none; lists the valid words.
    """
    if value not in choices:
        valid = ", ".join(repr(choice) for choice in choices)
        raise UserError(f"{name} is {value!r}; valid are {valid}.")


def per_image(values: Tensor, reduction: str) -> Tensor:
    """The mean of each image's values, or the mean of these means.

    Args:
        values: (N, ...) at least one value for each image.
        reduction: "mean" for a scalar, or "none" for (N,).
    """
    expect_choice("reduction", reduction, ("mean", "none"))
    means = values.flatten(1).mean(dim=1) if values.ndim > 1 else values
    return torch.mean(means) if reduction == "mean" else means
