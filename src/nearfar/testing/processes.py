"""Run a function on several real processes of this machine that talk to each other as they do under
``torchrun``.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import multiprocessing.connection
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from nearfar import collectives
from nearfar.assembly.processes import Child, dies_with

_TRIED: list[bool] = []
"""Whether it was tried if processes can meet here."""
_MEETING: list[str] = []
"""Why they cannot, if they cannot."""
_START = "from nearfar.testing.processes import _serve; _serve()"
_LAUNCHERS: list[Child] = []
"""The interpreter that forks the groups of this process; none before the first call."""
_PRELOADED = ("torch._dynamo", "nearfar.testing.steps")
"""What every group needs and takes seconds to import."""


def on_processes(
    function: Callable[..., Any],
    *arguments: Any,
    counts: Sequence[int] = (2, 3),
    seconds: float = 300,
) -> dict[int, list[Any]]:
    """Call ``function(*arguments)`` on each process of a group joined by gloo on the CPU, one group
    after another.

    A fresh interpreter, started once, forks a process for each call. That process imports the
    function by its name, without running the main script again, and forks the groups.

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
        where = f"{function.__module__}:{function.__qualname__}"
        task = (where, tuple(arguments), list(counts), _python_path(), _environment())
        torch.save(task, folder / "task")
        code = _launched(folder, seconds)
        if code != 0:
            failure = (
                f"did not end within {seconds:g} seconds"
                if code is None
                else f"failed with code {code}"
            )
            written = (folder / "log").read_text(errors="replace")[-4000:]
            raise RuntimeError(
                f"{function.__qualname__} on processes {failure}; written last:\n{written}"
            )
        return {
            n: [torch.load(folder / f"result-{n}-{rank}", weights_only=True) for rank in range(n)]
            for n in counts
        }


def _launched(folder: Path, seconds: float) -> int | None:
    """Let the launcher run the task of a folder.

    Returns:
        The exit code; None if it did not end in time, which is longer where other programs take
        the cores.
    """
    launcher = _launcher(folder / "log")
    asked = launcher.process.stdin
    answers = launcher.process.stdout
    assert asked is not None
    assert answers is not None
    try:
        asked.write(f"{folder}\n".encode())
        group = int(answers.readline() or 0)
        if group == 0:  # the launcher has ended
            return launcher.process.wait()
        start = time.monotonic()
        while not select.select([answers], [], [], min(seconds, 5.0))[0]:
            busy = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
            if time.monotonic() - start > seconds * max(1.0, busy):
                os.killpg(group, signal.SIGKILL)
                answers.readline()
                return None
        return int(answers.readline())
    except BrokenPipeError:
        return launcher.process.wait()
    except BaseException:
        launcher.end(patience=0.0)  # the next call starts another one
        raise


def _launcher(log: Path) -> Child:
    """The interpreter that forks the groups; a new one where the last one has ended, or belongs to
    the process that this one was forked from.

    Args:
        log: Where a new one writes why it cannot start.
    """
    if _LAUNCHERS and _LAUNCHERS[0].parent == os.getpid() and _LAUNCHERS[0].process.poll() is None:
        return _LAUNCHERS[0]
    environment = {**_environment(), "PYTHONPATH": os.pathsep.join(_python_path())}
    with log.open("wb") as errors:
        child = Child(
            [sys.executable, "-c", _START],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
        )
    _LAUNCHERS[:] = [child]
    atexit.register(_ended, child)
    return child


def _ended(launcher: Child) -> None:
    """End a launcher together with the process that started it."""
    if launcher.parent == os.getpid():
        launcher.end(patience=0.0)


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


def _python_path() -> list[str]:
    return [entry or os.getcwd() for entry in sys.path]


def _environment() -> dict[str, str]:
    """One thread a process, and no GPU."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _serve() -> None:
    """Fork a process for each folder that is named on standard input; write its process id and its
    exit code.
    """
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        process = os.fork()  # safe and quick, as nothing is computed here
        if process == 0:
            _run(line.decode().rstrip("\n"))
        os.write(1, f"{process}\n".encode())
        _, status = os.waitpid(process, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(name: str) -> NoReturn:
    """The forked process: do the task of one folder, in a session of its own, and end."""
    launcher = os.getppid()
    os.setsid()
    dies_with(launcher, signal.SIGKILL)()
    with (Path(name) / "log").open("wb") as log, open(os.devnull, "rb") as nothing:
        for number, stream in enumerate((nothing, log, log)):
            os.dup2(stream.fileno(), number)
    code = 1
    try:
        _launch(name)
        code = 0
    except SystemExit as end:
        print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _launch(name: str) -> None:
    folder = Path(name)
    path, arguments, counts, python_path, environment = torch.load(
        folder / "task", weights_only=True
    )
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = python_path
    module, _, attribute = path.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    context = multiprocessing.get_context("fork")
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
