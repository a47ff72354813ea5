"""One look at a finished run: its samples, their features, and what a linear probe and the
neighbours make of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn.functional import normalize

from nearfar import modalities
from nearfar.data import Source
from nearfar.data.labels import joined_names
from nearfar.evaluation.features import Labelled, extract
from nearfar.evaluation.probes.linear import linear_probes, ridge_probes
from nearfar.evaluation.splits import held_out
from nearfar.reports.pictures.samples import captions, pictures
from nearfar.reports.pictures.series_pictures import Scale, scale_of
from nearfar.runs.folder import RunFolder
from nearfar.views import plain_view

SHOWN = 600
PROBED = 2000
SEARCHED = 4000
_PICTURE_BYTES = 2_000_000


@dataclass(frozen=True)
class Look:
    """What the page's sections are made of; expensive parts are made once, when first asked for.

    Attributes:
        run: the run.
        source: its data.
    """

    run: RunFolder
    source: Source

    @cached_property
    def shown(self) -> Any:
        """The test samples (without any, training samples) that the page shows, drawn at random; as
        many as fit the page.
        """
        samples = self.source.test or self.source.train
        index = (
            torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:SHOWN]
            .sort()
            .values
        )
        chosen = samples.subset(index)
        drawn = self.pictures_of(chosen.take(torch.arange(len(chosen))))
        sizes = torch.tensor([len(picture) for picture in drawn]).cumsum(0)
        return chosen.subset(torch.arange(int((sizes <= _PICTURE_BYTES).sum().clamp_min(1))))

    @cached_property
    def scale(self) -> Scale | None:
        """The vertical axis of all pictures of series on the page; None for other data."""
        if not modalities.get(self.source.spec.modality).one_scale:
            return None
        samples = self.source.test or self.source.train
        some = torch.arange(0, len(samples), max(1, len(samples) // SHOWN))
        return scale_of(samples.take(some))

    @cached_property
    def pictures(self) -> list[str]:
        """A data address for each shown sample; "" for texts."""
        return self.pictures_of(self.shown.take(torch.arange(len(self.shown))))

    @cached_property
    def captions(self) -> list[str]:
        """For each shown sample its text, if it has one, or its label and name."""
        texts = captions(self.shown.take(torch.arange(len(self.shown))), self.source.tokenizer)
        return [
            text or f"{label or 'sample'} ({name})"
            for text, label, name in zip(texts, self.labels, self.shown.ids, strict=True)
        ]

    @cached_property
    def labels(self) -> list[str]:
        """The shown samples' labels as text, "" without."""
        return self.names_of(self.shown)

    @cached_property
    def features(self) -> Tensor:
        """(N, D) of the shown samples."""
        return self.features_of(self.shown)

    @cached_property
    def train(self) -> Any:
        """Training samples for probes, and to be searched for duplicates and label errors."""
        return _some(held_out(self.source)[0], SEARCHED)

    @cached_property
    def train_features(self) -> Tensor:
        """(N, D) of ``train``."""
        return self.features_of(self.train)

    @cached_property
    def predictions(self) -> Tensor | None:
        """(N, classes) probabilities that a linear probe gives the shown samples; None without
        classes.
        """
        if not self.has_classes:
            return None
        rows = torch.arange(min(PROBED, len(self.train)))
        assert self.train.label is not None
        train = Labelled(
            self.train_features[rows], self.train.label[rows], len(self.source.spec.classes)
        )
        (probe,) = linear_probes(train)
        return probe.model(self.features).softmax(dim=1)

    @cached_property
    def errors(self) -> Tensor | None:
        """(N,) predicted minus true values of a ridge probe of the shown samples; None without
        values.
        """
        if (
            self.source.spec.target != "value"
            or self.source.spec.values > 1
            or self.shown.label is None
        ):
            return None
        rows = torch.arange(min(PROBED, len(self.train)))
        (probe,) = ridge_probes(self.train_features[rows], self.train.label[rows])
        return probe.errors(self.features, self.shown.label)

    @cached_property
    def clusters(self) -> list[str]:
        """A k-means cluster of each shown sample, as many as there are classes (2 to 12, else
        8).
        """
        classes = len(self.source.spec.classes)
        count = min(classes if 2 <= classes <= 12 else 8, len(self.features))
        found = (
            KMeans(count, n_init=4, random_state=0)
            .fit(normalize(self.features, dim=1).numpy())
            .labels_
        )
        return [f"cluster {number + 1}" for number in found.tolist()]

    @property
    def has_classes(self) -> bool:
        """Whether a probe of classes is possible."""
        if (
            self.source.spec.target != "class"
            or self.shown.label is None
            or self.train.label is None
        ):
            return False
        return len(torch.unique(self.train.label)) > 1

    def pictures_of(self, samples: Any) -> list[str]:
        """A data address for each of some raw samples; "" for texts."""
        return pictures(samples, self.source.spec, self.scale)

    def features_of(self, samples: Any) -> Tensor:
        """(N, D) of samples in plain view."""
        return extract(self._encoder, samples, plain_view(self.source.spec))

    def names_of(self, samples: Any) -> list[str]:
        """Class names or values as text, "" without labels."""
        classes: Sequence[str] = self.source.spec.classes
        if samples.label is None:
            return [""] * len(samples)
        if classes and samples.label.ndim == 2:
            return [joined_names(held, classes) for held in samples.label.tolist()]
        if classes:
            return [classes[value] for value in samples.label.tolist()]
        return [
            ", ".join(f"{value:.3g}" for value in row)
            for row in samples.label.view(len(samples.label), -1).tolist()
        ]

    @cached_property
    def _encoder(self) -> Any:
        return self.run.features()


def _some(samples: Any, count: int) -> Any:
    if len(samples) <= count:
        return samples
    return samples.subset(
        torch.randperm(len(samples), generator=torch.Generator().manual_seed(1))[:count]
        .sort()
        .values
    )
