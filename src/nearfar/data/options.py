"""How data are read: the options of ``nearfar.data.load``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name

MODALITIES = ("image", "series", "points", "video", "audio", "text", "graph", "nodes")
"""What samples can be said to be."""
FORMS = (
    "text_column",
    "image_column",
    "size",
    "modality",
    "channels",
    "volumes",
    "frames",
    "store",
    "strict",
)
"""Options that decide what a sample is, which all runs on the same data share."""


@dataclass(frozen=True)
class DataOptions:
    """How data are read. ``None`` means: chosen from the data, and stated in the source's notes
    where it is not obvious.

    Attributes:
        limit: use at most this many training samples, drawn with ``seed``; a test set that is split
            off shrinks in proportion, one that the data bring stays whole.
        seed: of the split and of the draw for ``limit``.
        split: whether a test set is split off when the data bring none; false also accepts a single
            sample.
        label: column or array with the labels.
        group: column or array whose members (a patient's samples, a speaker's) stay on one side of
            the split.
        image_column: column that holds the images; given without ``text_column``, texts are left
            out.
        text_column: column that holds the texts.
        size: side of the (square) images in pixels, steps of a series, or most tokens of a text; at
            least 1.
        vocabulary: most token ids of the tokenizer that is trained on the training texts.
        strict: refuse data with unreadable files instead of skipping them.
        modality: what the samples are, where arrays may be several things: "image", "series",
            "points" or "video".
        channels: whether the channels of arrays come "first" (N, C, ...) or "last" (N, ..., C).
        volumes: of files with several slices or pages: "first" reads the first alone, "slices" each
            as a sample, "whole" all as one clip. None: the first page of TIFF files, and the
            slices of medical volumes.
        frames: of a video that are taken, evenly chosen; 8 by default.
        store: side in pixels at which whole pictures are stored, from which views of ``size`` are
            cropped. None: what lies in the middle is stored at the size of the views.
        likely: the spec of the encoder that the data are for, which answers where arrays may be
            several things.
        cache: folder of decoded images; by default that of the machine, see
            ``nearfar.data.cache_folder``.
    """

    limit: int | None = None
    seed: int = 0
    split: bool = True
    label: str | None = None
    group: str | None = None
    image_column: str | None = None
    text_column: str | None = None
    size: int | None = None
    vocabulary: int = 4096
    strict: bool = False
    modality: str | None = None
    channels: Literal["first", "last"] | None = None
    volumes: Literal["first", "slices", "whole"] | None = None
    frames: int | None = None
    store: int | None = None
    likely: Spec | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name, said, known in (
            ("modality", self.modality, MODALITIES),
            ("channels", self.channels, ("first", "last")),
            ("volumes", self.volumes, ("first", "slices", "whole")),
        ):
            if said is not None and said not in known:
                raise unknown_name(f"data option {name}", said, known)
        for name, value in (
            ("limit", self.limit),
            ("size", self.size),
            ("frames", self.frames),
            ("store", self.store),
        ):
            if value is not None and value < 1:
                raise UserError(
                    f"The data option {name} is {value}, which leaves nothing; expected a whole "
                    "number of at least 1."
                )


def with_values(options: DataOptions | None, values: Mapping[str, Any]) -> DataOptions:
    """``options`` (or the defaults) with some values replaced.

    Raises:
        UserError: for a name that is no option, with the nearest that are.
    """
    names = {f.name for f in dataclasses.fields(DataOptions)}
    for name in values:
        if name not in names:
            raise unknown_name("data option", name, names)
    return dataclasses.replace(options or DataOptions(), **values)
