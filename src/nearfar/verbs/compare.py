"""``nearfar compare``: several methods on the same data, under the same conditions, with intervals
and a verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nearfar import own
from nearfar.assembly.opened import source_of
from nearfar.comparison import Comparison
from nearfar.comparison.arms import arms_of
from nearfar.comparison.options import CompareOptions
from nearfar.errors import UserError, counted, unknown_name
from nearfar.runs.folder import REPORT

RESULTS = "results.parquet"


def compare(
    *methods: str,
    settings: Mapping[str, Sequence[Any]] | None = None,
    quiet: bool = False,
    **options: Any,
) -> Comparison:
    """Train and judge methods under equal conditions: same data in the same order, same budget,
    encoder and evaluation.

    Each method keeps its own recipe otherwise. Runs that are done are skipped and interrupted ones
    continued when the same comparison is asked for again; more seeds and more methods may be added.

    Args:
        methods: names; the others are compared with the first.
        settings: for a setting's name the values to try; every method that has the setting runs
            with each of them. "views.NAME" is a strength of views, "training.NAME" an option of
            training, which every method gets.
        quiet: print nothing beside the runs' own output.
        options: see ``CompareOptions``.

    Returns:
        The comparison; its folder holds a run folder for each arm and seed, results.parquet and
        report.html.

    Raises:
        UserError: for any mistake in the arguments or the data, or when a run fails.
    """
    names = {f.name for f in dataclasses.fields(CompareOptions)}
    for name in options:
        if name not in names:
            raise unknown_name("option", name, names)
    for name in ("prepare", "start_from"):
        if isinstance(options.get(name), str | Path):
            options[name] = (str(options[name]),)
    objects = [name for name in own.KINDS if own.is_given(options.get(name))]
    for name in objects:
        if not own.is_file(options[name]):
            raise UserError(
                f"Option {name} was handed over as {type(options[name]).__name__}; expected "
                "a name, or one in a file, as the runs of a comparison are other processes: "
                f'{name}="FILE.py:NAME".'
            )
    with own.handing(**{name: options[name] for name in objects}):
        return _compared(methods, settings or {}, CompareOptions(**options), quiet)


def _compared(
    methods: Sequence[str],
    settings: Mapping[str, Sequence[Any]],
    chosen: CompareOptions,
    quiet: bool,
) -> Comparison:
    """As ``compare``, with the user's own objects at hand."""
    arms = arms_of(methods, settings)
    from nearfar.comparison.running import planned, run_all
    from nearfar.reports.comparison_page import write_comparison
    from nearfar.reports.told import shown

    console = Console(quiet=quiet)
    folder = (
        Path(chosen.output) if chosen.output else Path("runs") / f"compare-{Path(chosen.data).stem}"
    )
    _check_data(folder)
    plan = planned(arms, chosen, folder)
    told = (
        f"{counted(len(arms), 'arm')} x {counted(chosen.seeds, 'seed')}: {shown(plan['budget'])}; "
        f"writing {shown(folder)}"
    )
    console.print(told, highlight=False, soft_wrap=True)
    found = run_all(
        arms,
        chosen,
        plan,
        folder,
        lambda text: console.print(f"[bold]{shown(text)}[/]", highlight=False),
    )
    found.write_parquet(folder / RESULTS)
    page = write_comparison(found, folder / REPORT)
    console.print(
        f"Results: {shown(folder / RESULTS)}\nReport: {shown(page)}",
        highlight=False,
        soft_wrap=True,
    )
    return found


def _check_data(folder: Path) -> None:
    """Refuse to go on with a comparison whose data are no longer those of the runs that it has.

    Raises:
        UserError: that says what changed.
    """
    from nearfar.data.kept import CHANGED
    from nearfar.data.remembered import FACTS
    from nearfar.runs.folder import RunFolder

    done = next(iter(sorted(folder.glob(f"*/seed-*/{FACTS}"))), None)
    if done is None:
        return
    source = source_of(RunFolder(done.parent))
    if source.relabelled:
        raise UserError(
            f"The labels of {source.relabelled:,} samples changed since the runs of the comparison "
            f"in {folder} were made, so that further"
            " runs could not be compared with them; choose another --output."
        )
    for note in source.notes:
        if note.startswith(CHANGED):
            told = note.removeprefix(CHANGED).strip(": ").partition(". ")[0]
            raise UserError(
                f"The data of the comparison in {folder} changed since its runs were made "
                f"({told}), so "
                "that further runs could not be compared with them; choose another --output."
            )
