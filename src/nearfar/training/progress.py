"""Where a run stands, what is due there, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nearfar.methods.method import Method


@dataclass
class Progress:
    """Where the run stands. ``terms`` and ``learning_rate`` are those of the last logged step.

    A callback that sets ``stopped`` at the start or at an epoch's end, to a sentence that says why,
    ends the run there.
    """

    step: int
    steps: int
    steps_per_epoch: int
    batch_size: int
    terms: dict[str, float]
    learning_rate: float = 0.0
    samples_per_second: float = 0.0
    stopped: str = ""

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.step // self.steps_per_epoch

    @property
    def is_over(self) -> bool:
        """Whether no step is left to do, as all are done or a callback has ended the run."""
        return self.step >= self.steps or bool(self.stopped)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is due after a step.

    Attributes:
        is_epoch_end: The step was the last of its epoch.
        is_last: The step was the last of the run.
        is_stopping: The user asked the run to stop.
        is_saved: A checkpoint is due because enough time has passed.
        is_logged: The terms of the step are logged.
    """

    is_epoch_end: bool
    is_last: bool
    is_stopping: bool
    is_saved: bool
    is_logged: bool

    @property
    def is_looked_at(self) -> bool:
        """Whether the terms must be finite before anything is done with them."""
        return self.is_logged or self.is_stopping or self.is_saved

    @property
    def is_last_now(self) -> bool:
        """Whether no step follows in this process."""
        return self.is_last or self.is_stopping


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
