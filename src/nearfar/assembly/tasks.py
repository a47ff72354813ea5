"""What a run through tasks delivers: a run folder for each task that is over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nearfar.files import write_text
from nearfar.methods.method import Method
from nearfar.options import Config
from nearfar.runs.encoder_files import save_encoder
from nearfar.runs.folder import CONFIG
from nearfar.runs.method_files import METHOD, save_method
from nearfar.training.branch import Branch

TASKS = "tasks"
"""Where a run keeps what it delivered, by the number of the task."""


def branch_of(config: Config, source: Any, folder: Path) -> Branch:
    """The branches of a run, delivered to ``folder/tasks/NUMBER``.

    Args:
        config: Of the run, with nothing left open.
        source: Its data.
        folder: Of the run.
    """

    def deliver(method: Method, task: int) -> None:
        place = folder / TASKS / str(task)
        place.mkdir(parents=True, exist_ok=True)
        own = dataclasses.replace(config.options, output=place)
        text = dataclasses.replace(config, options=own).to_toml()
        write_text(place / CONFIG, text, overwrite=True)
        card = {"method": config.method, "data": source.spec.name, "task": task}
        save_encoder(method.encoder, place, card, tokenizer=source.tokenizer)
        save_method(method, place, str(config.options.encoder))

    def is_delivered(task: int) -> bool:
        return (folder / TASKS / str(task) / METHOD).exists()

    return Branch(config.options.branch, deliver, is_delivered)


def delivered(folder: Path) -> list[Path]:
    """The folders of the tasks that a run has delivered, in order."""
    found = (folder / TASKS).iterdir() if (folder / TASKS).is_dir() else []
    numbered = [path for path in found if path.name.isdecimal() and (path / METHOD).exists()]
    return sorted(numbered, key=lambda path: int(path.name))
