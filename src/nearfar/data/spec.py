"""What is known of a data set without looking at its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from nearfar.errors import UserError, unknown_name
from nearfar.ranges import whole_number

MOST_VALUES = 1 << 40
"""More values than any sample or set has."""


@dataclass(frozen=True)
class Spec:
    """The shape of a data set: all that networks, views and methods may know of it.

    Attributes:
        name: the data set's name or the last part of its path.
        modality: "image", "series", "text", "image-text", "audio", "video" or "points"; later also
            "graph", "volume".
        shape: of one sample without the batch axis: image (C, H, W), series (C, T), text (L,),
            audio (bands, T) in log-mel, video (C, F, H, W), points (3, K); of a pair, the first
            part's.
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


_AXES = {"image": 3, "series": 2, "text": 1, "image-text": 3, "audio": 2, "video": 4, "points": 2}
"""Axes of one sample."""
_MOST_IN_SAMPLE = 1 << 30
"""More values than a sample has that is trained on."""


def check_spec(spec: Spec, where: str) -> None:
    """Refuse a spec, read from a file, whose fields have the right types but do not fit together.

    Raises:
        UserError: that says what does not fit; ``where`` names the file.
    """
    axes = _AXES.get(spec.modality)
    if axes is None:
        raise unknown_name(f"modality in {where}", spec.modality, _AXES)
    if len(spec.shape) != axes:
        raise UserError(
            f"The shape in {where} has {len(spec.shape)} axes; expected {axes} for {spec.modality} "
            "data: restore it."
        )
    if math.prod(spec.shape) > _MOST_IN_SAMPLE:
        raise UserError(
            f"The shape in {where} is one of {math.prod(spec.shape):,} values; expected at most "
            f"{_MOST_IN_SAMPLE:,}."
        )
    channels = 0 if spec.modality == "text" else spec.shape[0]
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, channels) or not all(map(math.isfinite, values)):
            raise UserError(
                f"The {name} in {where} holds {len(values)} numbers; expected {channels} finite "
                "ones: restore it."
            )
    if 0 in spec.std:
        raise UserError(f"The std in {where} holds 0; expected numbers above 0: restore it.")


def part_of(spec: Spec, modality: str) -> Spec | None:
    """The spec itself, or of pairs that of their images or texts alone; None if it has nothing of
    that modality.
    """
    if spec.modality == modality:
        return spec
    if spec.modality != "image-text" or modality not in ("image", "text"):
        return None
    if modality == "image":
        return replace(spec, modality="image", vocabulary=0, context=0)
    return replace(spec, modality="text", shape=(spec.context,), mean=(), std=())
