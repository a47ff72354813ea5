"""A sample of which it is known before it is decoded that it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from numpy.typing import NDArray

from nearfar.data.content.files.encoded import Header, UnreadableError

__all__ = ["Broken"]


@dataclass(frozen=True)
class Broken:
    """An image that is not there.

    Attributes:
        reason: Why; "" for mere damage.
    """

    reason: str

    def header(self) -> Header:
        self._refuse()

    def array(self) -> NDArray[Any]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnreadableError(self.reason)
