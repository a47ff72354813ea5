"""A method that stands on another hands on every hook: the host misses nothing that it would get
alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from nearfar.batch import Batch
from nearfar.data.batches.wanted import Repeated
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.testing.toys import toy

HOSTED = ("genview", "hallucinator")


class _TrainingSet:
    """Six images, for hooks that look at them."""

    seed = 0

    def __len__(self) -> int:
        return 6

    def take(self, index: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(index), 3, 8, 8, dtype=torch.uint8)


def _calls(method: Method) -> dict[str, Any]:
    """What reaches the host's hooks from here on."""
    found: dict[str, Any] = {}

    def recorder(name: str, result: Any) -> Any:
        def record(*values: Any) -> Any:
            found[name] = values
            return result(*values) if callable(result) else result

        return record

    host = method.stands_on
    for name, result in {
        "before_epoch": None,
        "prepare": lambda batch, _: replace(batch, extra={"by": "the host"}),
        "after_backward": None,
        "after_step": None,
        "alarm": "the host is worried",
    }.items():
        setattr(host, name, recorder(name, result))
    return found


@pytest.mark.parametrize("name", HOSTED)
def test_every_hook_reaches_the_host(name: str) -> None:
    method, batch = toy(name)
    found = _calls(method)
    training_set: Any = _TrainingSet()
    method.before_epoch(3, training_set)
    assert found["before_epoch"] == (3, training_set)
    prepared = method.prepare(Batch(batch.views, batch.index, batch.label), torch.Generator())
    assert prepared.extra["by"] == "the host"
    method.after_backward("all")
    assert found["after_backward"] == ("all",)
    outputs = method(batch)
    method.after_step(outputs)
    assert found["after_step"] == (outputs,)
    assert method.alarm({"loss": 1.0}) == "the host is worried"


@pytest.mark.parametrize("name", HOSTED)
def test_the_host_knows_the_progress(name: str) -> None:
    method, _ = toy(name)
    assert method.stands_on is not None
    for share in (0.25, 1.0):
        method.progress = share
        assert method.host.progress == share


@pytest.mark.parametrize("name", HOSTED)
def test_batches_and_views_are_the_hosts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, _ = toy(name)
    kind = type(method.host)
    asked = Repeated(copies=3)
    monkeypatch.setattr(kind, "wanted_batches", property(lambda self: asked))
    assert method.wanted_batches == asked
    assert method.wanted_views.whole == method.host.wanted_views.whole


def test_every_method_with_a_host_is_tested_here() -> None:
    """A method that stands on another names it among its settings."""
    hosted = [name for name in registry.names() if "host" in vars(registry.get(name).Settings())]
    assert tuple(hosted) == HOSTED
