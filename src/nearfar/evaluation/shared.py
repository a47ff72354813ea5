"""Rows of an evaluation that other runs have judged already: the same encoder on the same data
gives the same scores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nearfar.errors import UserError
from nearfar.evaluation.answers import Answers
from nearfar.evaluation.result import Evaluation
from nearfar.files import write_text
from nearfar.rows import tensors_of

_BLOCK = 1024


@dataclass(frozen=True)
class SharedRows:
    """A folder of judged rows.

    Attributes:
        folder: where they lie; made when the first is written.
        encoders: for each row that may be shared what makes its encoder, in words; "" for the raw
            input.
        about: whatever else the scores depend on, in words: the view, the version of the program.
    """

    folder: Path
    encoders: dict[str, str]
    about: str = ""

    def read(self, row: str, key: str) -> Evaluation | None:
        """A row's scores and answers, if they were judged before; a damaged file counts as none."""
        path = self._path(row, key)
        if not path.is_file():
            return None
        try:
            found = Evaluation.from_json(
                path.read_text(encoding="utf-8", errors="replace"), str(path)
            )
        except UserError:
            return None
        return dataclasses.replace(found, answers=Answers.read(path.with_suffix(".npz")))

    def write(self, row: str, key: str, judged: Evaluation) -> None:
        """Keep a row's scores and answers."""
        path = self._path(row, key)
        judged.answers.write(path.with_suffix(".npz"))
        write_text(path, judged.to_json(), overwrite=True)

    def _path(self, row: str, key: str) -> Path:
        told = json.dumps([row, self.encoders[row], self.about, key])
        return self.folder / f"{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}.json"


@dataclass(frozen=True)
class Judged:
    """What decides the scores of an encoder beside the encoder itself.

    Attributes:
        train: training samples.
        test: test samples.
        protocols: versioned names.
        seeds: validation splits.
    """

    train: Any
    test: Any
    protocols: tuple[str, ...]
    seeds: int

    @cached_property
    def key(self) -> str:
        """A fingerprint of the samples' content, labels and groups, of the protocols and of the
        number of seeds.
        """
        digest = hashlib.blake2b(json.dumps([self.protocols, self.seeds]).encode(), digest_size=16)
        for samples in (self.train, self.test):
            digest.update("\0".join(samples.ids).encode("utf-8", "surrogatepass"))
            for block in _content(samples):
                digest.update(block)
        return digest.hexdigest()


def _content(samples: Any) -> Iterable[bytes]:
    for rows in torch.split(torch.arange(len(samples)), _BLOCK):
        for tensor in tensors_of(samples.take(rows)):
            array = tensor.cpu().numpy()
            yield repr((array.dtype, array.shape)).encode() + array.tobytes()
    if samples.label is not None:
        yield samples.label.cpu().numpy().tobytes()
    for name, value in sorted(samples.group.items()):
        yield name.encode() + value.cpu().numpy().tobytes()
