"""A process group that fails says why; where none can meet, that is found out once."""

from __future__ import annotations

import time

import pytest

from nearfar.testing import on_processes, processes


def failing() -> None:
    raise ValueError("what the test is about")


@pytest.mark.slow
def test_a_failure_of_the_function_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_TRIED", [])
    monkeypatch.setattr(processes, "_MEETING", [])
    with pytest.raises(RuntimeError, match="what the test is about"):
        on_processes(failing, counts=(2,))
    assert processes._TRIED
    assert not processes._MEETING, "the processes met"
    assert on_processes(processes._met, counts=(2,)) == {2: [2, 2]}


def test_processes_that_cannot_meet_are_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_TRIED", [])
    monkeypatch.setattr(processes, "_MEETING", [])
    monkeypatch.setattr(processes, "_LAUNCHERS", [])
    monkeypatch.setattr(processes, "_START", "import sys; sys.exit('no network here')")
    with pytest.raises(RuntimeError, match="processes cannot meet on this machine"):
        on_processes(failing, counts=(2,))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="no network here"):
        on_processes(failing, counts=(2,))
    assert time.monotonic() - start < 0.1


def sleeping() -> None:
    time.sleep(60)


@pytest.mark.slow
def test_a_group_that_does_not_end_is_ended_and_the_next_one_runs() -> None:
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="did not end within 1 seconds"):
        on_processes(sleeping, counts=(2,), seconds=1)
    assert time.monotonic() - start < 50
    assert on_processes(processes._met, counts=(3,)) == {3: [3, 3, 3]}
