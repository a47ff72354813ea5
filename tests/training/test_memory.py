"""Freed memory stays with a run: its steps touch no new pages; afterwards the process gives it
back.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nearfar.training.care.memory import _glibc, freed_memory_kept

needs_glibc = pytest.mark.skipif(_glibc() is None, reason="only glibc has these limits")

COUNT = """
import resource, torch
from nearfar.training.care.memory import freed_memory_kept

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(16):
        torch.ones(16, 2**20)  # 64 MiB, 16,384 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

torch.ones(1)
start = held()
with freed_memory_kept(torch.device("cpu")):
    new_pages()  # until a free block fits its aligned place, glibc takes a few more
    print(new_pages(), (held() - start) >> 20, end=" ")
print((held() - start) >> 20)
"""


@needs_glibc
def test_steps_touch_no_new_pages_and_all_is_returned_in_the_end() -> None:
    found = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True
    ).stdout
    pages, within, after = map(int, found.split())
    assert pages <= 2 * 16384  # without, 16 times 16,384
    assert 60 <= within < 16 * 64  # it stops growing: not a new place for each tensor
    assert after < 10


@needs_glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_limits_that_the_environment_sets_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(
        "nearfar.training.care.memory._limit", lambda *_: pytest.fail("a limit was set")
    )
    with (
        pytest.raises(pytest.fail.Exception, match="a limit was set"),
        freed_memory_kept(torch.device("cpu")),
    ):
        pass
    monkeypatch.setenv(name, "")
    with freed_memory_kept(torch.device("cpu")):
        pass


def test_other_devices_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "nearfar.training.care.memory._limit", lambda *_: pytest.fail("a limit was set")
    )
    with freed_memory_kept(torch.device("cuda")):
        pass
