"""The lock of a run folder: one owner at a time, also where the file changes hands or the file
system has no locks."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from nearfar.errors import UserError
from nearfar.training.care import lock


def _dead() -> int:
    """The number of a process that has ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


@pytest.mark.parametrize(
    ("host", "is_alive", "is_taken"),
    [
        (platform.node(), True, True),
        (platform.node(), False, False),
        ("elsewhere", True, True),
        ("elsewhere", False, True),
    ],
)
def test_without_locks_of_the_system_the_file_says_who_owns_it(
    host: str, is_alive: bool, is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    owner = {"host": host, "pid": os.getpid() if is_alive else _dead()}
    (tmp_path / lock.LOCK).write_text(json.dumps(owner))
    if not is_taken:
        with lock.locked(tmp_path):
            assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getpid()
        return
    said = f"in use by process {owner['pid']} on {host}"
    with pytest.raises(UserError, match=said), lock.locked(tmp_path):
        pass


def test_a_file_that_its_owner_removes_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / lock.LOCK
    calls = []
    free = lock._free

    def freed(descriptor: int) -> Any:
        found = free(descriptor)
        if not calls:  # the owner before ends now, and a third process makes the file anew
            path.unlink()
            path.touch()
        calls.append(descriptor)
        return found

    monkeypatch.setattr(lock, "_free", freed)
    with lock.locked(tmp_path):
        assert len(calls) == 2
        assert json.loads(path.read_text())["pid"] == os.getpid()
