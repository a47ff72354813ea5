"""Every registered method passes the public battery; ``losses/test_every_loss.py`` does the same
for losses.
"""

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
    "visreg": STOPPED,
}


def pairs() -> list[tuple[str, str]]:
    """Every method with every modality it learns from; methods for any data are tried on images and
    on series.
    """
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
def several() -> tuple[dict[int, list[list[Trained]]], list[str], list[Trained]]:
    """All methods on three processes, and those that can be sharded so on two, started once for
    all; their names; all methods on this process.
    """
    tasks = [(name, None, {}) for name in registry.names()]
    divided = [task for task in tasks if "shard" not in registry.get(task[0]).cannot]
    found = on_processes(train_by_name, tasks, counts=[3], seconds=300)
    found |= on_processes(train_by_name, divided, [True], counts=[2], seconds=300)
    return found, [name for name, *_ in divided], train_by_name(tasks)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize(("count", "sharded"), [(3, False), (2, True)])
def test_several_processes_equal_one(name: str, count: int, sharded: bool) -> None:
    if sharded and "shard" in registry.get(name).cannot:
        pytest.skip("the method refuses to be divided")
    found, divided, expected = several()
    names = divided if sharded else registry.names()
    own = [process[names.index(name)] for process in found[count]]
    expectation = expected[registry.names().index(name)]
    assert_processes_equal(own, expectation, ", sharded," if sharded else "")
