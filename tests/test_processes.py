"""Processes end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import sys
from nearfar.assembly.processes import Child, ending_with_us
child = Child([sys.executable, "-c", sys.argv[2], sys.argv[1]])
with ending_with_us(child):
    child.process.wait()
"""
CHILD = """
import os, subprocess, sys, time
below = subprocess.Popen(["sleep", "600"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {below.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _hang_up_ends() -> None:
    """Undo an ignored SIGHUP, which whoever runs the tests (nohup) may have handed down."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGKILL"])
def test_a_child_ends_with_its_parent(name: str, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(told), CHILD],
        stderr=subprocess.DEVNULL,
        preexec_fn=_hang_up_ends,
    )
    deadline = time.monotonic() + 60
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child, below = map(int, told.read_text().split())
    assert alive(child)
    parent.send_signal(getattr(signal, name))
    parent.wait(30)
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)
    if name == "SIGKILL":  # nobody is left to end what the child has started itself
        os.kill(below, signal.SIGKILL)
    else:
        assert not alive(below)
