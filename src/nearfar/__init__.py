"""nearfar: self-supervised and contrastive representation learning.

Every verb of the command line is a function here: ``nearfar.pretrain("simclr",
data="cluttered-digits")`` gives a ``Run``. Nothing heavy is imported before the first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.verbs.advise import advise
    from nearfar.verbs.claim import claim
    from nearfar.verbs.compare import compare
    from nearfar.verbs.describe import datasets, doctor, methods
    from nearfar.verbs.embed import embed
    from nearfar.verbs.evaluate import evaluate
    from nearfar.verbs.export import export
    from nearfar.verbs.predict import predict
    from nearfar.verbs.pretrain import pretrain
    from nearfar.verbs.push import push
    from nearfar.verbs.report import report
    from nearfar.verbs.run import Run, open_run
    from nearfar.verbs.search import dedupe, label, search
    from nearfar.verbs.study import study
    from nearfar.version import __version__

__all__ = [
    "Run",
    "__version__",
    "advise",
    "claim",
    "compare",
    "datasets",
    "dedupe",
    "doctor",
    "embed",
    "evaluate",
    "export",
    "label",
    "methods",
    "open_run",
    "predict",
    "pretrain",
    "push",
    "report",
    "search",
    "study",
]

HOMES = {  # in which module each public name is found
    "__version__": "nearfar.version",
    "Run": "nearfar.verbs.run",
    "advise": "nearfar.verbs.advise",
    "claim": "nearfar.verbs.claim",
    "compare": "nearfar.verbs.compare",
    "datasets": "nearfar.verbs.describe",
    "doctor": "nearfar.verbs.describe",
    "embed": "nearfar.verbs.embed",
    "evaluate": "nearfar.verbs.evaluate",
    "export": "nearfar.verbs.export",
    "methods": "nearfar.verbs.describe",
    "open_run": "nearfar.verbs.run",
    "predict": "nearfar.verbs.predict",
    "pretrain": "nearfar.verbs.pretrain",
    "push": "nearfar.verbs.push",
    "report": "nearfar.verbs.report",
    "dedupe": "nearfar.verbs.search",
    "label": "nearfar.verbs.search",
    "search": "nearfar.verbs.search",
    "study": "nearfar.verbs.study",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'nearfar' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
