"""``--with label-noise``: some training labels are made wrong.

Source: Patrini et al. 2017 (symmetric and pair noise); Zhang et al. 2023 (RCAL), section 5.1
(frequency).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from nearfar.data.prepare.classes_of import class_labels
from nearfar.data.samples import Source
from nearfar.ranges import unit_interval

CLEAN = "clean label"
"""Where protocols find the labels before noise; no method sees them."""


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Some training labels become those of other classes; test labels stay.

    Attributes:
        rate: Share of the training labels that are wrong.
        kind: "symmetric" (any other class alike), "pair" (the next class) or "frequency" (another
            class in proportion to how often it occurs).
    """

    rate: Annotated[float, unit_interval(one=False)] = 0.4
    kind: Literal["symmetric", "pair", "frequency"] = "symmetric"

    def __call__(self, source: Source, *, seed: int) -> Source:
        label = class_labels(source, "label-noise")
        noisy = with_noise(label, len(source.spec.classes), self.rate, self.kind, seed=seed)
        changed = int((noisy != label).sum())
        train = replace(
            source.train,
            label=noisy,
            annotations={**source.train.annotations, CLEAN: label},
        )
        note = f"{changed:,} of {len(label):,} training labels were made wrong ({self.kind} noise)."
        return replace(source, train=train, notes=[*source.notes, note])


def with_noise(label: Tensor, classes: int, rate: float, kind: str, *, seed: int) -> Tensor:
    """Labels of which exactly ``round(rate N)`` are wrong.

    Args:
        label: (N,) int64 in [0, classes).
        classes: At least 2.
        rate: Share of wrong labels, in [0, 1).
        kind: As for ``LabelNoise``.
        seed: Of the draws.

    Returns:
        (N,) int64.

    Example:
        >>> found = with_noise(torch.zeros(10, dtype=torch.int64), 3, 0.4, "pair", seed=0)
        >>> found.sum().item()
        4
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(label), generator=generator)[: round(rate * len(label))]
    old = label[chosen]
    if kind == "pair":
        new = (old + 1) % classes
    else:
        counts = torch.bincount(label, minlength=classes).double()
        likely = torch.ones(classes).double() if kind == "symmetric" else counts
        weights = likely.expand(len(old), classes).clone()
        weights[torch.arange(len(old)), old] = 0
        # A class that is alone among the labels has no other in proportion: any will do.
        weights[weights.sum(1) == 0] = 1
        weights[torch.arange(len(old)), old] = 0
        new = torch.multinomial(weights, 1, generator=generator)[:, 0] if len(old) else old
    noisy = label.clone()
    noisy[chosen] = new
    return noisy


PREPARATION = LabelNoise
