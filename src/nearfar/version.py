"""The version of nearfar, ``__version__``: of the installed package, made from the tags of git.

It is looked up when it is first asked for, as the library that reads it takes a while to import.
"""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import metadata

    try:
        found = metadata.version("nearfar")
    except metadata.PackageNotFoundError:
        found = "0+uninstalled"
    globals()["__version__"] = found
    return found
