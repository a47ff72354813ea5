"""The public battery: every check that nearfar's own losses and methods pass, for a loss or a
method of your own.

``check_method(MyMethod)`` and ``check_loss(my_loss, make_inputs)`` raise an ``AssertionError`` that
says which promise is broken and how. The single checks are in ``METHOD_CHECKS`` and
``LOSS_CHECKS``; each takes a ``Case`` (``LossCase``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import unknown_name
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.methods.names import name_of as method_name
from nearfar.testing.losses import LOSS_CHECKS, LossCase
from nearfar.testing.methods import METHOD_CHECKS, Case, refusals
from nearfar.testing.preparations import check_preparation
from nearfar.testing.processes import on_processes
from nearfar.testing.results import check_predictions
from nearfar.testing.toys import toy

__all__ = [
    "LOSS_CHECKS",
    "METHOD_CHECKS",
    "Case",
    "LossCase",
    "check_loss",
    "check_method",
    "check_predictions",
    "check_preparation",
    "on_processes",
    "refusals",
    "toy",
]


def check_method(
    method: type[Method] | str,
    *,
    modality: str | None = None,
    settings: Mapping[str, Any] | None = None,
    skip: Sequence[str] = (),
    without_gradient: Sequence[str] = (),
) -> None:
    """Run every check of ``METHOD_CHECKS`` on a method with a tiny encoder and tiny data; takes
    some seconds.

    Args:
        method: a class in a module that other processes can import, or a registered name.
        modality: of the data; by default the method's first, or "image".
        settings: of the method, where the toy's small ones do not fit.
        skip: names of checks to leave out.
        without_gradient: learning parameters that may stay without gradient, by name.

    Raises:
        AssertionError: names the first check that fails and says what was found.
        UserError: for an unknown method, modality or check.
    """
    kind = registry.named_by_user(method) if isinstance(method, str) else method
    case = Case(kind, modality, settings or {}, tuple(without_gradient))
    _run(METHOD_CHECKS, case, skip, method_name(kind))


def check_loss(
    function: Callable[..., Tensor | dict[str, Tensor]],
    make_inputs: Callable[[int, torch.Generator], dict[str, Any]],
    *,
    skip: Sequence[str] = (),
) -> None:
    """Run every check of ``LOSS_CHECKS`` on a loss.

    Args:
        function: gives a scalar, or a dict of scalars, which are added.
        make_inputs: from a number of samples and a generator to the function's arguments by name,
            in float64; those that should receive gradient have ``requires_grad``. Axes of samples
            have that length, no other axis has 7.
        skip: names of checks to leave out.

    Raises:
        AssertionError: names the first check that fails and says what was found.
        UserError: for an unknown check.
    """
    name = getattr(function, "__name__", repr(function))
    _run(LOSS_CHECKS, LossCase(function, make_inputs), skip, name)


def _run(
    checks: Mapping[str, Callable[[Any], None]], case: Any, skip: Sequence[str], subject: str
) -> None:
    for name in skip:
        if name not in checks:
            raise unknown_name("check", name, checks)
    for name, check in checks.items():
        if name not in skip:
            try:
                check(case)
            except AssertionError as error:
                raise AssertionError(f"{subject} fails {name}: {error}") from error
