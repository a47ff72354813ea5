"""A comparison of any finished runs, however they were started."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

from nearfar.comparison.budgets import spent_by
from nearfar.comparison.result import Comparison, Entry
from nearfar.errors import UserError, counted
from nearfar.networks.catalogue import short
from nearfar.runs.folder import RunFolder
from nearfar.stored import field_of, finite_number, read_json

MEMORY = "memory.json"


def entry_of(run: RunFolder, arm: str, settings: dict[str, Any]) -> Entry:
    """One finished run as an entry of an arm.

    Raises:
        UserError: if it has not been judged.
    """
    memory = run.folder / MEMORY
    evaluation = run.evaluation()
    config = run.config
    if evaluation is None:
        raise UserError(
            f"{run.folder} has not been judged; run `nearfar evaluate {run.folder}` first."
        )
    rows = run.metrics()
    speeds = [
        number
        for row in rows
        if (number := finite_number(row.get("samples_per_second"))) is not None
    ]
    peak = math.nan
    if os.path.lexists(memory):
        mend = "remove it, and the comparison goes without it"
        peak = field_of(read_json(memory, mend), "peak_memory_mib", float, str(memory))
    seconds = max(
        (number for row in rows if (number := finite_number(row.get("seconds"))) is not None),
        default=math.nan,
    )
    speed = statistics.median(speeds) if speeds else math.nan
    return Entry(
        arm,
        config.method,
        settings,
        config.options.seed,
        run.folder,
        evaluation,
        speed,
        peak,
        seconds,
        spent_by(run),
    )


def comparison_of(runs: Sequence[RunFolder]) -> Comparison:
    """Runs of one method and the same settings but other seeds form an arm; arms are named by what
    tells them apart.

    Raises:
        UserError: if the runs are on different data, a run is given twice, or the arms do not have
            the same seeds.
    """
    folders = [run.folder.resolve() for run in runs]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice:
        raise UserError(f"{twice} is given twice; name each run once.")
    configs = {run.folder: run.config for run in runs}
    varying: set[str] = set()
    for method in {config.method for config in configs.values()}:
        varying |= _varying(
            [config.chosen for config in configs.values() if config.method == method]
        )
    entries = []
    for run in runs:
        config = configs[run.folder]
        settings = {key: value for key, value in config.chosen.items() if key in varying}
        arm = " ".join([config.method, *(f"{key}={value}" for key, value in settings.items())])
        entries.append(entry_of(run, arm, settings))
    _check(entries)
    budgets = {_budget(run) for run in runs}
    words = budgets.pop() if len(budgets) == 1 else "with different budgets"
    return Comparison(entries[0].evaluation.data, words, tuple(entries))


def _varying(settings: Sequence[dict[str, Any]]) -> set[str]:
    keys = {key for one in settings for key in one}
    return {
        key for key in keys if any(other.get(key) != settings[0].get(key) for other in settings)
    }


def _budget(run: RunFolder) -> str:
    options = run.config.options
    length = counted(options.steps or options.epochs or 0, "step" if options.steps else "epoch")
    return f"{length} each, batches of {options.batch_size}, {short(options.encoder)}"


def _check(entries: Sequence[Entry]) -> None:
    data = {entry.evaluation.data for entry in entries}
    if len(data) > 1:
        raise UserError(
            f"The runs are judged on different data ({', '.join(sorted(data))}); compare runs on "
            "one data set."
        )
    seeds: dict[str, list[int]] = {}
    for entry in entries:
        seeds.setdefault(entry.arm, []).append(entry.seed)
    first, *others = seeds.items()
    for arm, found in others:
        if sorted(found) != sorted(first[1]):
            raise UserError(
                f"{arm} has the seeds {sorted(found)} and {first[0]} {sorted(first[1])}; compare "
                "arms with the same seeds."
            )
