"""Data by name or path: ``load(...)`` gives a ``Source`` with its training and test samples.

Importing this package imports no torch; the public names do so on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.data.content.tokenizer import Tokenizer
    from nearfar.data.loading import load
    from nearfar.data.options import DataOptions
    from nearfar.data.samples import Samples, Source

__all__ = ["DataOptions", "Samples", "Source", "Tokenizer", "load"]

_HOMES = {
    "DataOptions": "options",
    "Samples": "samples",
    "Source": "samples",
    "Tokenizer": "content.tokenizer",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
