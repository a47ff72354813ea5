"""The loss of each method in its paper's plain formula, from the method's own modules.

A function takes a method and its batch and returns the loss's terms by name. It is slow and literal
on purpose: it is what the method's file must equal. It uses no function of ``nearfar.losses``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nearfar.batch import Batch

from . import (
    depth,
    distillation,
    graphs,
    instance,
    labelled,
    momentum,
    paired,
    redundancy,
    restoration,
)

Plain = Callable[[Any, Batch], dict[str, Tensor]]

FORMS: Mapping[str, Plain] = {
    name.replace("_", "-"): function
    for module in (
        instance,
        momentum,
        distillation,
        redundancy,
        paired,
        labelled,
        graphs,
        restoration,
        depth,
    )
    for name, function in vars(module).items()
    if getattr(function, "is_plain_form", False)
}
"""Method name to its plain form."""
