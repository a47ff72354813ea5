"""Where the time of a training step goes: ``nearfar pretrain --profile``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

PARTS = ("data", "views", "forward", "objective", "backward", "optimiser", "momentum", "logging")
"""Of a step, in order: samples are fetched; views made; passed through the networks; joined and
compared; the gradients; the update; what the method does after it (momentum encoder, queue,
centre); the log.
"""

BETWEEN = "between epochs"
"""What happens once an epoch, evaluation and checkpoints; not part of a step."""


class Untimed:
    """Times nothing: what a plan has where no profile was asked for."""

    times = False

    def __call__(self, part: str) -> AbstractContextManager[None]:
        """``with profile("views"): ...`` counts the block's time as that part's."""
        return _NOTHING

    def after_step(self, last: bool, bound: Callable[[], float | None]) -> None:
        """Called after each step: ``last`` after the run's last, ``bound`` gives the seconds that a
        step takes at least.
        """


_NOTHING = nullcontext()


class Profile(Untimed):
    """Times some steps of a run, reports once, and is silent from then on. The run computes what it
    computes without; its batches are not made ahead, so that parts add up to steps.

    Args:
        device: of the run; a part ends when the device has done its work.
        report: is given the finished text.
        steps: how many are timed.
        untimed: how many go before them, in which memory is found and kernels are chosen.
    """

    times = True

    def __init__(
        self, device: torch.device, report: Callable[[str], None], steps: int = 40, untimed: int = 3
    ) -> None:
        self.device = device
        self.report = report
        self.steps = steps
        self.untimed = untimed
        self.seconds: dict[str, float] = {}
        self.whole = 0.0
        self._taken = -untimed
        self._started = time.perf_counter()
        self._reported = False

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = self._now()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + self._now() - start

    def __call__(self, part: str) -> AbstractContextManager[None]:
        return _NOTHING if self._reported else self._timed(part)

    def after_step(self, last: bool, bound: Callable[[], float | None]) -> None:
        if self._reported:
            return
        self._taken += 1
        if self._taken == 0:
            self.seconds = {}
            self._started = self._now()
        elif last or self._taken == self.steps:
            self.whole = self._now() - self._started
            self._reported = True
            enough = self._taken > 0
            self.report(
                self._text(bound())
                if enough
                else f"profile: too few steps; expected more than {self.untimed}."
            )

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def _text(self, bound: float | None) -> str:
        """The table: milliseconds a step and shares; "other" is what no part covers."""
        between = self.seconds.get(BETWEEN, 0.0)
        step = (self.whole - between) / self._taken
        rows: list[tuple[str, float]] = [
            (name, self.seconds.get(name, 0.0) / self._taken) for name in PARTS
        ]
        rows.append(("other", step - sum(seconds for _, seconds in rows)))
        lines = [
            f"profile of {self._taken} steps after the first {self.untimed}: {1e3 * step:.1f} ms a "
            "step",
            *_lines(rows, step),
        ]
        if between:
            lines.append(f"{BETWEEN}, not counted above: {between:.2f} s in all")
        if bound is None:
            lines.append(
                "bound: not measured, as this method's views are not simply passed through its "
                "encoder"
            )
        else:
            above = f"{100 * (step - bound) / step:.0f} % of a step are above it"
            if bound > step:
                above = "more than a step took, so other programs disturb the measurement"
            what = "the encoder alone on ready views in one pass (forward, backward, optimiser)"
            lines.append(f"bound: {1e3 * bound:.1f} ms, {what}; {above}")
        return "\n".join(lines)


def _lines(rows: Sequence[tuple[str, float]], step: float) -> Iterator[str]:
    for name, seconds in rows:
        yield f"  {name:<10}{1e3 * seconds:>10.2f} ms{100 * seconds / step:>8.1f} %"


def seconds_of(
    run: Callable[[], Any], device: torch.device, rounds: int = 10, untimed: int = 2
) -> float:
    """Median wall-clock seconds of ``run``, the device's work included."""
    taken = []
    for _ in range(untimed + rounds):
        start = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(time.perf_counter() - start)
    return sorted(taken[untimed:])[rounds // 2]
