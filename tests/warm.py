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
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    "nearfar.assembly.watch",
    "nearfar.reports.page",
    "nearfar.training.loop",
    "nearfar.verbs.evaluate",
    "nearfar.verbs.pretrain",
)
_COMMAND = """#!{python} -S
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(os.environ["{address}"])
asked = {{"words": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "script": ""}}
streams = array.array("i", [0, 1, 2])
server.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(json.dumps(asked).encode() + b"\\n")
answer = server.makefile().readlines()
sys.exit(int(answer[1]) if len(answer) > 1 else 70)
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
    asked: dict[str, Any] = {
        "words": list(words),
        "cwd": str(cwd),
        "env": dict(os.environ if env is None else env),
        "script": script,
    }
    with (
        socket.socket(socket.AF_UNIX) as server,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
        Path(os.devnull).open() as nothing,
    ):
        server.connect(str(_server()))
        server.settimeout(timeout)
        streams = [nothing.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(server, [b"+"], streams)
        server.sendall(json.dumps(asked).encode() + b"\n")
        answers = server.makefile()
        process = int(answers.readline())
        try:
            code = int(answers.readline() or -1)
        except TimeoutError:
            os.killpg(process, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), timeout) from None
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(words), code, out.read(), err.read())


def folder_of_commands(folder: Path) -> dict[str, str]:
    """Write a command ``nearfar`` into a folder, for scripts that call it by name.

    Returns:
        What must be in the environment of the script, beside the folder in PATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "nearfar"
    command.write_text(_COMMAND.format(python=sys.executable, address=ADDRESS))
    command.chmod(0o755)
    return {ADDRESS: str(_server())}
