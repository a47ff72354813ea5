"""The best encoder by the online probe, kept beside the last, and the end of a run that no longer
gains.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nearfar.assembly.callbacks import MetricsLog, OnlineEvaluation
from nearfar.errors import UserError, counted
from nearfar.files import write_text
from nearfar.methods.method import Method
from nearfar.options import Config
from nearfar.runs.encoder_files import save_encoder
from nearfar.runs.folder import CONFIG
from nearfar.runs.method_files import save_method
from nearfar.training.progress import Progress

BEST = "best"
"""Where a run keeps its best encoder and method, as a run folder of its own."""
_CALLED = {"knn": "kNN accuracy", "r2": "R2"}
Keep = Callable[[Method, int, float], None]


class Best:
    """Watches the online probe's score: the higher, the better.

    A resumed run knows the scores from its metrics.

    Args:
        score: Name of the score in a row of metrics.
        log: Of the run.
        evaluation: The online evaluation, which is called before this.
        keep: Writes a method with its step and score; None keeps nothing.
        patience: Evaluations in a row without a higher score after which the run ends; 0: it goes
            to its end.
        tell: Gets a sentence about what was kept, and why the run ended.
    """

    def __init__(
        self,
        score: str,
        log: MetricsLog,
        evaluation: OnlineEvaluation,
        *,
        keep: Keep | None,
        patience: int,
        tell: Callable[[str], None],
    ) -> None:
        self.score = score
        self.log = log
        self.evaluation = evaluation
        self.keep = keep
        self.patience = patience
        self.tell = tell
        self.best = -float("inf")
        self.step = 0
        self.without_gain = 0

    def on_start(self, progress: Progress) -> None:
        for row in self.log.rows():
            if isinstance(row.get(self.score), float | int):
                self._is_gain(int(row["step"]), float(row[self.score]))
        self._stop(progress)

    def on_log(self, progress: Progress) -> None:
        pass

    def on_epoch(self, progress: Progress, method: Method) -> None:
        if self.evaluation.looked_at != progress.step:
            return
        score = self.evaluation.values[self.score]
        if self._is_gain(progress.step, score) and self.keep is not None:
            self.keep(method, progress.step, score)
        self._stop(progress)

    def on_end(self, progress: Progress) -> None:
        if progress.stopped:
            self.tell(progress.stopped)
        if self.keep is not None and self.step:
            self.tell(
                f"best: the online {self._told()} was highest, {self._figure()}, after step "
                f"{self.step}; encoder and method of then are in the folder {BEST} of the run"
            )

    def _is_gain(self, step: int, score: float) -> bool:
        if score > self.best:
            self.best = score
            self.step = step
            self.without_gain = 0
            return True
        self.without_gain += 1
        return False

    def _stop(self, progress: Progress) -> None:
        if self.patience and self.without_gain >= self.patience and not progress.is_over:
            progress.stopped = (
                f"Ended after step {progress.step} of {progress.steps}, as --early-stop "
                f"{self.patience} asks: the online {self._told()} has not risen over "
                f"{counted(self.without_gain, 'evaluation')}; it was highest, {self._figure()}, "
                f"after step {self.step}."
            )

    def _told(self) -> str:
        return _CALLED.get(self.score, self.score)

    def _figure(self) -> str:
        return f"{100 * self.best:.1f} %" if self.score == "knn" else f"{self.best:.3g}"


def best_of(
    config: Config,
    source: Any,
    folder: Path,
    log: MetricsLog,
    evaluation: OnlineEvaluation,
    tell: Callable[[str], None],
) -> list[Best]:
    """What watches for the best encoder, where the options ask for it.

    Raises:
        UserError: If the online probe gives no score of these data.
    """
    options = config.options
    if not (options.keep_best or options.early_stop):
        return []
    score = evaluation.probes.online.score
    if not score:
        asked = "--keep-best" if options.keep_best else "--early-stop"
        raise UserError(
            f"{asked} goes by the online probe, which has no labels of {source.spec.name} to "
            "score by: expected one class or one number a sample; name a column with --label, or "
            f"leave {asked} out."
        )

    def keep(method: Method, step: int, value: float) -> None:
        place = folder / BEST
        place.mkdir(exist_ok=True)
        own = dataclasses.replace(config, options=dataclasses.replace(options, output=place))
        write_text(place / CONFIG, own.to_toml(), overwrite=True)
        card = {"method": config.method, "data": source.spec.name, "steps": step, score: value}
        save_encoder(method.encoder, place, card, tokenizer=source.tokenizer)
        save_method(method, place, str(options.encoder))

    kept = keep if options.keep_best else None
    return [Best(score, log, evaluation, keep=kept, patience=options.early_stop or 0, tell=tell)]
