"""How similar two views of one sample are, and views of different samples: the two histograms that
a contrast is about.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.evaluation.features import Encode, View, extract
from nearfar.views import make_views
from nearfar.views.wanted import WantedViews

BINS = 40
_MOST = 256  # samples, so that there are 256 positives and 65,280 negatives


def histograms(first: Tensor, second: Tensor) -> dict[str, list[float]]:
    """Shares of cosines in ``BINS`` equal bins from -1 to 1.

    Args:
        first: (N, D) features of a view, N at least 2.
        second: (N, D) of another view of the same samples.

    Returns:
        "positive_similarity" (of the N pairs of one sample) and "negative_similarity" (of all
        others), each summing to 1.
    """
    cosine = (normalize(first, dim=1) @ normalize(second, dim=1).T).clamp(-1, 1)
    own = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    parts = {"positive_similarity": cosine[own], "negative_similarity": cosine[~own]}
    return {name: [round(share, 5) for share in _shares(values)] for name, values in parts.items()}


def _shares(values: Tensor) -> list[float]:
    counts = torch.histc(values.float().cpu(), BINS, -1, 1)
    shares: list[float] = (counts / counts.sum()).tolist()
    return shares


class SimilarityProbe:
    """The two histograms of an encoder's features, always of the same views of the same samples.

    Args:
        source: the data.
        device: of the encoder.
    """

    def __init__(self, source: Any, device: torch.device | str = "cpu") -> None:
        count = min(_MOST, len(source.train))
        self.samples = source.train.subset(
            torch.randperm(len(source.train), generator=torch.Generator().manual_seed(0))[:count]
        )
        self.views = make_views(source.spec, WantedViews(whole=2))
        self.device = device

    def __call__(self, encode: Encode) -> dict[str, list[float]]:
        """As ``histograms``; the encoder is in evaluation mode."""
        first, second = (
            extract(encode, self.samples, view, device=self.device)
            for view in (self._view(0), self._view(1))
        )
        return histograms(first, second)

    def _view(self, number: int) -> View:
        generator = torch.Generator().manual_seed(number)
        return lambda samples: self.views(samples, generator)[number]
