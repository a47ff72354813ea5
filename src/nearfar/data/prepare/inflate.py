"""``--with inflate``: several copies of the real images, and generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nearfar.data.samples import Source
from nearfar.ranges import whole_number


@dataclass(frozen=True, kw_only=True)
class Inflate:
    """What a method trains on becomes several copies of the real images and generated ones.

    Attributes:
        images: Name or path of generated images, or "mixture:NUMBER" to generate that many here;
            None: none.
        copies: How often each real sample is repeated.
    """

    images: str | None = None
    copies: Annotated[int, whole_number()] = 1

    def __call__(self, source: Source, *, seed: int) -> Source:
        from nearfar.data.prepare.inflation import inflated

        return inflated(source, self.images, self.copies, seed=seed)


PREPARATION = Inflate
