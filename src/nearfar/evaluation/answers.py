"""What each test sample adds to a score, kept beside an evaluation so that finished runs can be
compared sample by sample.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.files import replacing

ANSWERS = "evaluation-samples.npz"
"""Name of the file in a run folder."""
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Answers:
    """Per-sample values of some scores.

    Attributes:
        test: fingerprint of the test samples; values of equal ones can be paired.
        values: for (metric, row) the values (N,) float32 whose mean is the score: for an accuracy
            the share of probes that were right about the sample.
    """

    test: str = ""
    values: Mapping[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict)

    def of(self, metric: str, row: str, score: float) -> NDArray[np.float64] | None:
        """The values behind a score; None where there are none, or they are of another
        evaluation.
        """
        found = self.values.get((metric, row))
        if found is None or abs(float(found.mean(dtype=np.float64)) - score) > _ROUNDING:
            return None
        return found.astype(np.float64)

    def updated(self, other: Answers) -> Answers:
        """These values with those of a later evaluation; only the later ones where the test samples
        are others.
        """
        return (
            other
            if self.test != other.test
            else Answers(self.test, {**self.values, **other.values})
        )

    def write(self, path: Path) -> None:
        """Write the file, replacing an older one."""
        keys = list(self.values)
        arrays: dict[str, Any] = {str(place): self.values[key] for place, key in enumerate(keys)}
        names = np.array([list(key) for key in keys], dtype=np.str_).reshape(len(keys), 2)
        with replacing(path, overwrite=True) as temporary, temporary.open("wb") as opened:
            np.savez_compressed(
                opened, test=np.array(self.test, dtype=np.str_), names=names, **arrays
            )

    @classmethod
    def read(cls, path: Path) -> Answers:
        """The inverse of ``write``. A missing or damaged file is empty: what it held only sharpens
        a comparison.
        """
        from nearfar.data.readers.npz import check_archive

        if not path.is_file():
            return cls()
        try:
            with path.open("rb") as opened:
                check_archive(path, zipfile.ZipFile(opened))
                opened.seek(0)
                with np.load(opened, allow_pickle=False) as found:
                    names = found["names"].tolist()
                    values = {
                        (metric, row): _checked(found[str(place)])
                        for place, (metric, row) in enumerate(names)
                    }
                    return cls(str(found["test"]), values)
        except (
            Exception
        ):  # the archive, its compression and the arrays in it raise errors of their own
            return cls()


def fingerprint(samples: Any) -> str:
    """Of the names and labels of test samples."""
    digest = hashlib.blake2b(
        "\0".join(samples.ids).encode("utf-8", "surrogatepass"), digest_size=16
    )
    if samples.label is not None:
        digest.update(samples.label.cpu().numpy().tobytes())
    return digest.hexdigest()


def _checked(values: NDArray[Any]) -> NDArray[np.float32]:
    if (
        values.ndim != 1
        or not len(values)
        or values.dtype != np.float32
        or not np.isfinite(values).all()
    ):
        raise ValueError(f"values of shape {values.shape} and type {values.dtype}")
    return values
