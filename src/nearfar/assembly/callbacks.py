"""What watches a run: the metrics file, the live display, the online probe with its collapse
alarm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn

from nearfar.evaluation.kernels.similarities import SimilarityProbe
from nearfar.evaluation.measures.collapse import projections_collapsed
from nearfar.evaluation.online import OnlineProbe
from nearfar.files import write_text, writing
from nearfar.methods.method import Method
from nearfar.runs.folder import read_rows
from nearfar.stored import with_null
from nearfar.training.progress import Progress

COSINES = "projection_cosines"
"""Name in a row of metrics: by head, the mean cosine of different samples' projections."""

GLANCE = "glance"
"""Name in a row of metrics: the names of the figures of what the method predicts."""


def _line(row: dict[str, Any]) -> str:
    return json.dumps(with_null(row), allow_nan=False) + "\n"


class MetricsLog:
    """Appends one JSON object a line to ``metrics.jsonl``, with null for what is not finite; on
    resuming, drops the lines written after the checkpoint.

    Args:
        folder: of the run.
        tell: gets a sentence where lines were damaged and are cut.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.path = folder / "metrics.jsonl"
        self.tell = tell
        self.started = time.time()

    def on_start(self, progress: Progress) -> None:
        if self.path.exists():
            rows, damaged = read_rows(self.path)
            if damaged:
                self.tell(
                    f"{self.path} had {damaged} damaged line(s), as a full disk or a power cut "
                    "leaves them; they were cut."
                )
            kept = [row for row in rows if row["step"] <= progress.step]
            write_text(self.path, "".join(_line(row) for row in kept), overwrite=True)

    def alarms(self) -> list[str]:
        """The alarms that the run has raised so far."""
        return [str(row["alarm"]) for row in self.rows() if "alarm" in row]

    def rows(self) -> list[dict[str, Any]]:
        """What was written so far."""
        return read_rows(self.path)[0] if self.path.exists() else []

    def on_log(self, progress: Progress) -> None:
        self.write(
            progress,
            loss=progress.terms["loss"],
            terms={name: value for name, value in progress.terms.items() if name != "loss"},
            learning_rate=progress.learning_rate,
            samples_per_second=round(progress.samples_per_second, 1),
        )

    def on_epoch(self, progress: Progress, method: Method) -> None:
        pass

    def on_end(self, progress: Progress) -> None:
        pass

    def write(self, progress: Progress, **values: Any) -> None:
        """Append one row: step, epoch, seconds since the start, and the values."""
        seconds = round(time.time() - self.started, 3)
        row = {
            "step": progress.step,
            "epoch": progress.step / progress.steps_per_epoch,
            "seconds": seconds,
            **values,
        }
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


class Display:
    """One live line: share done, loss, samples/s, kNN accuracy, time left; where there is no
    terminal, a line at each tenth.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.health: dict[str, float] = {}
        self.seen: dict[str, float] = {}
        texts = [
            TextColumn(text)
            for text in ("{task.description}", "{task.percentage:>3.0f} %", "{task.fields[text]}")
        ]
        columns = (texts[0], BarColumn(), *texts[1:])
        self._bar = rich.progress.Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=console.is_jupyter or not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._tenth = -1

    def on_start(self, progress: Progress) -> None:
        self._task = self._bar.add_task(
            "training", total=progress.steps, completed=progress.step, text=""
        )
        self._bar.start()

    def on_log(self, progress: Progress) -> None:
        text = f"loss {progress.terms['loss']:.3f} · {progress.samples_per_second:,.0f} samples/s"
        if "knn" in self.health:
            text += f" · kNN {100 * self.health['knn']:.1f} %"
        if "linear" in self.health:
            text += f" · linear {100 * self.health['linear']:.1f} %"
        text += "".join(f" · {name} {value:.3g}" for name, value in self.seen.items())
        assert self._task is not None
        self._bar.update(self._task, completed=progress.step, text=text)
        tenth = 10 * progress.step // progress.steps
        if not self.console.is_terminal and tenth > self._tenth:
            self.console.print(f"step {progress.step} of {progress.steps} · {text}")
            self._tenth = tenth

    def on_epoch(self, progress: Progress, method: Method) -> None:
        pass

    def on_end(self, progress: Progress) -> None:
        self._bar.stop()


class Probes(NamedTuple):
    """What looks at the encoder now and then."""

    online: OnlineProbe
    similarities: SimilarityProbe
    projections: Callable[[Method], dict[str, float]] = lambda _: {}
    glance: Callable[[Method], dict[str, float]] = lambda _: {}


class OnlineEvaluation:
    """Every few epochs: kNN and linear accuracy and effective rank of the encoder as it stands, a
    glance at what the method predicts, and the alarms of collapse and of the method.

    Attributes:
        looked_at: Step of the last look of this process.
        values: What it found.
    """

    def __init__(
        self,
        probes: Probes,
        every: int,
        log: MetricsLog,
        display: Display,
        alarm: Callable[[str], None],
    ) -> None:
        self.probes = probes
        self.every = every
        self.log = log
        self.display = display
        self.alarm = alarm
        self.looked_at = -1
        self.values: dict[str, float] = {}
        self._alarmed = False
        self._cosines: dict[str, list[float]] = {}

    def on_start(self, progress: Progress) -> None:
        """A resumed run has raised its alarm, and seen its projections, before."""
        self._alarmed = bool(self.log.alarms())
        for row in self.log.rows():
            self._remember(row.get(COSINES, {}))

    def _remember(self, cosines: Mapping[str, float]) -> None:
        for head, cosine in cosines.items():
            self._cosines.setdefault(head, []).append(cosine)

    def on_log(self, progress: Progress) -> None:
        pass

    def on_epoch(self, progress: Progress, method: Method) -> None:
        if progress.epoch % self.every and progress.step < progress.steps:
            return
        method.eval()
        values, warning = self.probes.online(method.encode)
        if method.predicts is not None and not method.predicts.judged_as_features:
            warning = None  # what counts is what is predicted; its features may lie close together
        histograms = self.probes.similarities(method.encode)
        seen = self.probes.glance(method)
        values = {**values, **seen}
        cosines = self.probes.projections(method)
        self._remember(cosines)
        share = progress.step / progress.steps
        flat = (projections_collapsed(head, self._cosines[head], share) for head in cosines)
        warning = warning or next(filter(None, flat), None) or method.alarm(progress.terms)
        method.train()
        self.looked_at = progress.step
        self.values = values
        self.display.health = values
        self.display.seen = seen
        self.log.write(
            progress,
            **values,
            **histograms,
            **({COSINES: cosines} if cosines else {}),
            **({GLANCE: sorted(seen)} if seen else {}),
        )
        if warning and not self._alarmed:
            self.log.write(progress, alarm=warning)
            self.alarm(warning)
            self._alarmed = True

    def on_end(self, progress: Progress) -> None:
        pass
