"""A run as users hold it: its folder, and every verb that takes a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np

    from nearfar.data import Source
    from nearfar.evaluation import Evaluation
    from nearfar.methods.method import Method
    from nearfar.results.result import Result


class Run(RunFolder):
    """A finished or interrupted run.

    Args:
        folder: The run folder.

    Raises:
        UserError: If the folder is not a run folder.
    """

    interrupted = False
    """Whether the call that gave this run stopped it before its end, because it was asked to."""

    def method(self) -> Method:
        """The whole method (encoder, heads, targets), in evaluation mode; of older runs as of their
        last checkpoint.
        """
        from nearfar.assembly.opened import method_of

        return method_of(RunFolder(self.folder))

    def source(self) -> Source:
        """The data the run was trained on, with the split that it was made with."""
        from nearfar.assembly.opened import source_of

        return source_of(self)

    def evaluate(self, **options: Any) -> Evaluation:
        """As ``nearfar evaluate``."""
        from nearfar.verbs.evaluate import evaluate

        return evaluate(self.folder, **options)

    def embed(self, samples: Any) -> np.ndarray[Any, Any]:
        """Features (N, D) float32 of samples: arrays, PIL pictures, paths, texts or ``Samples``, of
        any size; see ``nearfar.data.readers.given.samples_like``.
        """
        from nearfar.verbs.embed import embed_samples

        return embed_samples(self, samples)

    def predict(self, data: str | None = None, **options: Any) -> Result:
        """As ``nearfar predict``."""
        from nearfar.verbs.predict import predict

        return predict(self.folder, data, **options)

    def export(self, format: str | None = None, **options: Any) -> Path:  # noqa: A002
        """As ``nearfar export``."""
        from nearfar.verbs.export import export

        return export(self.folder, format=format, **options)

    def report(self) -> Path:
        """As ``nearfar report``."""
        from nearfar.verbs.report import report

        return report(self.folder)
