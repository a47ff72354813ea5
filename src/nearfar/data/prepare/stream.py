"""``--with stream``: the training samples come in tasks, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from nearfar.data.prepare.classes_of import class_labels
from nearfar.data.prepare.roles import with_column
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.ranges import whole_number


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Every sample gets a task, in the group column "task"; a run goes through the tasks in order.

    Attributes:
        tasks: How many.
        by: "label" (each task has some of the classes), "random" (each has a random part), or the
            name of a group column (each has some of its members).
    """

    tasks: Annotated[int, whole_number(2, 1000)] = 3
    by: str = "label"

    def __call__(self, source: Source, *, seed: int) -> Source:
        train, kinds = self._kinds(source, seed)
        if kinds < self.tasks:
            raise UserError(
                f"The preparation stream makes {self.tasks} tasks by {self.by}, of which "
                f"{source.spec.name} has {kinds}; expected at most {kinds} tasks."
            )
        task = train * self.tasks // kinds
        test = None
        if source.test is not None:
            test = self._of_test(source) * self.tasks // kinds
        sizes = torch.bincount(task, minlength=self.tasks).tolist()
        note = (
            f"A stream of {self.tasks} tasks by {self.by}, of {', '.join(map(str, sizes))} samples."
        )
        names = [f"task {number}" for number in range(self.tasks)]
        return with_column(source, "task", names, task, test, note)

    def _kinds(self, source: Source, seed: int) -> tuple[torch.Tensor, int]:
        """A number of each training sample that says its task, and how many numbers there are."""
        if self.by == "label":
            return class_labels(source, "stream"), len(source.spec.classes)
        if self.by == "random":
            generator = torch.Generator().manual_seed(seed)
            count = len(source.train)
            return torch.randperm(count, generator=generator) * self.tasks // count, self.tasks
        if self.by not in source.train.group:
            known = ", ".join(("label", "random", *source.train.group))
            raise UserError(
                f"The preparation stream divides by {self.by!r}, which {source.spec.name} has not; "
                f"expected one of {known}."
            )
        return source.train.group[self.by].cpu(), len(source.members[self.by])

    def _of_test(self, source: Source) -> torch.Tensor:
        assert source.test is not None
        if self.by == "label" and source.test.label is not None:
            return source.test.label.cpu()
        if self.by in source.test.group:
            return source.test.group[self.by].cpu()
        return torch.arange(len(source.test)) * self.tasks // max(1, len(source.test))


PREPARATION = Stream
