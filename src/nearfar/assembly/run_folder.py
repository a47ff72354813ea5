"""The folder of a run: which one it is, what is written before the first step, and that a run which
fails before it leaves none.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nearfar import collectives
from nearfar.data.remembered import FACTS, SAMPLES, remember
from nearfar.errors import UserError
from nearfar.files import write_text
from nearfar.options import Config
from nearfar.runs.folder import CONFIG
from nearfar.training.care.lock import LOCK, locked


def run_folder(config: Config, data_name: str) -> Path:
    """The run folder: the one asked for, the resumed one, or the first free runs/METHOD-DATA[-N];
    the first process decides.
    """
    options = config.options
    if options.resume is not None:
        return options.resume
    folder = options.output or Path("runs") / f"{config.method.rpartition(':')[2]}-{data_name}"
    if collectives.is_first() and options.output is None:
        folder = _free(folder)
    taken = folder.exists() and (
        not folder.is_dir()
        or any(path.name != LOCK and path.suffix != ".part" for path in folder.iterdir())
    )
    folder, taken = collectives.broadcast_object([str(folder), taken])
    if taken:
        raise UserError(
            f"The run folder {folder} exists and is not empty; choose another --output, or "
            f"continue it with --resume {folder}."
        )
    return Path(folder)


def begun(config: Config, folder: Path, source: Any, held: ExitStack) -> Config:
    """Lock a new run's folder and write its configuration and the facts of its data; the first
    process does.

    Args:
        config: Of the run.
        folder: Of the run.
        source: The run's data.
        held: Keeps the lock; where it is left by an error before the first step, the folder goes.

    Returns:
        The configuration with its folder written in.
    """
    if config.options.resume is not None or not collectives.is_first():
        return config
    held.enter_context(nothing_left(folder))
    held.enter_context(locked(folder))
    options = dataclasses.replace(config.options, output=folder)
    config = dataclasses.replace(config, options=options)
    write_text(folder / CONFIG, config.to_toml())
    remember(
        folder,
        str(options.data),
        source if source.raw is None else source.raw,
        config.facts,
    )
    return config


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Where the block fails before the run has left anything, remove the folder, so that it does
    not block the second try.
    """
    try:
        yield
    except BaseException:
        if folder.is_dir() and {path.name for path in folder.rglob("*") if path.is_file()} <= {
            CONFIG,
            FACTS,
            SAMPLES,
        }:
            shutil.rmtree(folder)
        raise


def _free(base: Path) -> Path:
    folder = base
    number = 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
