"""What a method sees of the training samples between epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nearfar.data.samples import Samples
from nearfar.evaluation.features import extract
from nearfar.methods.method import Method
from nearfar.views import plain_view


class LoadedTrainingSet:
    """``nearfar.batch.TrainingSet`` of loaded samples.

    Args:
        samples: the training samples, on the run's device.
        method: put in evaluation mode while features are made.
        seed: of the run.
    """

    def __init__(self, samples: Samples, method: Method, seed: int) -> None:
        self.label = samples.label
        self.group: Mapping[str, Tensor] = samples.group
        self.seed = seed
        self._samples = samples
        self._method = method
        self._view = plain_view(method.spec)

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, index: Tensor) -> Any:
        return self._samples.take(index)

    def plain(self, index: Tensor) -> Any:
        return self._view(self.take(index))

    def features(self, encode: Callable[[Any], Tensor]) -> Tensor:
        training = self._method.training
        self._method.eval()
        try:
            with torch.no_grad():
                return extract(encode, self._samples, self._view, device=self._samples.device)
        finally:
            self._method.train(training)
