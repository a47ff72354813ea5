"""The base of all results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from nearfar.rows import Graphs, Nodes, Parts, Ragged, Tokens, concatenate, select

_ROWS = (Tensor, Tokens, Parts, Ragged, Graphs, Nodes)


class Result:
    """What a method predicts of N samples; subclasses are frozen dataclasses.

    A field that holds rows (a tensor, ``Ragged`` ...) has one for each sample; any other field says
    something of all of them.

    Class data: ``judged_as_features``, whether the encoder's features are worth judging by default
    too; ``told``, how its pictures are read.

    Example:
        >>> import torch
        >>> from nearfar.results.classes import Classes
        >>> found = Classes(torch.eye(3), ("a", "b", "c"))
        >>> len(found), len(found[1:]), len(Classes.joined([found, found[:1]]))
        (3, 2, 4)
    """

    judged_as_features: ClassVar[bool] = False
    told: ClassVar[str] = ""

    def __len__(self) -> int:
        return len(next(iter(self._rows().values())))

    def __getitem__(self, rows: Any) -> Self:
        return self._with({name: value[rows] for name, value in self._rows().items()})

    def to(self, device: Any) -> Self:
        """The same on a device."""
        return self._with({name: value.to(device) for name, value in self._rows().items()})

    def select(self, index: Tensor) -> Self:
        """Samples by number, (K,) int64."""
        return self._with({name: select(value, index) for name, value in self._rows().items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Results of consecutive samples as one."""
        first = parts[0]
        each = [part._rows() for part in parts]
        return first._with({name: concatenate([one[name] for one in each]) for name in each[0]})

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """What a table shows of each sample: column name to N plain values.

        Args:
            ids: Of the samples.
        """
        raise NotImplementedError

    def shown(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """What the terminal shows: column name to plain values, by default those of ``columns``.

        Args:
            ids: Of the samples.
        """
        return self.columns(ids)

    @classmethod
    def asked(cls, x: Any) -> Any:
        """What a method of this result is asked, made of samples that it learns from; by default
        the samples themselves.
        """
        return x

    def named(self, names: Sequence[str]) -> Self:
        """The same, with samples that the result points to called by their names; by default as it
        is.

        Args:
            names: Of all samples that were read, in their order.
        """
        return self

    def marked(self, folder: Path, ids: Sequence[str], origin: Path | None) -> list[Path]:
        """Write copies of the files that the samples came from, with what was predicted of them
        marked in; by default none.

        Args:
            folder: Made if it does not exist.
            ids: Of the samples.
            origin: The file or folder that the samples were read from; None for data by name.

        Returns:
            The written files.
        """
        return []

    def write(self, folder: Path, ids: Sequence[str]) -> list[Path]:
        """Write what a user can use into a folder; by default a table, ``predictions.parquet``.

        Args:
            folder: Made if it does not exist.
            ids: Of the samples.

        Returns:
            The written files.

        Raises:
            UserError: If one of the files exists.
        """
        from nearfar.results.writing import write_table

        return [write_table(folder / "predictions.parquet", self.columns(ids))]

    def pictures(self, samples: Any = None) -> list[str]:
        """One data address for each sample, or "" where there is no picture.

        Args:
            samples: The raw samples, of which the truth may be drawn in; None to draw what is
                predicted alone.
        """
        return [""] * len(self)

    def captions(self) -> list[str]:
        """A few words of each sample's prediction, for its picture."""
        return [""] * len(self)

    @classmethod
    def telling(cls, samples: Any) -> list[int]:
        """Numbers of raw samples in the order in which their pictures tell most."""
        return list(range(len(samples)))

    def _rows(self) -> dict[str, Any]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {name: value for name, value in values.items() if isinstance(value, _ROWS)}

    def _with(self, values: dict[str, Any]) -> Self:
        changed: Self = dataclasses.replace(self, **values)  # type: ignore[type-var]
        return changed
