"""What is known of a data set without looking at its samples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from nearfar.ranges import whole_number

MOST_VALUES = 1 << 40
"""More values than any sample or set has."""


@dataclass(frozen=True)
class Spec:
    """The shape of a data set: all that networks, views and methods may know of it.

    Attributes:
        name: the data set's name or the last part of its path.
        modality: "image", "series", "text", "image-text", "audio", "video" or "points"; later also "graph", "volume".
        shape: of one sample without the batch axis: image (C, H, W), series (C, T), text (L,), audio (bands, T) in log-mel, video
            (C, F, H, W), points (3, K); of a pair, the first part's.
        length: number of training samples, at least 1.
        classes: names of the classes in label order; empty when there are no class labels.
        target: "class", "value" (a real number to regress) or "none".
        groups: names of the group columns (patient, device, speaker).
        mean: per channel, of the training samples after scaling to floats (images to [0, 1]).
        std: per channel, likewise, never 0.
        vocabulary: number of token ids of a text part, 0 without text.
        context: longest text in tokens, 0 without text.
        extra: further facts of one modality, by name.
        values: real numbers in a label where the target is "value".
    """

    name: str
    modality: str
    shape: tuple[Annotated[int, whole_number(1, MOST_VALUES)], ...]
    length: Annotated[int, whole_number(0, MOST_VALUES)]
    classes: tuple[str, ...] = ()
    target: str = "none"
    groups: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    vocabulary: Annotated[int, whole_number(0, 1 << 24)] = 0
    context: Annotated[int, whole_number(0, 1 << 24)] = 0
    extra: dict[str, Any] = field(default_factory=dict)
    values: Annotated[int, whole_number(1, 1 << 20)] = 1


def part_of(spec: Spec, modality: str) -> Spec | None:
    """The spec itself, or of pairs that of their images or texts alone; None if it has nothing of that modality."""
    if spec.modality == modality:
        return spec
    if spec.modality != "image-text" or modality not in ("image", "text"):
        return None
    if modality == "image":
        return replace(spec, modality="image", vocabulary=0, context=0)
    return replace(spec, modality="text", shape=(spec.context,), mean=(), std=())
