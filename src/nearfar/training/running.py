"""A run under way: where it stands, what is due after a step, and what is told and saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nearfar import collectives
from nearfar.batch import Batch
from nearfar.data.batches.once import OnceSampler, RowsSampler
from nearfar.data.batches.samplers import Sampler
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.training.batching import MakeViews, sampler_of, step_batch
from nearfar.training.branch import GoingOn, branched
from nearfar.training.care.ahead import Batches, cores_allow
from nearfar.training.care.bound import bound_seconds
from nearfar.training.care.finite import not_finite
from nearfar.training.care.interruption import Interruption
from nearfar.training.care.memory import freed_memory_kept
from nearfar.training.care.profile import BETWEEN
from nearfar.training.care.resuming import restore, save
from nearfar.training.plan import Plan
from nearfar.training.processes import sharding
from nearfar.training.progress import Callback, Moment, Progress
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.training.update import Updates, placed
from nearfar.training.weight_average import WeightAverage
from nearfar.views.made import draws_globally


class Running:
    """A run under way: what is trained, by which optimisers, on which batches, and where it stands.

    Args: as those of ``nearfar.training.loop.fit``.
    """

    def __init__(
        self,
        method: Method,
        source: Any,
        views: MakeViews,
        plan: Plan,
        folder: Path | None,
        callbacks: Sequence[Callback],
        going_on: GoingOn | None,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.views = views
        self.source = source
        self.going_on = going_on
        self.callbacks = callbacks if collectives.is_first() else ()
        self.method = placed(method, plan)
        self.samples = source.trained.to(plan.device)
        self.updates = Updates(self.method, plan)
        self.trained = self.updates.trained
        self.average = WeightAverage(self.trained, plan.weight_average)
        self.sampler = self._sampler()
        self.progress = self._restored()
        self.updates.begin(self._explained)
        self.batches = self._batches()
        self._saved_at = 0.0
        self._logged_at = 0.0
        self._samples_since = 0

    def _sampler(self) -> Sampler:
        if self.going_on is None:
            return sampler_of(self.trained, self.samples, self.plan)
        return RowsSampler(self.going_on.rows, self.plan.recipe.batch_size, seed=self.plan.seed)

    def _restored(self) -> Progress:
        """Where the run starts: at its newest checkpoint, or where the run that it goes on from
        stood.
        """
        plan = self.plan
        optimizers = self.updates.optimizers
        progress = Progress(
            step=0,
            steps=plan.steps or plan.recipe.epochs * len(self.sampler),
            steps_per_epoch=len(self.sampler),
            batch_size=plan.recipe.batch_size,
            terms={},
        )
        progress.step = restore(
            self.folder,
            self.trained,
            optimizers,
            self.average,
            plan.seed,
            config=plan.config,
            tell=plan.tell,
        )
        if self.going_on is not None:
            self.updates.optimizers.load_state_dict(
                self.going_on.optimised, sharding.load_optimizer
            )
        return progress

    def _batches(self) -> Batches:
        plan = self.plan
        make = partial(step_batch, self.trained, self.samples, self.sampler, self.views, plan)
        may_be_ahead = (
            "ahead" not in self.trained.cannot
            and not draws_globally(self.views)
            and not plan.profile.times
            and not sharding.gathered_for_batches(self.trained)
        )
        ahead = may_be_ahead and cores_allow(plan.device)
        return Batches(make, len(self.sampler), self.progress.steps, ahead=ahead)

    def _explained(self, what: str, step: int) -> UserError:
        return not_finite(what, self.batches.make(step - 1), self.samples.ids)

    @property
    def is_over(self) -> bool:
        """Whether no step is left to do."""
        return self.progress.is_over

    @contextmanager
    def under_way(self) -> Iterator[Interruption]:
        """Within the block signals wait for the end of a step, freed memory is kept, and batches
        may be made ahead; the callbacks hear of the end however the block is left.
        """
        with ExitStack() as stack:
            interruption = stack.enter_context(Interruption())
            stack.enter_context(freed_memory_kept(self.plan.device))
            for callback in reversed(self.callbacks):
                stack.callback(callback.on_end, self.progress)
            stack.enter_context(self.batches)
            yield interruption

    def start(self) -> None:
        """Tell the callbacks, and start the clocks."""
        for callback in self.callbacks:
            callback.on_start(self.progress)
        self._agree_on_the_end()
        self._saved_at = time.monotonic()
        self._logged_at = time.monotonic()

    def deliver_due(self, fit: Callable[..., Progress]) -> bool:
        """Deliver what is due at the end of a task, for which ``fit`` trains a branch; False where
        that was interrupted.
        """
        plan = self.plan
        sampler = self.sampler
        progress = self.progress
        if plan.branch is None or not isinstance(sampler, OnceSampler):
            return True
        if progress.step not in sampler.ends:
            return True
        task = sampler.ends.index(progress.step)

        def fall(copied: Method, falling: Plan, start: GoingOn) -> bool:
            found = fit(copied, self.source, self.views, falling, going_on=start)
            return found.step == found.steps

        return branched(
            plan.branch,
            self.trained,
            self.updates.optimizers,
            plan,
            task,
            sampler.members[task],
            step=progress.step,
            steps=progress.steps,
            fit=fall,
        )

    def begin_step(self) -> None:
        """Tell the method how far the run is, begin its epoch, and set the learning rates."""
        progress = self.progress
        self.trained.progress = self._share()
        if progress.step % len(self.sampler) == 0 and self.going_on is None:
            with self.plan.profile(BETWEEN), sharding.rewritten(self.method, self.trained):
                self.method.before_epoch(
                    progress.epoch,
                    LoadedTrainingSet(self.samples, self.method, self.plan.seed),
                )
        self.updates.optimizers.schedule(progress.step, progress.steps)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Make the updates of one step; returns its detached loss terms."""
        terms = self.updates.of(batch, self.progress.step, self._share(further=1))
        self.progress.step += 1
        self.average.update(self.trained, self.progress.step)
        self._samples_since += self.plan.recipe.batch_size
        return terms

    def _share(self, further: int = 0) -> float:
        """The share of the run that is done so many steps further; of a branch, that of its run."""
        if self.going_on is not None:
            return self.going_on.progress
        return (self.progress.step + further) / self.progress.steps

    def moment(self, is_asked_to_stop: bool) -> Moment:
        """What is due after the step that was made last; the same on all processes."""
        progress = self.progress
        is_epoch_end = progress.step % len(self.sampler) == 0
        is_logged = progress.step % self.plan.log_every == 0 or is_epoch_end or self.is_over
        is_stopping = is_asked_to_stop
        is_saved = time.monotonic() - self._saved_at >= 60 * self.plan.checkpoint_minutes
        if collectives.world() > 1:  # processes agree where they talk anyway
            is_stopping, is_saved = (
                collectives.any_of(is_stopping, is_saved) if is_logged else (False, False)
            )
        return Moment(
            is_epoch_end=is_epoch_end,
            is_last=self.is_over,
            is_stopping=is_stopping,
            is_saved=is_saved,
            is_logged=is_logged,
        )

    def log(self, terms: Mapping[str, Tensor]) -> None:
        """Tell the callbacks the terms, the learning rate and the speed since the last time."""
        progress = self.progress
        with self.plan.profile("logging"):
            progress.terms = {name: float(value) for name, value in terms.items()}
            progress.learning_rate = self.updates.optimizers.learning_rate
            seconds = max(time.monotonic() - self._logged_at, 1e-9)
            progress.samples_per_second = self._samples_since / seconds
            for callback in self.callbacks:
                callback.on_log(progress)
        self._logged_at = time.monotonic()
        self._samples_since = 0

    def end_step(self, moment: Moment) -> None:
        """Tell the callbacks the end of an epoch, and save where that is due."""
        with self.plan.profile(BETWEEN):
            if moment.is_epoch_end:
                with sharding.filled(self.method, self.trained), self.average.shown(self.method):
                    for callback in self.callbacks:
                        callback.on_epoch(self.progress, self.method)
                # the others wait while the first process looks at the method
                collectives.patient_barrier()
                self._agree_on_the_end()
                self._logged_at = time.monotonic()
            if moment.is_saved or moment.is_last_now or self.is_over:
                self.save()
                self._saved_at = time.monotonic()

    def _agree_on_the_end(self) -> None:
        """Let all processes know that a callback, which the first one alone has, ended the run."""
        if any(collectives.any_of(bool(self.progress.stopped))):
            self.progress.stopped = self.progress.stopped or "ended by the first process"

    def save(self) -> None:
        """Write a checkpoint, where the run has a folder."""
        save(
            self.folder,
            self.trained,
            self.updates.optimizers,
            self.average,
            self.progress.step,
            config=self.plan.config,
        )

    def profile_step(self, moment: Moment, batch: Batch) -> None:
        """Tell the profile that a step is over."""

        def bound() -> float | None:
            with sharding.filled(self.method, self.trained, everywhere=True):
                return bound_seconds(self.method, batch.views, self.plan)

        self.plan.profile.after_step(moment.is_last_now, bound)

    def finish(self, fit: Callable[..., Progress]) -> None:
        """Deliver what is due at the end of the last task, and fill the method, with the average of
        its weights where there is one.
        """
        if self.is_over:
            self.deliver_due(fit)
        sharding.fill(self.method, self.trained)
        self.average.give(self.method)
