"""Processes that are started for a piece of work and end with the one that started them, however
that ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from nearfar.training.care.interruption import ASKING

PATIENCE = 20.0
"""Seconds in which a process that was asked to end may save what it has."""
_PR_SET_PDEATHSIG = 1


class Child:
    """A process in a group of its own, which ends with this one.

    Args:
        words: the command.
        options: as for ``subprocess.Popen``.

    Attributes:
        parent: process id of the process that started it.
    """

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        self.parent = os.getpid()
        self.process = subprocess.Popen(
            words,
            start_new_session=True,
            preexec_fn=dies_with(os.getpid(), signal.SIGTERM),
            **options,
        )

    def ask(self) -> None:
        """Ask the whole group to save and end."""
        self._send(signal.SIGTERM)

    def end(self, patience: float = PATIENCE) -> None:
        """Ask the whole group to end, and end what is left of it after ``patience`` seconds."""
        self.ask()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self._send(getattr(signal, "SIGKILL", signal.SIGTERM))
        if self.process.returncode is None:
            self.process.wait()

    def _send(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # nobody is left in the group
            return


@contextmanager
def ending_with_us(child: Child) -> Iterator[None]:
    """Within the block, SIGINT, SIGTERM, SIGHUP and SIGUSR1 end the child's group, and then
    raise ``KeyboardInterrupt``; so does any error.
    """
    try:
        with _asked():
            yield
    except BaseException:
        child.end()
        raise


@contextmanager
def _asked() -> Iterator[None]:
    """Within the block, signals that ask this process to end raise ``KeyboardInterrupt``, once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        for other in previous:
            signal.signal(other, signal.SIG_IGN)  # what follows is a matter of seconds
        raise KeyboardInterrupt

    for number in ASKING:
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def dies_with(parent: int, number: int) -> Callable[[], None]:
    """What, called in a new process, lets it get a signal when its parent dies, even of SIGKILL;
    where the system can do that (Linux).

    Args:
        parent: Process id of the parent.
        number: The signal; SIGTERM lets a run save what it has.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl  # found before the fork

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return prepare
