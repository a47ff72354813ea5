"""Reference values: one file a case under ``tests/golden``, and what a test has read of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, ItemsView, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).resolve().parent / "golden"


class ReferenceCase(Mapping[str, Tensor]):
    """The arrays of one case: inputs ``in_*``, settings ``hp_*`` and results ``out_*``.

    The case remembers which results were read. ``in`` and ``get`` refuse a key that no case has,
    since what depends on such a key never runs.
    """

    def __init__(self, name: str, arrays: dict[str, Tensor]) -> None:
        self.name = name
        self.results_read: set[str] = set()
        self._arrays = arrays

    def __getitem__(self, key: str) -> Tensor:
        value = self._arrays[key]
        if key.startswith("out_") or key == "out":
            self.results_read.add(key)
        return value

    def __contains__(self, key: object) -> bool:
        assert key in _all_keys(), (
            f"no reference case has the key {key}, so what depends on it never runs"
        )
        return key in self._arrays

    def get(self, key: str, default: Tensor | None = None) -> Tensor | None:
        """The array of that name, or the default where this case lacks it and another case has
        it.
        """
        known = key in self
        return self[key] if known else default

    def items(self) -> ItemsView[str, Tensor]:
        """Names and arrays; none of them counts as read."""
        return self._arrays.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def expect_that_a_result_was_read(self) -> None:
        """Fail unless the test has read one of the results."""
        assert self.results_read, (
            f"the test loads {self.name} and reads none of its results (out_*): it compares nothing"
        )


def load_reference(name: str) -> ReferenceCase:
    """The case of that name; a missing file is an error."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        numbers = {
            key: np.asarray(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiub"
        }
    return ReferenceCase(name, {key: torch.from_numpy(value) for key, value in numbers.items()})


@contextmanager
def comparison() -> Iterator[Callable[[str], ReferenceCase]]:
    """``load_reference`` for one test; at the end, every case must have been compared and there
    must be one.
    """
    loaded: list[ReferenceCase] = []

    def load(name: str) -> ReferenceCase:
        loaded.append(load_reference(name))
        return loaded[-1]

    yield load
    assert loaded, "the test asks for reference values and loads none"
    for case in loaded:
        case.expect_that_a_result_was_read()


def reference_names(pattern: str) -> list[str]:
    """Names of the cases that match a pattern ("b-hydra-loss-*"); none is an error."""
    names = sorted(path.stem for path in GOLDEN.glob(f"{pattern}.npz"))
    assert names, f"no reference case matches {pattern}"
    return names


@functools.cache
def _all_keys() -> frozenset[str]:
    """The names of all arrays in all cases."""
    keys: set[str] = set()
    for path in GOLDEN.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            keys.update(arrays.files)
    return frozenset(keys)
