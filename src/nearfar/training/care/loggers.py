"""Callbacks that send a run's numbers to other people's trackers; ``metrics.jsonl`` is written in
any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.methods.method import Method
from nearfar.training.progress import Progress

Write = Callable[[int, Mapping[str, float]], None]


class Tracker:
    """Sends loss, terms, learning rate and speed with each log, and the online probe's numbers with
    each epoch.

    Args:
        write: takes the step and numbers by name.
        close: called at the end.
        probed: gives the newest numbers of the online probe.
    """

    def __init__(
        self, write: Write, close: Callable[[], None], probed: Callable[[], Mapping[str, float]]
    ) -> None:
        self.write = write
        self.close = close
        self.probed = probed

    def on_start(self, progress: Progress) -> None:
        pass

    def on_log(self, progress: Progress) -> None:
        values = {
            "learning_rate": progress.learning_rate,
            "samples_per_second": progress.samples_per_second,
        }
        self.write(
            progress.step,
            {**{f"train/{name}": value for name, value in progress.terms.items()}, **values},
        )

    def on_epoch(self, progress: Progress, method: Method) -> None:
        self.write(progress.step, {f"probe/{name}": value for name, value in self.probed().items()})

    def on_end(self, progress: Progress) -> None:
        self.close()


def trackers(
    names: Sequence[str],
    folder: Path,
    config: Mapping[str, Any],
    probed: Callable[[], Mapping[str, float]],
) -> list[Tracker]:
    """The trackers that were asked for.

    Args:
        names: "tensorboard" or "wandb"; their packages are installed.
        folder: of the run; TensorBoard's files lie in it, W&B's run bears its name.
        config: of the run.
        probed: gives the newest numbers of the online probe.

    """
    makers = {"tensorboard": _tensorboard, "wandb": _wandb}
    return [Tracker(*makers[name](folder, config), probed) for name in names]


def _tensorboard(folder: Path, config: Mapping[str, Any]) -> tuple[Write, Callable[[], None]]:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return write, writer.close


def _wandb(folder: Path, config: Mapping[str, Any]) -> tuple[Write, Callable[[], None]]:
    import wandb

    run = wandb.init(project="nearfar", name=folder.name, dir=str(folder), config=dict(config))

    def write(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    return write, run.finish
