"""Every setting acts: changing one changes views, batches, shapes, groups, loss terms or the
weights after some steps.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.ranges import checked
from nearfar.testing.steps import train
from nearfar.testing.toys import toy, toy_samples
from nearfar.training.training_set import LoadedTrainingSet

_PROGRESS = (0.0, 0.25, 0.5, 0.75)


def idle_settings(
    method: type[Method],
    *,
    contexts: Mapping[str, Mapping[str, Any]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> list[str]:
    """Names of the settings of which no other value changes anything about a method on toy data.

    Args:
        method: The class.
        contexts: Settings under which one acts, by its name, where it acts only together with
            others.
        values: The value to try, by the setting's name; by default several are made from its
            declared range.

    Returns:
        The settings that may be changed without any effect; an empty list is what a method should
        give.
    """
    hints = typing.get_type_hints(method.Settings, include_extras=True)
    traces: dict[tuple[tuple[str, Any], ...], Trace] = {}
    idle = []
    for name, hint in hints.items():
        context = dict((contexts or {}).get(name, {}))
        key = tuple(sorted(context.items()))
        if key not in traces:
            traces[key] = Trace(method, context)
        start = getattr(toy(method, settings=context)[0].settings, name)
        tried = [values[name]] if values and name in values else list(other_values(hint, start))
        if not any(_differs(method, {**context, name: value}, traces[key]) for value in tried):
            idle.append(name)
    return idle


def other_values(hint: Any, value: Any) -> Iterator[Any]:
    """Values that a declared type allows beside ``value``, the likeliest to act first."""
    base = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    arguments = typing.get_args(base)
    if base is bool:
        yield not value
    elif typing.get_origin(base) is Literal:
        yield from (one for one in arguments if one != value)
    elif typing.get_origin(base) is tuple and Ellipsis in arguments:
        yield from ((one,) for one in typing.get_args(arguments[0]) if (one,) != value)
    elif typing.get_origin(base) is tuple:
        yield tuple(0.9 * one for one in value)
    elif type(None) in arguments:
        yield from (None,) if value is not None else (1, 0.5)
    else:
        yield from (one for one in _numbers(base, value) if one != value and _is_allowed(hint, one))


def _numbers(base: type, value: float) -> list[float]:
    if base is int:
        return [2 * int(value), int(value) + 1, int(value) // 2, int(value) - 1]
    return [0.6, 0.3] if 0 <= value <= 1 else [1.5 * value, 0.5 * value]


def _is_allowed(hint: Any, value: Any) -> bool:
    try:
        checked(hint, "Setting", value)
    except UserError:
        return False
    return True


class Trace:
    """All that a setting can change of a method on toy data.

    Attributes:
        declared: What the method asks for, its shapes and groups, and its batch.
    """

    def __init__(self, method: type[Method], settings: Mapping[str, Any]) -> None:
        made, batch = toy(method, settings=settings)
        groups = [
            {k: v if k != "params" else [tuple(p.shape) for p in v] for k, v in g.items()}
            for g in made.parameter_groups()
        ]
        phases = [{k: v for k, v in vars(p).items() if k != "parameters"} for p in made.phases()]
        self.declared: dict[str, Any] = {
            "views": repr(made.wanted_views),
            "batches": repr(made.wanted_batches),
            "shapes": {name: tuple(value.shape) for name, value in made.state_dict().items()},
            "groups": groups,
            "phases": phases,
            "batch": _tensors_of(batch),
        }
        self._kind = method
        self._made = made
        self._batch = batch

    @functools.cached_property
    def learned(self) -> dict[str, Any]:
        """Terms and weights of four steps, and the features then; trained when first asked for."""
        made, batch = self._made, self._batch
        first = train(made, batch, _PROGRESS[:2])
        made.progress = _PROGRESS[2]
        samples = toy_samples(made.spec, self._kind)
        made.float().before_epoch(10, LoadedTrainingSet(samples, made, seed=0))
        last = train(made.double().train(), batch, _PROGRESS[2:])
        with torch.no_grad():
            features = made.eval().encode(batch.views[0])
        terms = [*first["terms"], *last["terms"]]
        return {"terms": terms, "state": last["state"], "features": features}


def _differs(method: type[Method], settings: Mapping[str, Any], expected: Trace) -> bool:
    """Whether anything differs; nothing is trained where that is seen without."""
    try:
        found = Trace(method, settings)
        return not (
            _same(found.declared, expected.declared) and _same(found.learned, expected.learned)
        )
    except UserError:
        return False  # settings that do not go together say nothing


def _tensors_of(batch: Batch) -> list[Tensor]:
    return [
        value
        for value in (*batch.views, batch.index, *batch.extra.values())
        if isinstance(value, Tensor)
    ]


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
