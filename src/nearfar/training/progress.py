"""Where a run stands, and who is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nearfar.methods.method import Method


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
