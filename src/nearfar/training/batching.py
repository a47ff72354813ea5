"""The batches of a run: which samples a step sees, their views, and what the method prepares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nearfar import collectives
from nearfar.batch import Batch, joined
from nearfar.data.batches.once import OnceSampler
from nearfar.data.batches.samplers import Sampler, parts_of, place_of
from nearfar.data.batches.wanted import Facts, Shuffled
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.training.plan import Plan
from nearfar.views.draws import PartGenerator
from nearfar.views.made import about
from nearfar.views.made import by_row as made_by_row

MakeViews = Callable[[Any, torch.Generator], list[Any]]
"""(raw samples, generator) to the views of a batch."""


def sampler_of(method: Method, samples: Any, plan: Plan) -> Sampler:
    """The batches that a method wants of its training samples, or in the order that the plan asks
    for.

    Raises:
        UserError: If there is no such column, or the method makes batches of its own kind.
    """
    facts = Facts(len(samples), samples.label, samples.group, partial(getattr, method))
    wanted = method.wanted_batches
    batch_size = plan.recipe.batch_size
    if not plan.order:
        return wanted.sampler(facts, batch_size, seed=plan.seed)
    if not isinstance(wanted, Shuffled):
        raise UserError(
            f"{type(method).__name__} makes batches of its own kind, which cannot come in the "
            f"order of {plan.order}; leave --order out or choose another method."
        )
    column = facts.column(plan.order, "A run in order")
    steps = plan.steps or plan.recipe.epochs * max(1, facts.length // batch_size)
    return OnceSampler(column, batch_size, steps=steps, seed=plan.seed)


def step_batch(
    method: Method, samples: Any, sampler: Sampler, views: MakeViews, plan: Plan, step: int
) -> Batch:
    """This process's part of the batch of one step.

    A function of seed and step alone, so that resuming is exact, and of the sample, so that the
    number of processes changes nothing.
    """
    epoch, position = divmod(step, len(sampler))
    whole = sampler.batch(epoch, position)
    own = place_of(len(whole), plan.accumulate, collectives.rank(), collectives.world())
    # Where a method's hooks look at the whole batch, every process makes all of it.
    place = own if by_row(method) and made_by_row(views) else None
    index = whole if place is None else whole[place.rows]
    generator = PartGenerator((plan.seed * 1_000_003 + step) * 4096, place)

    def taken(column: Tensor) -> Tensor:
        return column[index.to(column.device)].to(plan.device)

    with plan.profile("data"):
        # Methods that make sources of their own are given what lies in the middle of pictures.
        crops = getattr(views, "takes_whole", False) and _passes_on(method)
        raw = samples.whole(index) if crops else samples.take(index)
        number = index.to(plan.device)
        label = None if samples.label is None else taken(samples.label)
        group = {name: taken(column) for name, column in samples.group.items()}
        for name, column in sampler.about(epoch, position).items():
            rows = column if place is None else column[place.rows]
            group[name] = rows.to(plan.device)
    with plan.profile("views"):
        sources = method.view_sources(raw, number, generator)
        made = views(raw if sources is None else sources, generator)
        batch = Batch(list(made), number, label, {**group, **about(made)}, place)
        prepared = joined(
            [_prepared(method, part, generator) for part in parts_of(batch, plan.accumulate)]
        )
        if own is None:
            return prepared
        return replace(prepared if place is own else prepared[own.rows.to(plan.device)], place=own)


def _passes_on(method: Method) -> bool:
    """Whether views are made of the samples themselves."""
    return type(method).view_sources is Method.view_sources


def by_row(method: Method) -> bool:
    """Whether what a method does to a batch before it is embedded can be done to some of its
    samples alone.
    """
    hooks = ("view_sources", "prepare")
    return method.by_row or all(
        getattr(type(method), name) is getattr(Method, name) for name in hooks
    )


def _prepared(method: Method, part: Batch, generator: PartGenerator) -> Batch:
    generator.place = part.place
    return method.prepare(part, generator)
