"""What the system refuses is one sentence, and nothing half-written is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nearfar.errors import UserError
from nearfar.files import check_writable, replacing, sweep, write_text


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        UserError, match=r"Cannot write .*file/inside.txt: (Not a directory|File exists)"
    ):
        write_text(tmp_path / "file" / "inside.txt", "text")
    with pytest.raises(UserError, match=r"Cannot write .*/file: Not a directory"):
        check_writable(tmp_path / "file")
    check_writable(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_still_the_systems_error(tmp_path: Path) -> None:
    """The temporary file is a link to the device that is always full."""
    (tmp_path / f".a.txt.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"a.txt: No space left on device") as caught:
        write_text(tmp_path / "a.txt", "text")
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_was_writing_is_swept(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for left in (".a.txt.7.part", "checkpoints/.step-1.pt.7.part"):
        (tmp_path / left).write_text("half")
    write_text(tmp_path / "b.txt", "whole")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.txt", "checkpoints"]


def test_a_defect_in_the_block_stays_one(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as temporary:
        temporary.write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())
