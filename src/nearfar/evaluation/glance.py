"""A glance at what a method predicts while it trains, as its protocols give it."""

from __future__ import annotations

from typing import Any

import torch

from nearfar.evaluation.features import View
from nearfar.evaluation.protocol import Row, Task, Wanted
from nearfar.evaluation.protocols import all_protocols
from nearfar.evaluation.splits import validation_part
from nearfar.methods.method import Method

_MOST = 64


class Glance:
    """The online figures of all protocols that judge what a method predicts, always of the same
    random training samples; test samples are never looked at.

    Args:
        source: The data.
        view: From samples to what the method takes.
        device: Of the method.
        most: Samples that are looked at, at most.
    """

    def __init__(
        self, source: Any, view: View, device: torch.device | str = "cpu", *, most: int = _MOST
    ) -> None:
        train, shown = validation_part(source)
        if len(shown) > most:
            drawn = torch.randperm(len(shown), generator=torch.Generator().manual_seed(0))
            shown = shown.subset(drawn[:most].sort().values)
        self.source = source
        self.train = train
        self.shown = shown
        self.view = view
        self.device = device

    def __call__(self, method: Method) -> dict[str, float]:
        """Figures by name, for a method in evaluation mode; none where it predicts nothing that a
        protocol looks at so.
        """
        if method.predicts is None or not len(self.shown):
            return {}
        wanted = Wanted(device=self.device)
        target = self.source.spec.target
        task = Task(self.source, self.train, self.shown, self.view, target, wanted, method)
        found: dict[str, float] = {}
        for protocol in all_protocols():
            fits = protocol.judges is not None and protocol.fits(task.predicts)
            if protocol.online is not None and fits and protocol.lacks(task) is None:
                row = Row("online", _no_features, task, method, method.predict)
                found |= protocol.online(row)
        return found


def _no_features(samples: Any, view: View) -> Any:
    raise RuntimeError("a glance is at what is predicted")
