"""The protocols by name.

A protocol's settings never change under its versioned name. Whatever a probe has to choose, it
chooses on training data.
"""

from __future__ import annotations

from collections.abc import Sequence

from nearfar.errors import UserError, unknown_name
from nearfar.evaluation.protocol import Protocol, Task
from nearfar.evaluation.protocols.annotated import DENSE, SIMILARITY
from nearfar.evaluation.protocols.classes import FEW_LABELS, KNN, LINEAR
from nearfar.evaluation.protocols.foreign import OOD, ROBUSTNESS
from nearfar.evaluation.protocols.neighbours import CLUSTERING, RETRIEVAL
from nearfar.evaluation.protocols.pairs import PAIRS
from nearfar.evaluation.protocols.parts import FAIRNESS, FEW_SHOT
from nearfar.evaluation.protocols.space import GEOMETRY
from nearfar.evaluation.protocols.tuning import FINE_TUNE
from nearfar.evaluation.protocols.values import RIDGE, SHOTS

ALL = (
    PAIRS,
    SIMILARITY,
    KNN,
    LINEAR,
    FEW_LABELS,
    FEW_SHOT,
    FINE_TUNE,
    RIDGE,
    SHOTS,
    DENSE,
    RETRIEVAL,
    CLUSTERING,
    FAIRNESS,
    ROBUSTNESS,
    OOD,
    GEOMETRY,
)
"""In the order of the table."""

PROTOCOLS = {one.version: one.statement for one in ALL}
"""Versioned name to what the protocol does."""

_SETS = ("quick", "all")


def check_names(wanted: Sequence[str]) -> None:
    """Refuse what is no protocol.

    Raises:
        UserError: with the nearest names; or if there are none.
    """
    known = [*_SETS, *(one.name for one in ALL)]
    if not wanted:
        raise UserError(f"No protocol was named; choose from {', '.join(known)}.")
    for name in wanted:
        if name not in known and name not in PROTOCOLS:
            raise unknown_name("protocol", name, known)


def chosen(wanted: Sequence[str], task: Task) -> tuple[list[Protocol], list[str]]:
    """The protocols that were asked for, and notes on those of "all" that the data do not allow.

    Raises:
        UserError: for an unknown name, or for a protocol named alone that the data do not allow.
    """
    check_names(wanted)
    found = []
    notes = []
    for one in ALL:
        lacks = one.lacks(task)
        if lacks is None and ("all" in wanted or ("quick" in wanted and one.quick)):
            found.append(one)
        elif one.name in wanted or one.version in wanted:
            if lacks is not None:
                raise UserError(
                    f"The protocol {one.name!r} needs {lacks}, which {task.source.spec.name} has "
                    "not; leave it out."
                )
            found.append(one)
        elif lacks is not None and "all" in wanted:
            notes.append(f"{one.name} was left out: it needs {lacks}.")
    return found, notes
