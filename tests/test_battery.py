"""Every registered method passes the public battery; ``losses/test_every_loss.py`` does the same for losses."""

from __future__ import annotations

import functools

import pytest

from nearfar.methods import registry
from nearfar.testing import METHOD_CHECKS, Case, on_processes
from nearfar.testing.steps import Trained, assert_processes_equal, train_by_name

STOPPED = {"gradient_matches_differences"}
"""For methods whose loss stops a gradient on purpose."""
SKIPPED_METHOD_CHECKS = {
    "cacr-moco-v3": STOPPED,
    "cacr-queue": STOPPED,
    "core-tuning": STOPPED,
    "groco": STOPPED,
    "isogclr": STOPPED,
    "isogclr-pairs": STOPPED,
    "mochi": STOPPED,
    "supremix": STOPPED,
    "swav": STOPPED,
}


def pairs() -> list[tuple[str, str]]:
    """Every method with every modality it learns from; methods for any data are tried on images and on series."""
    return [
        (name, modality)
        for name in registry.names()
        for modality in registry.get(name).modalities or ("image", "series")
    ]


@pytest.mark.parametrize(("name", "modality"), pairs())
@pytest.mark.parametrize("check", sorted(METHOD_CHECKS.keys() - {"processes_equal_one"}))
def test_method(name: str, modality: str, check: str) -> None:
    if check in SKIPPED_METHOD_CHECKS.get(name, ()):
        pytest.skip("the loss stops a gradient on purpose")
    METHOD_CHECKS[check](Case(registry.get(name), modality))


@functools.cache
def several() -> tuple[dict[int, list[list[Trained]]], list[Trained]]:
    """All methods on groups of processes, started once for all, and on this process."""
    tasks = [(name, None, {}) for name in registry.names()]
    return on_processes(train_by_name, tasks), train_by_name(tasks)


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_equal_one(name: str, count: int) -> None:
    found, expected = several()
    place = registry.names().index(name)
    assert_processes_equal([process[place] for process in found[count]], expected[place])
