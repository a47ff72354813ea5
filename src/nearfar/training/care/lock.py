"""A run folder is written by one run at a time."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearfar.errors import UserError
from nearfar.files import writing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "run.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within the block this process owns the run folder, which is made if it does not exist.

    The lock is the system's and ends with its process, however that ends, so a run that was killed
    locks nobody out. The file says who holds it.

    Raises:
        UserError: if another process owns the folder, or nothing can be written there.
    """
    path = folder / LOCK
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _taken(path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"host": platform.node(), "pid": os.getpid()}).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(path: Path) -> int:
    """A descriptor of the file, locked for this process."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            if not _free(descriptor):
                raise _owned(path)
            if _is_still(
                path, descriptor
            ):  # and not the file that the owner before has just removed
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _free(descriptor: int) -> bool:
    """Whether the lock could be taken; where the file system has no locks, whether the process in
    the file is gone.
    """
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            return True
    host, pid = _owner(os.pread(descriptor, 4096, 0))
    return pid <= 0 or (host == platform.node() and not _alive(pid))


def _owner(content: bytes) -> tuple[str, int]:
    """Host and process of a lock file; ("", 0) where it does not say."""
    try:
        found = json.loads(content)
        return str(found["host"]), int(found["pid"])
    except (ValueError, KeyError, TypeError):
        return "", 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _owned(path: Path) -> UserError:
    host, pid = _owner(path.read_bytes() if path.exists() else b"")
    who = f"process {pid} on {host}" if pid else "another process"
    return UserError(
        f"The run folder {path.parent} is in use by {who}; wait until it ends, stop it, or choose "
        "another --output. Where it is gone,"
        f" remove {path}."
    )
