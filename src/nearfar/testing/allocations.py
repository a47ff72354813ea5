"""A record of the memory that tensor operations take, on any device: what still lives, and how
large the largest was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Allocations"]


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, sees the storage of every tensor that an operation gives, forwards and
    backwards.

    Attributes:
        largest: bytes of the largest storage so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self._seen: dict[int, tuple[Any, int]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {
            value.untyped_storage()._cdata
            for value in tree_leaves((args, kwargs))
            if isinstance(value, Tensor)
        }
        for value in tree_leaves(found):
            if isinstance(value, Tensor) and (place := value.untyped_storage()._cdata) not in given:
                bytes_ = value.untyped_storage().nbytes()
                self.largest = max(self.largest, bytes_)
                reference = StorageWeakRef(value.untyped_storage())  # type: ignore[no-untyped-call]
                self._seen[place] = (reference, bytes_)
        return found

    def living(self) -> int:
        """Bytes of the storages made so far that something still holds."""
        return sum(bytes_ for storage, bytes_ in self._seen.values() if not storage.expired())
