"""``--with forget``: some training samples are to be forgotten, the others to be remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from nearfar.data.prepare.classes_of import class_labels
from nearfar.data.prepare.label_noise import CLEAN
from nearfar.data.prepare.roles import with_column
from nearfar.data.samples import Source
from nearfar.errors import UserError, unknown_name
from nearfar.ranges import unit_interval


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Every training sample gets a role in the group column "role": 0 to remember, 1 to forget.

    Attributes:
        what: "class" (all samples of one class), "random" (a random share) or "noisy" (those whose
            labels an earlier label-noise made wrong).
        name: The class, where a class is forgotten; "": the first.
        rate: Share of the samples, where a random one is forgotten.
    """

    what: Literal["class", "random", "noisy"] = "class"
    name: str = ""
    rate: Annotated[float, unit_interval(zero=False, one=False)] = 0.1

    def __call__(self, source: Source, *, seed: int) -> Source:
        role = self._role(source, seed)
        count = int(role.sum())
        if not 0 < count < len(role):
            raise UserError(
                f"The preparation forget gives {count:,} of {len(role):,} training samples to "
                "forget; expected at least 1 to forget and 1 to remember."
            )
        test = None if source.test is None else torch.zeros(len(source.test), dtype=torch.int64)
        if source.test is not None and self.what == "class" and source.test.label is not None:
            test = (source.test.label.cpu() == self._number(source)).long()
        note = f"{count:,} of {len(role):,} training samples are to be forgotten ({self.what})."
        return with_column(source, "role", ("remember", "forget"), role, test, note)

    def _role(self, source: Source, seed: int) -> torch.Tensor:
        if self.what == "class":
            return (class_labels(source, "forget") == self._number(source)).long()
        if self.what == "random":
            count = len(source.train)
            generator = torch.Generator().manual_seed(seed)
            chosen = torch.randperm(count, generator=generator)[: round(self.rate * count)]
            return torch.zeros(count, dtype=torch.int64).index_fill(0, chosen, 1)
        if CLEAN not in source.train.annotations:
            raise UserError(
                "The preparation forget:noisy needs labels that were made wrong; write --with "
                "label-noise:rate=0.4 before it."
            )
        clean: torch.Tensor = source.train.annotations[CLEAN]
        return (class_labels(source, "forget") != clean).long()

    def _number(self, source: Source) -> int:
        classes = source.spec.classes
        if not self.name:
            return 0
        if self.name not in classes:
            raise unknown_name("class", self.name, classes)
        return classes.index(self.name)


PREPARATION = Forget
