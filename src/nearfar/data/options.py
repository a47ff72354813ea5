"""How data are read: the options of ``nearfar.data.load``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.errors import UserError, unknown_name


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
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name, value in (("limit", self.limit), ("size", self.size)):
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
