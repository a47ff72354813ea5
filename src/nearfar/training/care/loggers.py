"""Callbacks that send a run's numbers to other people's trackers; ``metrics.jsonl`` is written in
any case.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.methods.method import Method
from nearfar.training.progress import Progress

Write = Callable[[int, Mapping[str, float]], None]
_PROJECT = "nearfar"
_LONGEST_PARAMETER = 500
"""Characters of a value that every kind of MLflow's stores keeps."""


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
        names: "tensorboard", "wandb", "mlflow" or "trackio"; their packages are installed.
        folder: of the run; TensorBoard's files and, without a server, MLflow's lie in it. The runs
            of the others bear its name.
        config: of the run.
        probed: gives the newest numbers of the online probe.

    """
    makers = {
        "tensorboard": _tensorboard,
        "wandb": _wandb,
        "mlflow": _mlflow,
        "trackio": _trackio,
    }
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

    run = wandb.init(project=_PROJECT, name=folder.name, dir=str(folder), config=dict(config))

    def write(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    return write, run.finish


def _mlflow(folder: Path, config: Mapping[str, Any]) -> tuple[Write, Callable[[], None]]:
    """By a client of its own, so that no run of the caller's is touched.

    Figures go where MLFLOW_TRACKING_URI says, else into a database in the run folder.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    place = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or place)
    known = client.get_experiment_by_name(_PROJECT)
    experiment = client.create_experiment(_PROJECT) if known is None else known.experiment_id
    run = client.create_run(experiment, run_name=folder.name).info.run_id
    for name, value in config.items():
        client.log_param(run, name, str(value)[:_LONGEST_PARAMETER])

    def write(step: int, values: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        client.log_batch(run, [Metric(name, value, now, step) for name, value in values.items()])

    return write, lambda: client.set_terminated(run)


def _trackio(folder: Path, config: Mapping[str, Any]) -> tuple[Write, Callable[[], None]]:
    import trackio

    told = {name: value if _is_plain(value) else str(value) for name, value in config.items()}
    run = trackio.init(project=_PROJECT, name=folder.name, config=told)

    def write(step: int, values: Mapping[str, float]) -> None:
        run.log(dict(values), step=step)

    return write, run.finish


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
