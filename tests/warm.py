"""Commands in processes that have their libraries already.

A command spends seconds on importing torch and scikit-learn before it does a thing. Here a server
imports them once and forks a process for each command. That process has the words, the folder,
the environment and the streams of a command started by hand, and nothing of the others.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ADDRESS = "NEARFAR_WARM_SERVER"
"""Environment variable by which the command ``nearfar`` of ``folder_of_commands`` finds it."""
_LIBRARIES = (
    "altair",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.linear_model",
    "sklearn.manifold",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torchvision.transforms.v2",
    "nearfar.reports.page",
    "nearfar.training.loop",
)
_WHOLE = (
    "nearfar.assembly",
    "nearfar.cli",
    "nearfar.comparison",
    "nearfar.data",
    "nearfar.evaluation",
    "nearfar.losses",
    "nearfar.methods",
    "nearfar.modalities",
    "nearfar.networks",
    "nearfar.results",
    "nearfar.verbs",
    "nearfar.views",
)
"""Packages all modules of which are imported."""
_COMMAND = """#!{python} -S
import array, json, os, socket, sys
def start(words, **variables):
    server = socket.socket(socket.AF_UNIX)
    server.connect(os.environ["{address}"])
    env = {{**os.environ, **variables}}
    asked = {{"words": words, "cwd": os.getcwd(), "env": env, "script": ""}}
    streams = array.array("i", [0, 1, 2])
    server.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    server.sendall(json.dumps(asked).encode() + b"\\n")
    return server
def code(server):
    answer = server.makefile().readlines()
    return int(answer[1]) if len(answer) > 1 else 70
"""
_NEARFAR = "sys.exit(code(start(sys.argv[1:])))\n"
_TORCHRUN = """
assert sys.argv[1] == "--nproc-per-node" and sys.argv[3:5] == ["-m", "nearfar"], sys.argv
count = sys.argv[2]
with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
group = {{"WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}}
ranks = map(str, range(int(count)))
group = [start(sys.argv[5:], RANK=rank, LOCAL_RANK=rank, **group) for rank in ranks]
sys.exit(max(map(code, group)))
"""


@functools.cache
def _server() -> Path:
    """The address of this process's server, which ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "server"
    start = "import sys; from tests.warm import serve; serve(sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", start, str(address)],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "the server of warm commands did not start"
    return address


def serve(address: str) -> None:
    """Import the libraries, then fork a process for each connection."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    for name in _WHOLE:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(module.name)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Run one command in this process, and tell its process id and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup may have handed down
    os.setsid()
    code = 70
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        asked = json.loads(connection.makefile().readline())
        connection.sendall(f"{os.getpid()}\n".encode())
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        code = _run(**asked)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(f"{code}\n".encode())
        os._exit(code & 255)


def _run(words: list[str], cwd: str, env: dict[str, str], script: str) -> int:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [script or "nearfar", *words]
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
            return 0
        from nearfar.cli import main

        return main(words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1


class Started:
    """A command that runs; what a test asks of a ``subprocess.Popen``.

    Attributes:
        pid: Process id of the command.
        returncode: Its exit code; None while it runs, -9 where something ended it at once.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        script: str = "",
        err: IO[str] | None = None,
    ) -> None:
        """Start it.

        Args:
            words: The words after ``nearfar``, or after the script.
            cwd: The folder in which it works.
            env: All of its environment; that of this process if not given.
            script: A Python script to be run instead of ``nearfar``.
            err: Where it writes its errors; by default with what else it writes.
        """
        asked: dict[str, Any] = {
            "words": list(words),
            "cwd": str(cwd),
            "env": dict(os.environ if env is None else env),
            "script": script,
        }
        self.words = asked["words"]
        self.returncode: int | None = None
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(_server()))
        with Path(os.devnull).open() as nothing:
            streams = [nothing.fileno(), self._told.fileno(), (err or self._told).fileno()]
            socket.send_fds(self._server, [b"+"], streams)
        self._server.sendall(json.dumps(asked).encode() + b"\n")
        self._answers = self._server.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        ready = self.returncode is not None or select.select([self._server], [], [], 0)[0]
        return self.wait() if ready else None

    def wait(self, timeout: float = 240) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: If it takes longer; it is killed.
        """
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                os.killpg(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(self.words, timeout)
            self.returncode = int(self._answers.readline() or -signal.SIGKILL)
            while Path(f"/proc/{self.pid}").exists():  # its last words are said a moment before
                time.sleep(0.001)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 240) -> tuple[str, None]:
        """What it has written when it has ended, and nothing: a pair as that of Popen.

        Raises:
            subprocess.TimeoutExpired: If it takes longer; it is killed.
        """
        self.wait(timeout)
        with self._told, self._server, self._answers:
            self._told.seek(0)
            return self._told.read(), None


def nearfar(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
    script: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run the command ``nearfar`` with these words, or a Python script, in a folder.

    Raises:
        subprocess.TimeoutExpired: If it takes longer; it is killed.
    """
    with tempfile.TemporaryFile("w+") as err:
        process = Started(words, cwd=cwd, env=env, script=script, err=err)
        told, _ = process.communicate(timeout)
        err.seek(0)
        return subprocess.CompletedProcess(process.words, process.wait(), told, err.read())


def together(count: int, words: Sequence[str], *, cwd: Path, **environment: str) -> list[Started]:
    """Start ``nearfar`` on a group of processes, in the order of ranks.

    Each has the variables by which processes meet that torchrun starts; there is no torchrun, which
    would end the others when one is lost.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    given = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **group}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return [Started(words, cwd=cwd, env={**given, **environment, **rank}) for rank in ranks]


def folder_of_commands(folder: Path) -> dict[str, str]:
    """Write the commands ``nearfar`` and ``torchrun`` (of one machine) into a folder, for scripts
    that call them by name.

    Returns:
        What must be in the environment of the script, beside the folder in PATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rest in {"nearfar": _NEARFAR, "torchrun": _TORCHRUN}.items():
        command = folder / name
        command.write_text((_COMMAND + rest).format(python=sys.executable, address=ADDRESS))
        command.chmod(0o755)
    return {ADDRESS: str(_server())}
