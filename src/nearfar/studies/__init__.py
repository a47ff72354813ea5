"""Papers' benchmarks as data: each file here defines one, under ``STUDY``."""

from __future__ import annotations

from nearfar import found
from nearfar.studies.study import Study


def names() -> list[str]:
    """Of all studies, sorted."""
    return found.names_in(__name__, "STUDY")


def get(name: str) -> Study:
    """A study by its name.

    Raises:
        UserError: If there is none of this name.
    """
    study: Study = found.part_in(__name__, name, "STUDY", "study", Study)
    return study
