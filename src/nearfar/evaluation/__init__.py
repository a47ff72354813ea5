"""Is a representation any good? Versioned protocols on features that are computed once."""

from __future__ import annotations

from nearfar.evaluation.judge import evaluate
from nearfar.evaluation.protocol import Wanted
from nearfar.evaluation.result import Evaluation, Score

__all__ = ["Evaluation", "Score", "Wanted", "evaluate"]
