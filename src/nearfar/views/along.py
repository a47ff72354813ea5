"""What views of series, sound and point clouds share: samples (N, C, T) that are cut and changed
along their last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.views.choice import S, Styles, settings_by_view
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class ViewsAlong:
    """``views(samples, generator)``: float32 (N, C, T) to one float32 (N, C, t) for each entry of
    ``kinds``.

    Attributes:
        spec: of the data.
        kinds: settings and length of each view, whole views first.
        prepare: from samples and spec to what all views are made from.
        augment: from that, settings, a length and the generator to one view.
    """

    spec: Spec
    kinds: tuple[tuple[Any, int], ...]
    prepare: Callable[[Tensor, Spec], Tensor]
    augment: Callable[[Tensor, Any, int, torch.Generator], Tensor]

    def __call__(self, samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        prepared = self.prepare(samples, self.spec)
        return [
            self.augment(prepared, settings, length, generator) for settings, length in self.kinds
        ]


def kinds_along(
    spec: Spec,
    wanted: WantedViews,
    styles: Styles[S],
    kind: type[S],
    settings: S | Sequence[S] | None,
) -> tuple[tuple[S, int], ...]:
    """Settings and length of each view, for ``ViewsAlong``: local views have ``round(local_size *
    T)`` steps, at least 1, others T.

    ``styles``, ``kind`` and ``settings`` are as ``settings_by_view`` takes them, and so are the
    errors.
    """
    length = spec.shape[1]
    lengths = (
        [length] * wanted.whole
        + [max(1, round(wanted.local_size * length))] * wanted.local
        + [length] * len(wanted.further)
    )
    return tuple(zip(settings_by_view(wanted, styles, kind, settings), lengths, strict=True))
