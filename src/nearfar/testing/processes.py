"""Run a function on several real processes of this machine that talk to each other as they do under ``torchrun``."""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from nearfar.training import collectives

_START = "import sys; from nearfar.testing.processes import _launch; _launch(sys.argv[1])"


def on_processes(
    function: Callable[..., Any], *arguments: Any, counts: Sequence[int] = (2, 3), seconds: float = 120
) -> dict[int, list[Any]]:
    """Call ``function(*arguments)`` on each process of a group joined by gloo on the CPU, one group after another.

    One fresh interpreter imports the function by its name, without running the main script again, and forks the groups.

    Args:
        function: a function at the top level of a module on the Python path (not of ``__main__``).
        arguments: tensors, numbers, strings, and lists, tuples and dicts of these; its result likewise.
        counts: sizes of the groups.
        seconds: after this time all processes are ended.

    Returns:
        For each size, the results in the order of ranks.

    Raises:
        RuntimeError: if a process fails, with what was written last, or the time is over.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save((f"{function.__module__}:{function.__qualname__}", arguments, list(counts)), folder / "task")
        with (folder / "log").open("wb") as log:
            launcher = subprocess.Popen(
                [sys.executable, "-c", _START, name], env=_environment(), stdout=log, stderr=log, start_new_session=True
            )
            try:
                failure = f"failed with code {code}" if (code := launcher.wait(seconds)) else ""
            except subprocess.TimeoutExpired:
                failure = f"did not end within {seconds:g} seconds"
            finally:
                if launcher.poll() is None:  # the launcher ends its group itself unless it is stuck
                    os.killpg(launcher.pid, signal.SIGKILL)
                    launcher.wait()
        if failure:
            written = (folder / "log").read_text(errors="replace")[-4000:]
            raise RuntimeError(f"{function.__qualname__} on processes {failure}; written last:\n{written}")
        return {n: [torch.load(folder / f"result-{n}-{rank}", weights_only=True) for rank in range(n)] for n in counts}


def _environment() -> dict[str, str]:
    """One thread a process, no GPU, and the same Python path."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _launch(name: str) -> None:
    folder = Path(name)
    path, arguments, counts = torch.load(folder / "task", weights_only=True)
    module, _, attribute = path.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    importlib.import_module("torch._dynamo")  # data parallel training would import it, slowly, in each process
    context = multiprocessing.get_context("fork")  # safe and quick, as nothing was computed here yet
    for count in counts:
        tasks = [(folder, function, arguments, rank, count) for rank in range(count)]
        running = {rank: context.Process(target=_member, args=task, daemon=True) for rank, task in enumerate(tasks)}
        for process in running.values():
            process.start()
        while running:
            multiprocessing.connection.wait([process.sentinel for process in running.values()])
            for rank, process in list(running.items()):
                if process.exitcode:  # the others would wait for it for ever
                    sys.exit(f"process {rank} of {count} ended with code {process.exitcode}")
                if process.exitcode == 0:
                    del running[rank]


def _member(folder: Path, function: Callable[..., Any], arguments: Sequence[Any], rank: int, count: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count))
    with collectives.processes(f"file://{folder}/meeting-{count}"):
        torch.save(function(*arguments), folder / f"result-{count}-{rank}")
