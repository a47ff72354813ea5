"""The systems, one file each, in folders by family. Called, the package prints them:
``nearfar.methods("simclr")``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is also the verb of its name: Python gives both the one attribute
    ``nearfar.methods``.
    """

    def __call__(self, name: str | None = None, **options: Any) -> None:
        """As ``nearfar methods [NAME]``."""
        from nearfar.verbs.describe import methods

        methods(name, **options)


sys.modules[__name__].__class__ = _Callable
