"""The training loop: one run, step by step.

``fit`` knows no method by name. It runs ``forward`` on this process's own samples, joins the
outputs of all processes, asks for the loss of the joined batch, and steps the optimiser; see
``nearfar.methods.method`` for the contract, ``running`` for what happens around a step, and
``update`` for the step itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nearfar.methods.method import Method
from nearfar.training.batching import MakeViews
from nearfar.training.branch import GoingOn
from nearfar.training.plan import Plan
from nearfar.training.progress import Callback, Progress
from nearfar.training.running import Running
from nearfar.training.update import refuse


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

    Returns where the run stands: unless ``progress.is_over``, it was interrupted
    (Ctrl-C, SIGTERM, SIGHUP or SIGUSR1) after its last step was finished and saved.

    ``going_on`` makes the run a branch of another one: it starts with its optimisers' state, sees
    one task's samples only, and keeps the method's progress.

    Where the plan shards, ``method`` holds its parameters while ``before_epoch`` or a callback
    looks at it and at the end; in between, and after an error, they are empty.

    Raises:
        UserError: if the batch is larger than the data, the loss is no longer finite, or a
            checkpoint cannot be written.
    """
    refuse(method, plan)
    run = Running(method, source, views, plan, folder, callbacks, going_on)
    with run.under_way() as interruption:
        run.start()
        while not run.is_over:
            if not run.deliver_due(fit):
                run.save()
                break
            run.begin_step()
            batch = run.batches(run.progress.step)
            terms = run.update(batch)
            moment = run.moment(interruption.requested)
            if moment.is_looked_at:
                run.updates.finite.check(terms, run.progress.step)
            if moment.is_logged:
                run.log(terms)
            run.end_step(moment)
            run.profile_step(moment, batch)
            if moment.is_last_now:
                break
        run.finish(fit)
    return run.progress
