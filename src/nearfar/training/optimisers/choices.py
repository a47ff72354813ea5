"""What can be set of each optimiser, as ``NAME:key=value``. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from nearfar import named
from nearfar.errors import unknown_name
from nearfar.ranges import above, at_least, unit_interval

Share = Annotated[float, unit_interval(one=False)]


@dataclass(frozen=True, kw_only=True)
class AdamOptions:
    """What Adam and AdamW take.

    Attributes:
        beta1: Share of the running mean of gradients that stays.
        beta2: Share of the running mean of their squares that stays.
        eps: Added to the root of the latter.
    """

    beta1: Share = 0.9
    beta2: Share = 0.95
    eps: Annotated[float, above(0)] = 1e-8


@dataclass(frozen=True, kw_only=True)
class MomentumOptions:
    """What gradient descent with momentum takes.

    Attributes:
        momentum: Share of the last update's direction that stays.
        nesterov: Whether the gradient is taken where the momentum leads.
    """

    momentum: Share = 0.9
    nesterov: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerwiseOptions:
    """What LARS takes.

    Attributes:
        momentum: Share of the last update's direction that stays.
        trust: Step relative to the weights' norm at a learning rate of 1.
    """

    momentum: Share = 0.9
    trust: Annotated[float, at_least(0)] = 0.001


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Of an optimiser with nothing to set."""


OPTIMIZERS: dict[str, type[Any]] = {
    "adamw": AdamOptions,
    "adam": AdamOptions,
    "sgd": MomentumOptions,
    "lars": LayerwiseOptions,
    "larc": LayerwiseOptions,
    "muon": NoOptions,
}
"""Names with their options."""


def optimizer_choice(text: str) -> tuple[str, Any]:
    """The name and the options of an optimiser.

    Args:
        text: Such as "adamw" or "adam:beta1=0.5,beta2=0.999".

    Example:
        >>> optimizer_choice("adam:beta1=0.5")[1].beta1
        0.5

    Raises:
        UserError: For an unknown name or option, or a value out of its range.
    """
    given = named.parse(text, "The optimizer")
    if given.name not in OPTIMIZERS:
        raise unknown_name("optimizer", given.name, OPTIMIZERS)
    kind = OPTIMIZERS[given.name]
    return given.name, kind(**named.made(kind, given, "optimizer"))
