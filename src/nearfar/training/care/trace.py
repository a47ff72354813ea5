"""What processor and device do in each moment of some steps: ``nearfar pretrain --trace``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, record_function

from nearfar import collectives
from nearfar.errors import UserError
from nearfar.training.care.profile import Untimed


class Trace(Untimed):
    """Records some steps of a run by PyTorch's profiler, writes them once, and is silent from then
    on. The run computes what it computes without; its batches are not made ahead.

    Each process writes a file of its own, in the format of Chrome's traces. The parts of a step
    stand in it by their names.

    Args:
        folder: Where ``trace.json`` goes, or ``trace-RANK.json`` of several processes.
        device: Of the run.
        report: Gets a sentence when the file is written.
        steps: How many are recorded.
        untimed: How many go before them, in which memory is found and kernels are chosen.

    Raises:
        UserError: If there is such a file already, or the folder cannot be made.
    """

    times = True

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        report: Callable[[str], None],
        steps: int = 10,
        untimed: int = 3,
    ) -> None:
        rank = f"-{collectives.rank()}" if collectives.world() > 1 else ""
        self.path = folder / f"trace{rank}.json"
        if self.path.exists():
            raise UserError(f"{self.path} exists already; choose another folder for --trace.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {folder} for --trace cannot be made ({error.strerror}); choose "
                "another."
            ) from error
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self.report = report
        self.steps = steps
        self.untimed = untimed
        self._profiler = torch.profiler.profile(activities=activities)
        self._taken = -untimed
        self._is_written = False

    def __call__(self, part: str) -> AbstractContextManager[Any]:
        if self._taken >= 0 and not self._is_written:
            return record_function(part)
        return nullcontext()

    def after_step(self, last: bool, bound: Callable[[], float | None]) -> None:
        if self._is_written:
            return
        self._taken += 1
        if self._taken > 0 and (last or self._taken == self.steps):
            self._profiler.stop()
            self._profiler.export_chrome_trace(str(self.path))
            self._is_written = True
            self.report(
                f"trace of {self._taken} steps after the first {self.untimed} written to "
                f"{self.path}; open it in a browser at ui.perfetto.dev"
            )
        elif last:
            self._is_written = True
            self.report(f"trace: too few steps; expected more than {self.untimed}.")
        elif self._taken == 0:
            self._profiler.start()
