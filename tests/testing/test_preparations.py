"""Every preparation keeps the promises of all, and each promise can be seen broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from nearfar.data import Source, load
from nearfar.data.prepare import names
from nearfar.testing import check_preparation, refusals

TAKEN = {
    "block-corruption": "blocks",
    "branch": None,
    "classes": "classes:base=0.5",
    "degrade": "degrade:bicubic,factor=2",
    "forget": "forget:name=3",
    "inflate": "inflate:copies=2",
    "label-noise": "label-noise:rate=0.3",
    "limit": "limit:samples=100",
    "long-tail": "long-tail:imbalance=4",
    "stream": "stream:tasks=3",
    "triplets": None,
}
"""Options with which digits are taken; None: the preparation takes other data, and has tests of its
own.
"""


@pytest.fixture(scope="module")
def digits() -> Source:
    return load("digits", limit=200)


@pytest.mark.parametrize("name", names())
def test_every_preparation_keeps_its_promises(name: str, digits: Source) -> None:
    text = TAKEN[name]
    if text is None:
        pytest.skip("takes no digits; see its own tests")
    check_preparation(text, digits)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """Toys of one broken promise each."""

    def __call__(self, source: Source, *, seed: int) -> Source:
        return CHANGE[0](source)


CHANGE: list[Callable[[Source], Source]] = []


def by_global_state(source: Source) -> Source:
    rows = torch.randperm(len(source.train))[:50]
    return replace(source, train=source.train.subset(rows), notes=[*source.notes, "told"])


def in_place(source: Source) -> Source:
    assert source.train.label is not None
    source.train.label.add_(1).remainder_(10)
    return replace(source, notes=[*source.notes, "told"])


def in_silence(source: Source) -> Source:
    return replace(source, train=source.train.subset(torch.arange(50)))


def with_a_short_column(source: Source) -> Source:
    train = replace(source.train, group={"task": torch.zeros(3, dtype=torch.int64)})
    return replace(source, train=train, notes=[*source.notes, "told"])


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("nearfar.data.prepare.kind_of", lambda name: Broken)
    yield
    CHANGE.clear()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (by_global_state, "more than its source and its seed"),
        (in_place, "changes the data|more than its source"),
        (in_silence, "does not tell"),
        (with_a_short_column, "3 rows"),
    ],
)
@pytest.mark.usefixtures("broken")
def test_a_broken_promise_is_named(change: Callable[[Source], Source], said: str) -> None:
    CHANGE.append(change)
    with pytest.raises(AssertionError, match=said):
        check_preparation("broken", load("digits", limit=200))


def test_the_methods_that_refuse_something_are_known() -> None:
    from nearfar.methods import registry

    found = refusals(map(registry.get, registry.names()))
    assert set(found) == {"shard", "cache", "accumulate", "ahead"}
    assert "storm" in found["shard"]
    assert all("simclr" not in names_ for names_ in found.values())
