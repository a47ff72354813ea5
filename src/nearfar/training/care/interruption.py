"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 as a request that the loop honours between two steps.

SIGUSR1 is what Slurm is asked to send before a job's time is over (``--signal=USR1@300``).
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

ASKING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
]
"""Signals that ask a process to save and end; some systems lack SIGHUP and SIGUSR1."""


class Interruption:
    """While entered, the first of these signals sets ``requested``; a second SIGINT interrupts at
    once as usual.

    A signal other than SIGINT that is ignored, such as SIGHUP under ``nohup``, stays ignored.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in ASKING:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
