"""A run as users hold it: its folder, and every verb that takes a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from nearfar import own
from nearfar.errors import unknown_name
from nearfar.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np

    from nearfar.data import Source
    from nearfar.evaluation import Evaluation
    from nearfar.methods.method import Method
    from nearfar.networks.encoder import Encoder
    from nearfar.results.result import Result


class Run(RunFolder):
    """A finished or interrupted run.

    Args:
        folder: The run folder.
        encoder: The encoder that the run was trained with, where it is the user's own: a module or
            what makes one, or "FILE.py:NAME".
        data: Its data, where they were handed over, likewise.
        views: Its views, likewise.

    Raises:
        UserError: If the folder is not a run folder, or a file cannot be run.
    """

    interrupted = False
    """Whether the call that gave this run stopped it before its end, because it was asked to."""

    handed: own.Handed
    """The user's own objects that the run was trained with."""

    def __init__(
        self, folder: Path | str, *, encoder: Any = None, data: Any = None, views: Any = None
    ) -> None:
        super().__init__(folder)
        with own.handing(encoder=encoder, data=data, views=views):
            self.handed = own.current()

    def encoder(self) -> Encoder:
        """The trained encoder, in evaluation mode."""
        with self.handed.at_hand():
            return super().encoder()

    @overload
    def features(self) -> Encoder: ...

    @overload
    def features(
        self, samples: Any, what: Literal["global", "patch"] = "global"
    ) -> np.ndarray[Any, Any]: ...

    def features(
        self, samples: Any = None, what: Literal["global", "patch"] = "global"
    ) -> Encoder | np.ndarray[Any, Any]:
        """Features of samples, one row each or one row a place; without samples, what gives them.

        Args:
            samples: As ``embed`` takes them; None: the network itself is returned, see
                ``RunFolder.features``.
            what: "global", (N, D) as ``embed``; or "patch", (N, ..., C) float32: of each cell of an
                image (N, rows, columns, C), step of a series or point (N, L, C), or token of a text
                (N, L, C; of padding they mean nothing).

        Raises:
            UserError: If ``what`` is neither, or the encoder has no places.

        Example:
            ``run.features(images, "patch")`` of a ``vit-tiny`` on images of 32 x 32 is
            (N, 8, 8, 192).
        """
        from nearfar.verbs.embed import embed_samples, patch_features

        with self.handed.at_hand():
            if samples is None:
                return super().features()
            if what not in ("global", "patch"):
                raise unknown_name("kind of features", str(what), ("global", "patch"))
            return (embed_samples if what == "global" else patch_features)(self, samples)

    def method(self) -> Method:
        """The whole method (encoder, heads, targets), in evaluation mode; of older runs as of their
        last checkpoint.
        """
        from nearfar.assembly.opened import method_of

        with self.handed.at_hand():
            return method_of(RunFolder(self.folder))

    def source(self) -> Source:
        """The data the run was trained on, with the split that it was made with."""
        from nearfar.assembly.opened import source_of

        with self.handed.at_hand():
            return source_of(self)

    def evaluate(self, **options: Any) -> Evaluation:
        """As ``nearfar evaluate``."""
        from nearfar.verbs.evaluate import evaluate

        with self.handed.at_hand():
            return evaluate(self.folder, **options)

    def embed(self, samples: Any) -> np.ndarray[Any, Any]:
        """Features (N, D) float32 of samples: arrays, PIL pictures, paths, texts or ``Samples``, of
        any size; see ``nearfar.data.readers.given.samples_like``.
        """
        from nearfar.verbs.embed import embed_samples

        with self.handed.at_hand():
            return embed_samples(self, samples)

    def predict(self, data: str | None = None, **options: Any) -> Result:
        """As ``nearfar predict``."""
        from nearfar.verbs.predict import predict

        with self.handed.at_hand():
            return predict(self.folder, data, **options)

    def export(self, format: str | None = None, **options: Any) -> Path:  # noqa: A002
        """As ``nearfar export``."""
        from nearfar.verbs.export import export

        with self.handed.at_hand():
            return export(self.folder, format=format, **options)

    def report(self) -> Path:
        """As ``nearfar report``."""
        from nearfar.verbs.report import report

        with self.handed.at_hand():
            return report(self.folder)


def open_run(
    folder: Path | str, *, encoder: Any = None, data: Any = None, views: Any = None
) -> Run:
    """Open a run.

    Args:
        folder: The run folder.
        encoder: The encoder that the run was trained with, where it is the user's own: the same
            ``torch.nn.Module``, or what makes it, or "FILE.py:NAME". Its weights are the run's.
        data: Its data, where they were handed over, likewise.
        views: Its views, likewise; a page shows them.

    Returns:
        The run; all that it does finds these objects.

    Raises:
        UserError: If the folder is not a run folder, or a file cannot be run.
    """
    return Run(folder, encoder=encoder, data=data, views=views)
