"""What is known of a data set without looking at its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from nearfar.ranges import whole_number

MOST_VALUES = 1 << 40
"""More values than any sample or set has."""


@dataclass(frozen=True)
class Spec:
    """The shape of a data set: all that networks, views and methods may know of it.

    Attributes:
        name: the data set's name or the last part of its path.
        modality: A name of ``nearfar.modalities``, such as "image"; of samples with several parts
            theirs, joined by "+".
        shape: of one sample without the batch axis: image (C, H, W), series (C, T), text (L,),
            audio (bands, T) in log-mel, video (C, F, H, W), points (3, K); () of several parts and
            of graphs.
        length: number of training samples, at least 1.
        classes: names of the classes in label order; empty when there are no class labels.
        target: "class", "classes" (a sample may have several), "value" (a real number to regress)
            or "none".
        groups: names of the group columns (patient, device, speaker).
        mean: per channel, of the training samples after scaling to floats (images to [0, 1]).
        std: per channel, likewise, never 0.
        vocabulary: number of token ids of a text part, 0 without text.
        context: longest text in tokens, 0 without text.
        extra: further facts of one modality, by name.
        values: real numbers in a label where the target is "value".
        parts: of samples with several parts, the spec of each by name, in order.
        nodes: of graphs, by name how many values are known of each node.
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
    parts: dict[str, Spec] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)

    def of(self, modality: str) -> Spec | None:
        """The spec itself, or that of the first part of this modality; None if there is none."""
        if self.modality == modality:
            return self
        return next((part for part in self.parts.values() if part.modality == modality), None)

    def part_name(self, modality: str) -> str | None:
        """The name of the first part of this modality; None if there is none."""
        return next((name for name, one in self.parts.items() if one.modality == modality), None)

    @property
    def first(self) -> Spec:
        """The first part's spec; without parts the spec itself."""
        return next(iter(self.parts.values()), self)

    @property
    def size(self) -> str:
        """The shape of one sample in words, such as "3 x 32 x 32"."""
        if self.nodes:
            return f"nodes with {sum(self.nodes.values())} values"
        if self.parts:
            return " + ".join(part.size for part in self.parts.values())
        return " x ".join(map(str, self.shape))


_PAIRS = "image-text"
"""What the modality of images with texts was called before parts had specs of their own."""


def migrated(values: Any) -> Any:
    """The fields of a spec as a file holds them, those of older files in today's form."""
    if not isinstance(values, dict) or values.get("modality") != _PAIRS:
        return values
    context = values.get("context", 0)
    shared = {name: values.get(name) for name in ("name", "length", "classes", "target", "groups")}
    shared = {name: value for name, value in shared.items() if value is not None}
    words = {"vocabulary": values.get("vocabulary", 0), "context": context}
    image = {
        name: values[name] for name in ("shape", "mean", "std", "extra", "values") if name in values
    }
    parts = {
        "image": {**shared, **image, "modality": "image"},
        "text": {**shared, **words, "modality": "text", "shape": [context]},
    }
    return {**shared, "modality": "image+text", "shape": [], "parts": parts}
