"""A small probe that looks at the encoder now and then while it trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.evaluation.collapse import collapse
from nearfar.evaluation.features import Encode, Labelled, View, extract
from nearfar.evaluation.geometry import effective_rank, relative_std
from nearfar.evaluation.knn import knn_accuracy


class OnlineProbe:
    """kNN accuracy (with class labels), effective rank, spread, and the collapse alarm, on fixed random samples.

    Args:
        source: the data; where they have no test samples, a fifth of the chosen training samples is held out.
        view: from samples to what the encoder takes.
        device: of the encoder.
        bank: most training samples.
        queries: most test samples.
    """

    def __init__(self, source: Any, view: View, device: torch.device | str = "cpu", *, bank: int = 2000, queries: int = 1000) -> None:
        self.view, self.device = view, device
        train, held_out = _chosen(source.train, bank + (0 if source.test else bank // 4)), source.test
        if held_out is None:
            train, held_out = train.subset(_every(len(train), 5, others=True)), train.subset(_every(len(train), 5))
        self.train, self.test = train, _chosen(held_out, queries)
        self.classes = len(source.spec.classes) if source.spec.target == "class" else 0

    def __call__(self, encode: Encode) -> tuple[dict[str, float], str | None]:
        """Values by name, and a sentence if the features have collapsed; ``encode`` is in evaluation mode."""
        train = self._features(encode, self.train)
        values = {"effective_rank": effective_rank(train), "relative_std": relative_std(train)}
        if self.classes > 1 and len(self.test):
            test = self._features(encode, self.test)
            bank, queries = (Labelled(f, s.label, self.classes) for f, s in ((train, self.train), (test, self.test)))
            values["knn"] = knn_accuracy(bank, queries)
        return values, collapse(train)

    def _features(self, encode: Encode, samples: Any) -> Tensor:
        return extract(encode, samples, self.view, device=self.device)


def _chosen(samples: Any, count: int) -> Any:
    if len(samples) <= count:
        return samples
    return samples.subset(torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:count].sort().values)


def _every(length: int, step: int, *, others: bool = False) -> Tensor:
    chosen = torch.arange(length) % step == 0
    return (~chosen if others else chosen).nonzero()[:, 0]
