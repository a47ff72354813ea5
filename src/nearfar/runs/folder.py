"""A run folder: everything one pretraining left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import UserError
from nearfar.options import Config, read_config
from nearfar.runs.bundle import bundled, is_bundled
from nearfar.stored import check_file, finite_number, with_nan

if TYPE_CHECKING:
    from nearfar.evaluation import Evaluation
    from nearfar.methods.method import Method
    from nearfar.networks.encoder import Encoder
    from nearfar.results.result import Result

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
EVALUATION = "evaluation.json"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"


def read_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole rows of a ``metrics.jsonl`` in order, null as NaN, and how many lines are
    damaged.
    """
    rows: list[dict[str, Any]] = []
    check_file(path, "restore it, or remove it: what else the run holds is left as it is")
    lines = [
        line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line
    ]
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        step = row.get("step") if isinstance(row, dict) else None
        if finite_number(step) is not None:
            rows.append(with_nan(row))
    return rows, len(lines) - len(rows)


class RunFolder:
    """What the folder of a finished or interrupted run holds.

    It stands for the path of its folder wherever a path is taken, as in
    ``nearfar.evaluate(run)``.

    Args:
        folder: the run folder, or ``nearfar:NAME`` for an encoder of the wheel nearfar-models.

    Raises:
        UserError: if the folder is not a run folder.
    """

    def __init__(self, folder: os.PathLike[str] | str) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise UserError(
                f"A run was given as {type(folder).__name__}; give its folder, or a nearfar.Run."
            )
        self.folder = bundled(folder) if is_bundled(folder) else Path(folder)
        if (self.folder / CONFIG).is_file():
            return
        if any((self.folder / CHECKPOINTS).glob("step-*.pt")):
            raise UserError(
                f"{self.folder} has lost its {CONFIG}; `nearfar pretrain --resume {self.folder}` "
                "restores it from a checkpoint."
            )
        raise UserError(
            f"{self.folder} is not a run folder: it has no {CONFIG}; give a folder that `nearfar "
            "pretrain` made."
        )

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    @property
    def config(self) -> Config:
        """The resolved configuration, enough to repeat the run."""
        return read_config(self.folder / CONFIG)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl`` in order."""
        path = self.folder / METRICS
        return read_rows(path)[0] if os.path.lexists(path) else []

    def encoder(self) -> Encoder:
        """The trained encoder, in evaluation mode."""
        from nearfar.runs.encoder_files import load_encoder

        if not os.path.lexists(self.folder / "encoder.json"):
            raise UserError(
                f"{self.folder} holds no encoder yet; finish it with `nearfar pretrain --resume "
                f"{self.folder}`."
            )
        return load_encoder(self.folder)[0].eval()

    @property
    def predicts(self) -> type[Result] | None:
        """What the run's method predicts; None where features are all there is, or the method is
        not known here.
        """
        kind = self._kind()
        return None if kind is None else kind.predicts

    def _kind(self) -> type[Method] | None:
        """The class of the run's method, if it is one of ours or imported already."""
        from nearfar.methods import registry

        method = self.config.method
        is_known = ":" not in method or method.partition(":")[0] in sys.modules
        return registry.get(method) if is_known else None

    def features(self) -> Encoder:
        """What gives the run's features: its encoder, or its method where that has an ``encode`` of
        its own; in evaluation mode.
        """
        from nearfar.runs.method_files import METHOD, Encoding, has_own_features

        encoder = self.encoder()
        kind = self._kind()
        if kind is None or not has_own_features(kind):
            return encoder
        if not (self.folder / METHOD).exists():
            return encoder
        return Encoding(self.method()).eval()

    def method(self) -> Method:
        """The whole method (encoder, heads, targets), in evaluation mode.

        Raises:
            UserError: If the folder holds no method, or a damaged one.
        """
        from nearfar.runs.method_files import open_method

        return open_method(self.folder)

    def evaluation(self) -> Evaluation | None:
        """The stored evaluation, if there is one."""
        from nearfar.evaluation import Evaluation
        from nearfar.evaluation.answers import ANSWERS, Answers
        from nearfar.evaluation.result import MEND
        from nearfar.stored import read_text

        path = self.folder / EVALUATION
        if not os.path.lexists(path):
            return None
        found = Evaluation.from_json(read_text(path, MEND), str(path))
        return dataclasses.replace(found, answers=Answers.read(self.folder / ANSWERS))
