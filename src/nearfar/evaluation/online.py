"""A small probe that looks at the encoder now and then while it trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.evaluation.features import Encode, Labelled, View, extract
from nearfar.evaluation.measures.collapse import collapse_seen
from nearfar.evaluation.measures.geometry import effective_rank, relative_std
from nearfar.evaluation.probes.knn import knn_accuracy
from nearfar.evaluation.probes.linear import (
    UNVALIDATED_PENALTY,
    Probe,
    fit_logistic,
    ridge_probes,
)
from nearfar.evaluation.splits import validation_part

_TOLERANCE = 1e-2
"""Of the linear probe's minimum, in units of unit curvature: it watches, and judges nothing."""


class OnlineProbe:
    """A quick look at an encoder, always on the same random training samples; test samples are
    never looked at.

    Samples stay as the source holds them and are viewed anew each time, which costs less than
    keeping float views of large pictures.

    Args:
        source: the data; a fifth of the training samples is asked, the others are the bank.
        view: from samples to what the encoder takes.
        device: of the encoder.
        bank: most training samples.
        queries: most samples that are asked.
    """

    def __init__(
        self,
        source: Any,
        view: View,
        device: torch.device | str = "cpu",
        *,
        bank: int = 2000,
        queries: int = 1000,
    ) -> None:
        self.view = view
        self.device = device
        self.target = source.spec.target
        train, test = validation_part(source)
        self.train = _chosen(train, bank)
        self.test = _chosen(test, queries)
        self.classes = len(source.spec.classes)

    @property
    def score(self) -> str:
        """The name of the value that is higher the better the features are: "knn", "r2", or "" for
        data without such labels.
        """
        label = self.train.label
        if label is None or not len(self.test):
            return ""
        if self.target == "class":
            return "knn"
        return "r2" if self.target == "value" and label.ndim == 1 else ""

    def __call__(self, encode: Encode) -> tuple[dict[str, float], str | None]:
        """Look at an encoder in evaluation mode.

        Returns:
            "effective_rank" and "relative_std"; with class labels "knn" and, of two classes or
            more, "linear" (accuracies in [0, 1]); with values "r2" (of a ridge probe); and a
            sentence if the features have collapsed.
        """
        train = extract(encode, self.train, self.view, device=self.device)
        values = {"effective_rank": effective_rank(train), "relative_std": relative_std(train)}
        values |= self._probe(encode, train)
        warning = (
            collapse_seen(values["relative_std"], values["effective_rank"], train.shape[1])
            if len(train) >= 8
            else None
        )
        return values, warning

    def _probe(self, encode: Encode, train: Tensor) -> dict[str, float]:
        if not self.score:
            return {}
        test = extract(encode, self.test, self.view, device=self.device)
        if self.target == "class":
            bank = Labelled(train, self.train.label, self.classes)
            asked = Labelled(test, self.test.label, self.classes)
            return {"knn": knn_accuracy(bank, asked), **_linear(bank, asked)}
        (probe,) = ridge_probes(train, self.train.label)
        return {"r2": probe.explained(test, self.test.label)}


def _linear(bank: Labelled, asked: Labelled) -> dict[str, float]:
    """The accuracy of a logistic regression on the bank, which no gradient leaves; nothing where
    all are of one class. The penalty is fixed, which saves the search of the "linear" protocol.
    """
    if len(torch.unique(bank.labels)) < 2:
        return {}
    (model,) = fit_logistic(bank, (UNVALIDATED_PENALTY,), tolerance=_TOLERANCE)
    return {"linear": Probe(UNVALIDATED_PENALTY, model).accuracy(asked)}


def _chosen(samples: Any, count: int) -> Any:
    if len(samples) <= count:
        return samples
    return samples.subset(
        torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:count]
        .sort()
        .values
    )
