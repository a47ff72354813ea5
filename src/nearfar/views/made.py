"""What a maker of views gives: the views, and what is known of them by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from nearfar.data.spec import Spec


class Made(list[Any]):
    """The views of a batch in order, and beside them what is no view.

    Attributes:
        about: By name, each of length N, such as "boxes" or "noise". A method finds them in
            ``Batch.extra``.

    Example:
        >>> made = Made([torch.zeros(2, 3)], {"noise": torch.rand(2, 4)})
        >>> len(made), list(made.about)
        (1, ['noise'])
    """

    def __init__(self, views: Iterable[Any] = (), about: Mapping[str, Any] | None = None) -> None:
        super().__init__(views)
        self.about: dict[str, Any] = dict(about or {})


class Views(Protocol):
    """A maker of views."""

    def __call__(self, samples: Any, generator: torch.Generator, /) -> list[Any]:
        """Views of N raw samples, reproducible from the generator; ``Made`` where something is
        known beside them.
        """


class Wanted(Protocol):
    """Which views a method wants: a small value that makes its own maker."""

    def maker(self, spec: Spec, settings: Any = None) -> Views:
        """What makes these views of data of this spec.

        Args:
            spec: Of the data.
            settings: Strengths, instead of the preset ones.
        """


def about(made: list[Any]) -> dict[str, Tensor]:
    """What is known beside the views, by name; nothing where a maker gives a plain list."""
    return made.about if isinstance(made, Made) else {}


def by_row(views: Any) -> bool:
    """Whether a maker of views makes those of some rows of a batch as it makes those of all."""
    return bool(getattr(views, "by_row", True))


def draws_globally(views: Any) -> bool:
    """Whether a maker of views draws from the global generators, so that nothing else may draw from
    them meanwhile.
    """
    return bool(getattr(views, "draws_globally", False))
