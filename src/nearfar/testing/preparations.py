"""Checks of preparations of data, each of one promise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.data.prepare import prepared
from nearfar.data.samples import Samples, Source
from nearfar.rows import tensors_of


def check_preparation(text: str, source: Source) -> Source:
    """A preparation is a function of the data and the seed, tells what it did, and leaves the data
    that it was given as they are.

    Args:
        text: As behind ``--with``.
        source: Data that it takes.

    Returns:
        The prepared data.

    Raises:
        AssertionError: Names the promise that is broken.
        UserError: If the preparation refuses the data.
    """
    before = _facts(source)
    torch.manual_seed(1)
    first = prepared(source, [text], seed=5)
    torch.manual_seed(2)
    again = prepared(source, [text], seed=5)
    assert _equal(_facts(first), _facts(again)), (
        "the preparation depends on more than its source and its seed"
    )
    assert _equal(_facts(source), before), "the preparation changes the data that it was given"
    trained = first.trained
    assert len(trained), "no training sample is left"
    assert first.spec.length == len(trained), (
        f"the spec tells {first.spec.length} training samples, there are {len(trained)}"
    )
    assert len(first.notes) > len(source.notes) or first.train is source.train, (
        "the preparation does not tell what it did"
    )
    for samples in (first.train, first.test):
        _check_samples(samples, first)
    return first


def _check_samples(samples: Samples | None, source: Source) -> None:
    if samples is None:
        return
    count = len(samples)
    for name, column in samples.group.items():
        assert len(column) == count, f"the group column {name} has {len(column)} rows, not {count}"
        members = source.members.get(name)
        if members is not None and count:
            assert int(column.max()) < len(members), f"the column {name} has a nameless member"
    if samples.label is not None:
        assert len(samples.label) == count, f"{len(samples.label)} labels for {count} samples"
    for name, column in samples.annotations.items():
        assert len(column) == count, f"the annotation {name} has {len(column)} rows, not {count}"
    assert len(samples.ids) == count, f"{len(samples.ids)} ids for {count} samples"


def _facts(source: Source) -> list[Any]:
    """What is compared: content, labels, groups and ids of both parts."""
    found: list[Any] = [source.spec.length]
    for samples in (source.train, source.test, source.seen):
        if samples is None:
            continue
        content = samples.take(torch.arange(min(len(samples), 16)))
        found += [value.clone() for value in tensors_of(content)]
        found.append(list(samples.ids))
        found += [value.clone() for _, value in sorted(samples.group.items())]
        found += [] if samples.label is None else [samples.label.clone()]
    return found


def _equal(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(one, two) if isinstance(one, Tensor) else one == two
        for one, two in zip(first, second, strict=True)
    )
