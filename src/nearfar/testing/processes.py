"""Run a function on several real processes of this machine that talk to each other as they do under
``torchrun``.
"""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from nearfar import collectives
from nearfar.assembly.processes import Child, dies_with

_TRIED: list[bool] = []
"""Whether it was tried if processes can meet here."""
_MEETING: list[str] = []
"""Why they cannot, if they cannot."""
_START = "import sys; from nearfar.testing.processes import _launch; _launch(sys.argv[1])"


def on_processes(
    function: Callable[..., Any],
    *arguments: Any,
    counts: Sequence[int] = (2, 3),
    seconds: float = 300,
) -> dict[int, list[Any]]:
    """Call ``function(*arguments)`` on each process of a group joined by gloo on the CPU, one group
    after another.

    One fresh interpreter imports the function by its name, without running the main script again,
    and forks the groups.

    Args:
        function: a function at the top level of a module on the Python path (not of ``__main__``).
        arguments: tensors, numbers, strings, and lists, tuples and dicts of these; its result
            likewise.
        counts: sizes of the groups.
        seconds: after this time all processes are ended; longer on a machine that has more to do
            than it has cores.

    Returns:
        For each size, the results in the order of ranks.

    Raises:
        RuntimeError: if a process fails, with what was written last, or the time is over. Where
            processes of this machine cannot meet at all, that is found out once and said at once
            from then on.
    """
    try:
        return _on_processes(function, arguments, counts, seconds)
    except RuntimeError as error:
        reason = _why_none_meet()
        if reason:
            raise RuntimeError(reason) from error
        raise


def _on_processes(
    function: Callable[..., Any], arguments: Sequence[Any], counts: Sequence[int], seconds: float
) -> dict[int, list[Any]]:
    if _MEETING:
        raise RuntimeError(_MEETING[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(
            (f"{function.__module__}:{function.__qualname__}", tuple(arguments), list(counts)),
            folder / "task",
        )
        with (folder / "log").open("wb") as log:
            child = Child(
                [sys.executable, "-c", _START, name], env=_environment(), stdout=log, stderr=log
            )
            try:
                code = _waited(child, seconds)
                failure = (
                    f"did not end within {seconds:g} seconds"
                    if code is None
                    else f"failed with code {code}"
                    if code
                    else ""
                )
            finally:
                child.end(patience=0.0)
        if failure:
            written = (folder / "log").read_text(errors="replace")[-4000:]
            raise RuntimeError(
                f"{function.__qualname__} on processes {failure}; written last:\n{written}"
            )
        return {
            n: [torch.load(folder / f"result-{n}-{rank}", weights_only=True) for rank in range(n)]
            for n in counts
        }


def _waited(child: Child, seconds: float) -> int | None:
    """The exit code; None if it did not end in time, which is longer where other programs take the
    cores.
    """
    start = time.monotonic()
    while True:
        try:
            return child.process.wait(min(seconds, 5.0))
        except subprocess.TimeoutExpired:
            busy = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
            if time.monotonic() - start > seconds * max(1.0, busy):
                return None


def _why_none_meet() -> str:
    """Why two processes that do nothing else cannot meet on this machine; "" where they can. Tried
    once.
    """
    if not _TRIED and not _MEETING:
        _TRIED.append(True)
        try:
            found = _on_processes(_met, (), (2,), 120)
            reason = "" if found == {2: [2, 2]} else f"they found {found}"
        except RuntimeError as error:
            reason = str(error)
        if reason:
            _MEETING.append(
                "processes cannot meet on this machine, so nothing is tried on several any more: "
                f"{reason}"
            )
    return _MEETING[0] if _MEETING else ""


def _met() -> int:
    """Number of processes, each of which the others have heard from."""
    collectives.barrier()
    return collectives.world()


def _environment() -> dict[str, str]:
    """One thread a process, no GPU, and the same Python path."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _launch(name: str) -> None:
    folder = Path(name)
    path, arguments, counts = torch.load(folder / "task", weights_only=True)
    module, _, attribute = path.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    importlib.import_module(
        "torch._dynamo"
    )  # data parallel training would import it, slowly, in each process
    context = multiprocessing.get_context(
        "fork"
    )  # safe and quick, as nothing was computed here yet
    for count in counts:
        tasks = [(folder, function, arguments, rank, count, os.getpid()) for rank in range(count)]
        running = {
            rank: context.Process(target=_member, args=task, daemon=True)
            for rank, task in enumerate(tasks)
        }
        for process in running.values():
            process.start()
        while running:
            multiprocessing.connection.wait([process.sentinel for process in running.values()])
            for rank, process in list(running.items()):
                if process.exitcode:  # the others would wait for it for ever
                    sys.exit(f"process {rank} of {count} ended with code {process.exitcode}")
                if process.exitcode == 0:
                    del running[rank]


def _member(
    folder: Path,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    rank: int,
    count: int,
    launcher: int,
) -> None:
    dies_with(launcher, signal.SIGKILL)()
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count))
    with collectives.processes(f"file://{folder}/meeting-{count}"):
        torch.save(function(*arguments), folder / f"result-{count}-{rank}")
