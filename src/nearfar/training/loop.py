"""The training loop, in reading order: one batch, one update, one run.

``fit`` knows no method by name. It runs ``forward`` on this process's own samples, joins the
outputs of all processes, asks for the loss of the joined batch, and steps the optimiser; see
``nearfar.methods.method`` for the contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nearfar import collectives, modalities
from nearfar.batch import Batch, joined
from nearfar.data.batches.once import OnceSampler, RowsSampler
from nearfar.data.batches.samplers import Sampler, parts_of, place_of
from nearfar.data.batches.wanted import Facts, Shuffled
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Phase
from nearfar.training.branch import GoingOn, branched
from nearfar.training.care.ahead import Batches, cores_allow
from nearfar.training.care.bound import bound_seconds
from nearfar.training.care.finite import FiniteSteps, not_finite
from nearfar.training.care.interruption import Interruption
from nearfar.training.care.memory import freed_memory_kept
from nearfar.training.care.profile import BETWEEN
from nearfar.training.care.resuming import restore, save
from nearfar.training.phases import Optimizers, due, moving
from nearfar.training.plan import Plan
from nearfar.training.processes import sharding
from nearfar.training.processes.batch_norm import synchronise
from nearfar.training.processes.dropout import synchronise_dropout
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.training.update import gradients
from nearfar.views.draws import PartGenerator
from nearfar.views.made import about, draws_globally
from nearfar.views.made import by_row as made_by_row

MakeViews = Callable[[Any, torch.Generator], list[Any]]


@dataclass
class Progress:
    """Where the run stands. ``terms`` and ``learning_rate`` are those of the last logged step."""

    step: int
    steps: int
    steps_per_epoch: int
    batch_size: int
    terms: dict[str, float]
    learning_rate: float = 0.0
    samples_per_second: float = 0.0

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.step // self.steps_per_epoch


class Callback(Protocol):
    """Something that watches a run on the first process: a log, a display, an evaluation."""

    def on_start(self, progress: Progress) -> None:
        """Called once, before the first step of this process (not at step 0 when the run is
        resumed).
        """

    def on_log(self, progress: Progress) -> None:
        """Called every ``log_every`` steps, with fresh terms."""

    def on_epoch(self, progress: Progress, method: Method) -> None:
        """Called after each epoch."""

    def on_end(self, progress: Progress) -> None:
        """Called once, however the run ends."""


def fit(
    method: Method,
    source: Any,
    views: MakeViews,
    plan: Plan,
    folder: Path | None = None,
    callbacks: Sequence[Callback] = (),
    going_on: GoingOn | None = None,
) -> Progress:
    """Train ``method`` on ``source.trained``, continuing from the newest checkpoint in ``folder``;
    without one, nothing is written.

    Returns where the run stands: ``progress.step < progress.steps`` means that it was interrupted
    (Ctrl-C, SIGTERM or SIGHUP) after its last step was finished and saved.

    ``going_on`` makes the run a branch of another one: it starts with its optimisers' state, sees
    one task's samples only, and keeps the method's progress.

    Where the plan shards, ``method`` holds its parameters while ``before_epoch`` or a callback
    looks at it and at the end; in between, and after an error, they are empty.

    Raises:
        UserError: if the batch is larger than the data, the loss is no longer finite, or a
            checkpoint cannot be written.
    """
    _refuse(method, plan)
    method = _placed(method, plan)
    samples = source.trained.to(plan.device)
    trained = _to_train(method, plan)
    phases = trained.phases()
    optimizers = Optimizers(trained, plan.recipe, plan.precision)
    sampler = (
        sampler_of(trained, samples, plan)
        if going_on is None
        else RowsSampler(going_on.rows, plan.recipe.batch_size, seed=plan.seed)
    )
    progress = Progress(
        0, plan.steps or plan.recipe.epochs * len(sampler), len(sampler), plan.recipe.batch_size, {}
    )
    progress.step = restore(
        folder, trained, optimizers, plan.seed, config=plan.config, tell=plan.tell
    )
    if going_on is not None:
        optimizers.load_state_dict(going_on.optimised, sharding.load_optimizer)
    # Without data parallel's hooks, which a parameter that stands still for a phase would confuse,
    # ``gradients`` sees to the average.
    replicated = not (plan.gradient_cache or plan.shard) and len(phases) == 1
    model = collectives.data_parallel(trained) if replicated else trained
    callbacks = callbacks if collectives.is_first() else ()
    make = partial(_batch, trained, samples, sampler, views, plan)
    may_be_ahead = (
        "ahead" not in trained.cannot
        and not draws_globally(views)
        and not plan.profile.times
        and not sharding.gathered_for_batches(trained)
    )
    ahead = may_be_ahead and cores_allow(plan.device)
    batches = Batches(make, len(sampler), progress.steps, ahead=ahead)
    alone = collectives.world() == 1

    def deliver_due() -> bool:
        """Deliver what is due at the end of a task; False where that was interrupted."""
        if plan.branch is None or not isinstance(sampler, OnceSampler):
            return True
        if progress.step not in sampler.ends:
            return True
        task = sampler.ends.index(progress.step)

        def fall(copied: Method, falling: Plan, start: GoingOn) -> bool:
            found = fit(copied, source, views, falling, going_on=start)
            return found.step == found.steps

        return branched(
            plan.branch,
            trained,
            optimizers,
            plan,
            task,
            sampler.members[task],
            step=progress.step,
            steps=progress.steps,
            fit=fall,
        )

    def explained(what: str, step: int) -> UserError:
        return not_finite(what, batches.make(step - 1), samples.ids)

    finite = FiniteSteps(trained, explained, at_once=alone and plan.device.type == "cpu")
    with (
        Interruption() as interruption,
        freed_memory_kept(plan.device),
        _ending(callbacks, progress),
        batches,
    ):
        for callback in callbacks:
            callback.on_start(progress)
        saved = time.monotonic()
        logged = time.monotonic()
        since = 0
        is_complete = True
        while progress.step < progress.steps:
            is_complete = deliver_due()
            if not is_complete:
                save(folder, trained, optimizers, progress.step, config=plan.config)
                break
            trained.progress = _share(progress, going_on)
            if progress.step % len(sampler) == 0 and going_on is None:
                with plan.profile(BETWEEN), sharding.rewritten(method, trained):
                    method.before_epoch(
                        progress.epoch, LoadedTrainingSet(samples, method, plan.seed)
                    )
            optimizers.schedule(progress.step, progress.steps)
            batch = batches(progress.step)
            after = _share(progress, going_on, 1)
            terms = _update(
                model, trained, phases, optimizers, batch, plan, progress, finite, after
            )
            progress.step += 1
            since += plan.recipe.batch_size
            epoch_ended = progress.step % len(sampler) == 0
            last = progress.step == progress.steps
            logs = progress.step % plan.log_every == 0 or epoch_ended or last
            stopping = interruption.requested
            due = time.monotonic() - saved >= 60 * plan.checkpoint_minutes
            if not alone:  # processes agree where they talk anyway
                stopping, due = collectives.any_of(stopping, due) if logs else (False, False)
            if logs or stopping or due:
                finite.check(terms, progress.step)
            if logs:
                with plan.profile("logging"):
                    progress.terms = {name: float(value) for name, value in terms.items()}
                    progress.learning_rate = optimizers.learning_rate
                    progress.samples_per_second = since / max(time.monotonic() - logged, 1e-9)
                    for callback in callbacks:
                        callback.on_log(progress)
                logged = time.monotonic()
                since = 0
            with plan.profile(BETWEEN):
                if epoch_ended:
                    with sharding.filled(method, trained):
                        for callback in callbacks:
                            callback.on_epoch(progress, method)
                    # the others wait while the first process looks at the method
                    collectives.patient_barrier()
                    logged = time.monotonic()
                if due or stopping or last:
                    save(folder, trained, optimizers, progress.step, config=plan.config)
                    saved = time.monotonic()
            plan.profile.after_step(
                last or stopping, partial(_bound, method, trained, batch.views, plan)
            )
            if stopping:
                break
        if is_complete and progress.step == progress.steps:
            deliver_due()
        sharding.fill(method, trained)
    return progress


def _refuse(method: Method, plan: Plan) -> None:
    """What the method says that it cannot be trained with.

    Raises:
        UserError: if the plan asks for it.
    """
    asked = {
        "shard": plan.shard,
        "cache": plan.gradient_cache > 0,
        "accumulate": plan.accumulate > 1,
    }
    options = {"shard": "--shard", "cache": "--gradient-cache", "accumulate": "--accumulate"}
    for what, reason in method.cannot.items():
        if asked.get(what, False):
            name = type(method).__name__
            raise UserError(
                f"{name} cannot be trained with {options[what]}, because {reason}; leave it out."
            )


def _placed(method: Method, plan: Plan) -> Method:
    method = method.to(plan.device)
    if modalities.get(method.spec.modality).channels_last:
        method = method.to(memory_format=torch.channels_last)
    if collectives.world() > 1:
        synchronise(method)
        synchronise_dropout(method)
    return method


def _to_train(method: Method, plan: Plan) -> Method:
    """What is trained: the method itself, or where that is asked for a copy that is divided over
    the processes.
    """
    trained = (
        sharding.sharded(method, plan.device) if plan.shard and collectives.world() > 1 else method
    )
    if plan.compile:
        trained.encoder.compile()
    return trained


def _share(progress: Progress, going_on: GoingOn | None, further: int = 0) -> float:
    """The share of the run that is done so many steps further; of a branch, that of its run."""
    if going_on is not None:
        return going_on.progress
    return (progress.step + further) / progress.steps


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


def _batch(
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
        raw = samples.take(index)
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


def _update(
    model: nn.Module,
    method: Method,
    phases: Sequence[Phase],
    optimizers: Optimizers,
    batch: Batch,
    plan: Plan,
    progress: Progress,
    finite: FiniteSteps,
    after: float,
) -> dict[str, Tensor]:
    """The updates of one step, phase by phase; returns the detached loss terms, under "loss" the
    sum of the phases' losses. ``after`` is the share of the run that is done after the step.
    """
    method.train()
    terms: dict[str, Tensor] = {}
    outputs: Outputs = {}
    losses: list[Tensor] = []
    for phase in due(phases, progress.step, method.progress):
        optimizer = optimizers.of(phase)
        optimizer.zero_grad(set_to_none=True)
        with moving(method, phase.parameters):
            found, made = gradients(model, method, phase, batch, plan)
        finite.look(phase.parameters, found, progress.step + 1)
        with plan.profile("optimiser"), sharding.mixed():
            method.after_backward(phase.name)
            if plan.recipe.clip:
                torch.nn.utils.clip_grad_norm_(phase.parameters, plan.recipe.clip)
            optimizer.step()
        losses.append(found.pop("loss"))
        terms |= found if len(phases) == 1 else {phase.name: losses[-1], **found}
        outputs |= made
    method.progress = after
    with plan.profile("momentum"), torch.no_grad(), sharding.mixed():
        method.after_step(outputs)
    total = torch.stack(losses).sum() if losses else torch.zeros((), device=plan.device)
    return {**terms, "loss": total}


def _bound(method: Method, trained: Method, views: list[Any], plan: Plan) -> float | None:
    with sharding.filled(method, trained, everywhere=True):
        return bound_seconds(method, views, plan)


@contextmanager
def _ending(callbacks: Sequence[Callback], progress: Progress) -> Iterator[None]:
    try:
        yield
    finally:
        for callback in callbacks:
            callback.on_end(progress)
