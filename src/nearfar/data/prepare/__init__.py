"""What is done to a data set before training: one file a preparation, each a dataclass of its
options.

``--with label-noise:rate=0.4`` names one. A preparation takes a ``Source`` and gives a ``Source``;
what it did is told in the source's notes. It is a function of the source, its options and the run's
seed alone, so that a run that goes on sees the same data. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from nearfar import found, named

if TYPE_CHECKING:
    from nearfar.data.samples import Source

STRIDE = 7919
"""How far apart the seeds of consecutive preparations are."""

__all__ = ["STRIDE", "Preparation", "kind_of", "makes_parts", "names", "preparation_of", "prepared"]


class Preparation(Protocol):
    """A change of a data set."""

    def __call__(self, source: Source, *, seed: int) -> Source:
        """The changed data.

        Raises:
            UserError: If the data are not of the kind that it takes.
        """


def names() -> list[str]:
    """The names of all preparations, sorted."""
    return found.names_in(__name__, "PREPARATION")


def kind_of(name: str) -> type[Any]:
    """The dataclass of a preparation; its fields are the options.

    Raises:
        UserError: For an unknown name.
    """
    kind: type[Any] = found.part_in(__name__, name, "PREPARATION", "preparation", type)
    return kind


def preparation_of(text: str) -> Preparation:
    """The preparation of a name with its options.

    Args:
        text: Such as "label-noise:rate=0.4".

    Raises:
        UserError: For an unknown name or option, or a value out of its range.
    """
    given = named.parse(text, "The preparation")
    kind = kind_of(given.name)
    preparation: Preparation = kind(**named.made(kind, given, "preparation"))
    return preparation


def makes_parts(text: str) -> bool:
    """Whether a preparation, named as by ``--with``, makes samples of several parts."""
    kind = kind_of(named.parse(text, "The preparation").name)
    return bool(getattr(kind, "makes_parts", False))


def prepared(source: Source, chain: Sequence[str], *, seed: int) -> Source:
    """The source after a chain of preparations, in order.

    Each draws by a seed of its own, so that one more at the end changes none before it.
    """
    raw = source if source.raw is None else source.raw
    for place, text in enumerate(chain):
        source = preparation_of(text)(source, seed=seed + STRIDE * place)
    trained = source.train if source.seen is None else source.seen
    spec = replace(source.spec, length=len(trained))
    return replace(source, spec=spec, raw=raw)
