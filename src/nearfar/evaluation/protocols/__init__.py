"""The protocols: each file here and in ``results`` defines some, under ``PROTOCOLS``.

A protocol's settings never change under its versioned name. Whatever a probe has to choose, it
chooses on training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from nearfar import found
from nearfar.errors import UserError, unknown_name
from nearfar.evaluation.protocol import Protocol, Task


@cache
def all_protocols() -> tuple[Protocol, ...]:
    """All of them in the order of the table."""
    every = [
        one
        for package in (__name__, f"{__name__}.results")
        for file in found.names_in(package, "PROTOCOLS")
        for one in found.part_in(package, file, "PROTOCOLS", "protocol", tuple)
    ]
    return tuple(sorted(every, key=lambda one: (one.rank, one.name)))


def statements() -> dict[str, str]:
    """Versioned name to what the protocol does."""
    return {one.version: one.statement for one in all_protocols()}


_SETS = ("quick", "all")


def check_names(wanted: Sequence[str]) -> None:
    """Refuse what is no protocol.

    Raises:
        UserError: with the nearest names; or if there are none.
    """
    known = [*_SETS, *(one.name for one in all_protocols())]
    if not wanted:
        raise UserError(f"No protocol was named; choose from {', '.join(known)}.")
    for name in wanted:
        if name not in known and name not in statements():
            raise unknown_name("protocol", name, known)


def chosen(wanted: Sequence[str], task: Task) -> tuple[list[Protocol], list[str]]:
    """The protocols that were asked for, and notes on those of "all" that the data do not allow.

    Raises:
        UserError: for an unknown name, or for a protocol named alone that the data do not allow.
    """
    check_names(wanted)
    found = []
    notes = []
    for one in all_protocols():
        lacks = one.lacks(task)
        fits = one.fits(task.predicts)
        if lacks is None and fits and ("all" in wanted or ("quick" in wanted and one.quick)):
            found.append(one)
        elif one.name in wanted or one.version in wanted:
            if one.judges is not None and not fits:
                lacks = f"a method that predicts {one.judges.__name__.lower()}"
            if lacks is not None:
                raise UserError(
                    f"The protocol {one.name!r} needs {lacks}, which {task.source.spec.name} has "
                    "not; leave it out."
                )
            found.append(one)
        elif lacks is not None and fits and "all" in wanted:
            notes.append(f"{one.name} was left out: it needs {lacks}.")
    return found, notes
