"""What a file may hold instead of what was written: each place of a document in turn takes each of
several wrong values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nearfar
from nearfar.comparison.gathering import MEMORY

NESTED: Any = [[{"a": [[]]}]]
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2.5,
    float("nan"),
    10**400,
    "[/x]",
    "",
    "a\0b",
    [],
    {},
    NESTED,
)
"""Values of every type, most of them in no place right."""
ABSENT = object()
"""Stands for a field that is not there."""

Place = tuple[str | int, ...]

_MOST_ITEMS = 1
"""So many items of a list are visited: the others are alike."""


def places(document: Any, at: Place = ()) -> Iterator[Place]:
    """Where a document holds anything: every field and the first item of every list, but not the
    whole.
    """
    if at:
        yield at
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, (*at, name))
    elif isinstance(document, list):
        for number, value in enumerate(document[:_MOST_ITEMS]):
            yield from places(value, (*at, number))


def replaced(document: Any, place: Place, value: Any) -> Any:
    """A copy of a document with another value, or nothing, at one place."""
    changed = copy.deepcopy(document)
    inside = changed
    for part in place[:-1]:
        inside = inside[part]
    if value is ABSENT:
        del inside[place[-1]]
    else:
        inside[place[-1]] = copy.deepcopy(value)
    return changed


def mutations(document: Any) -> Iterator[tuple[Place, Any, Any]]:
    """Each place, each wrong value that differs from what is there, and the document that holds
    it.
    """
    for place in places(document):
        for value in (*WRONG, ABSENT):
            yield place, value, replaced(document, place, value)


def make_runs(folder: Path) -> None:
    """Two small runs of one configuration on two seeds, "run" and "other", as a comparison would
    leave them.
    """
    options: dict[str, Any] = {
        "data": "digits",
        "limit": 40,
        "encoder": "perceptron",
        "epochs": 2,
        "batch_size": 20,
    }
    settings = {"hidden": 16, "projection": 8}
    for seed, name in enumerate(("run", "other")):
        nearfar.pretrain(
            "simclr",
            settings=settings,
            **options,
            seed=seed,
            quiet=True,
            output=folder / name,
            evaluate=False,
        )
        nearfar.evaluate(folder / name, protocols="knn", seeds=1)
        (folder / name / MEMORY).write_text('{"peak_memory_mib": 300.5}\n')


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(4096),
    "no UTF-8": b"\xff\xfe\x00{",
    "brackets": b"[" * 200_000,
    "braces": b'{"a":' * 100_000,
    "a number": b"1",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "an empty table": b"{}",
    "digits": b'{"version": ' + b"9" * 10_000 + b"}",
    "cut": b'{"version": 1, "arch',
    "a surrogate": b'{"version": 1, "architecture": "\\ud800"}',
}
"""Files that hold no document, or not the one that is expected."""
