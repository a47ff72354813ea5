"""What a method is called. Imports no torch."""

from __future__ import annotations


def name_of(method: type) -> str:
    """The name under which ``get`` finds a method class."""
    module = method.__module__
    if module.startswith("nearfar.methods."):
        return module.rpartition(".")[2].replace("_", "-")
    return f"{module}:{method.__qualname__}"
