"""The updates of one step: which phases are due, that only a phase's own parameters move in it, and
by which optimiser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nearfar.errors import UserError
from nearfar.methods.method import Method, Phase, Recipe
from nearfar.training.optimisers.optimisers import build_optimizer
from nearfar.training.optimisers.scheduling import apply_schedule


def due(phases: Sequence[Phase], step: int, progress: float) -> Iterator[Phase]:
    """The phases of one step in order, each as often as it says.

    Args:
        phases: of the method.
        step: finished steps, from 0; a phase with ``every`` n comes in steps 0, n, 2n ...
        progress: share of the run that is done, in [0, 1].

    >>> both = [Phase("critic", (), times=2), Phase("policy", (), every=10, since=0.5)]
    >>> [phase.name for phase in due(both, 0, 0.0)]
    ['critic', 'critic']
    >>> [phase.name for phase in due(both, 10, 0.6)]
    ['critic', 'critic', 'policy']
    >>> [phase.name for phase in due(both, 11, 0.6)]
    ['critic', 'critic']
    """
    for phase in phases:
        is_last = progress >= 1.0 and phase.until >= 1.0
        if (
            phase.since <= progress
            and (progress < phase.until or is_last)
            and step % phase.every == 0
        ):
            yield from [phase] * phase.times


@contextmanager
def moving(method: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the block only these parameters take gradients; the others pass gradients on to what
    lies before them.
    """
    own = {id(parameter) for parameter in parameters}
    still = [p for p in method.parameters() if p.requires_grad and id(p) not in own]
    for parameter in still:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in still:
            parameter.requires_grad_(True)


class Optimizers:
    """The optimisers of a method: one for each name under which its phases are updated.

    Args:
        method: Whose phases say what is updated together.
        recipe: Of the run; a phase's own recipe changes it for that phase's optimiser.
        precision: As for ``build_optimizer``.

    Raises:
        UserError: As ``build_optimizer``; or if a parameter that learns is in no phase, or phases
            that share an optimiser differ in their recipes.
    """

    def __init__(self, method: Method, recipe: Recipe, precision: str = "float32") -> None:
        phases = method.phases()
        _check_phases(method, phases)
        self._by_name: dict[str, Optimizer] = {}
        self._recipes: dict[str, Recipe] = {}
        for phase in phases:
            name = phase.updated_by
            if name in self._by_name:
                continue
            members = {
                id(p) for other in phases if other.updated_by == name for p in other.parameters
            }
            own = dataclasses.replace(recipe, **phase.recipe)
            own = dataclasses.replace(own, learning_rate=phase.rate * own.learning_rate)
            self._recipes[name] = own
            self._by_name[name] = build_optimizer(
                method, own, precision, only=members if len(phases) > 1 else None
            )

    def of(self, phase: Phase) -> Optimizer:
        """The optimiser that updates a phase."""
        return self._by_name[phase.updated_by]

    def each(self) -> dict[str, Optimizer]:
        """All of them by name, in the order of the phases."""
        return dict(self._by_name)

    def schedule(self, step: int, steps: int) -> None:
        """Set every learning rate and weight decay for one step, by
        ``schedules.apply_schedule``.
        """
        for name, optimizer in self._by_name.items():
            apply_schedule(optimizer, self._recipes[name], step, steps)

    @property
    def learning_rate(self) -> float:
        """Of the first optimiser's first group, now."""
        first = next(iter(self._by_name.values()))
        return float(first.param_groups[0]["lr"])

    def state_dict(self) -> dict[str, Any]:
        """The state of the only optimiser, or by name of several."""
        states = {name: optimizer.state_dict() for name, optimizer in self._by_name.items()}
        return next(iter(states.values())) if len(states) == 1 else states

    def load_state_dict(
        self, state: Mapping[str, Any], load: Callable[[Optimizer, Any], None]
    ) -> None:
        """Bring back what ``state_dict`` gave; ``load`` brings back one optimiser's state."""
        states = {next(iter(self._by_name)): state} if len(self._by_name) == 1 else state
        for name, optimizer in self._by_name.items():
            load(optimizer, states[name])


def _check_phases(method: Method, phases: Sequence[Phase]) -> None:
    """Every parameter that learns is in a phase, names are unique, and phases that share an
    optimiser agree on its recipe.
    """
    kind = type(method).__name__
    names = [phase.name for phase in phases]
    if not phases or len(set(names)) < len(names):
        raise UserError(
            f"The phases of {kind} are named {', '.join(names) or 'nothing'}; expected one or more "
            "different names."
        )
    covered = {id(parameter) for phase in phases for parameter in phase.parameters}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad and id(parameter) not in covered:
            raise UserError(
                f"The parameter {name} learns but is in none of the phases of {kind}; add it to "
                "one."
            )
    recipes: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for phase in phases:
        own = phase.rate, phase.recipe
        if recipes.setdefault(phase.updated_by, own) != own:
            raise UserError(
                f"Phases of {kind} share the optimiser {phase.updated_by} but differ in their "
                "recipes; give them one recipe."
            )
