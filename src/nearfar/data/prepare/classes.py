"""``--with classes``: some classes are known while training, the others are new at test time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch

from nearfar.data.prepare.classes_of import class_labels
from nearfar.data.prepare.roles import with_column
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.ranges import unit_interval


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The first classes are known ("base"), the others are new, in the group column "novelty".

    Attributes:
        base: Share of the classes that are known.
        new: What becomes of the training samples of new classes: "left-out", or "unlabelled" (they
            stay, their labels are hidden from the method).
        labelled: Share of the known classes' training samples whose labels the method sees, where
            new ones stay.
    """

    base: Annotated[float, unit_interval(zero=False, one=False)] = 0.5
    new: Literal["left-out", "unlabelled"] = "left-out"
    labelled: Annotated[float, unit_interval(zero=False)] = 0.5

    def __call__(self, source: Source, *, seed: int) -> Source:
        label = class_labels(source, "classes")
        classes = len(source.spec.classes)
        known = round(self.base * classes)
        if not 0 < known < classes:
            raise UserError(
                f"The preparation classes makes {known} of {classes} classes known; expected at "
                "least 1 known and 1 new."
            )
        test = None
        if source.test is not None and source.test.label is not None:
            test = (source.test.label.cpu() >= known).long()
        novelty = (label >= known).long()
        note = f"{known} of {classes} classes are known, the others new."
        made = with_column(source, "novelty", ("base", "new"), novelty, test, note)
        if self.new == "left-out":
            kept = (novelty == 0).nonzero().flatten()
            return replace(made, train=made.train.subset(kept))
        return self._hidden(made, label, known, seed)

    def _hidden(self, source: Source, label: torch.Tensor, known: int, seed: int) -> Source:
        """What the method sees: labels of some samples of known classes, and none of the others."""
        draws = torch.rand(len(label), generator=torch.Generator().manual_seed(seed))
        shown = (label < known) & (draws < self.labelled)
        seen = replace(source.train, label=torch.where(shown, label, -1))
        note = f"{int(shown.sum()):,} of {len(label):,} training labels are shown to the method."
        return replace(source, seen=seen, notes=[*source.notes, note])


PREPARATION = Classes
