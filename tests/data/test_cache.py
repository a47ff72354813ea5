"""Cache entries are whole or absent, shared by racing processes, and never written through."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from nearfar.data.cache import file_facts, key_of, remembered, write_blocks
from nearfar.errors import UserError


def make(file: BinaryIO) -> dict[str, Any]:
    write_blocks(file, (3, 2), np.uint8, iter([np.array([[1, 2], [3, 4]]), np.array([[5, 6]])]))
    return {"fact": 7}


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    array, about = remembered("key", make, tmp_path)
    assert array.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert array.dtype == np.uint8
    assert about == {"fact": 7}

    def never(file: BinaryIO) -> dict[str, Any]:
        raise AssertionError("made twice")

    again, about = remembered("key", never, tmp_path)
    assert again.tolist() == array.tolist()
    assert isinstance(again, np.memmap)
    assert about == {"fact": 7}


def test_changes_never_reach_the_file(tmp_path: Path) -> None:
    remembered("key", make, tmp_path)[0][:] = 0
    assert remembered("key", make, tmp_path)[0][0].tolist() == [1, 2]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> dict[str, Any]:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remembered("key", fails, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    def full(file: BinaryIO) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(
        UserError,
        match=r"Cannot write decoded data .*No space left on device; free some space "
        r".*NEARFAR_CACHE",
    ):
        remembered("key", full, tmp_path)
    assert list(tmp_path.iterdir()) == []


def _race(folder: Path, barrier: Any, results: Any) -> None:
    def slow(file: BinaryIO) -> dict[str, Any]:
        barrier.wait(timeout=30)
        time.sleep(0.05)
        return make(file)

    results.put(remembered("key", slow, folder)[0].tolist())


def test_two_processes_may_race(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    results = context.Queue()
    processes = [context.Process(target=_race, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[[1, 2], [3, 4], [5, 6]]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_keys_tell_facts_apart() -> None:
    keys = {
        key_of(1, "a"),
        key_of("1", "a"),
        key_of("1a"),
        key_of("1", "a", None),
        key_of(b"1", "a"),
    }
    assert len(keys) == 5
    assert key_of(1, "a") == key_of(1, "a")


def test_a_changed_file_has_other_facts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = list(file_facts([path]))
    path.write_bytes(b"three")
    assert list(file_facts([path])) != before
