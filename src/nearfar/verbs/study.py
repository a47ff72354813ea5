"""``nearfar study``: a paper's benchmark, methods under several conditions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nearfar.errors import UserError, counted

if TYPE_CHECKING:
    from nearfar.studies.outcome import Outcome

RESULTS = "study.parquet"


def study(
    name: str | None = None,
    *,
    seeds: int = 3,
    full: bool = False,
    data: tuple[str, ...] = (),
    output: Path | None = None,
) -> Outcome | None:
    """Run a paper's benchmark: every arm under every condition, on the same seeds.

    An interrupted study goes on when the same command is given again.

    Args:
        name: The study; without one, the studies are listed.
        seeds: Of every arm under every condition; an interval needs 3.
        full: At the paper's scale instead of a laptop's.
        data: CONDITION=DATA for each condition whose data are replaced by others, by name or path.
        output: Folder of all runs; by default runs/study-NAME.

    Returns:
        The outcome; its folder holds a comparison for each condition, study.parquet and
        report.html. None where the studies were listed.

    Raises:
        UserError: For an unknown study or condition, data that cannot be had, or a run that fails.
    """
    from nearfar import studies
    from nearfar.studies.study import with_data

    console = Console()
    if name is None:
        for known in studies.names():
            console.print(f"[cyan]{known}[/]  {studies.get(known).question}", highlight=False)
        return None
    chosen = with_data(studies.get(name), data, full=full)
    if seeds < 1:
        raise UserError(f"Option seeds is {seeds}; expected at least 1, and 3 for intervals.")
    from nearfar.reports.told import shown
    from nearfar.runs.folder import REPORT
    from nearfar.studies.page import write_study
    from nearfar.studies.running import run_study
    from nearfar.verbs.compare import compare
    from nearfar.verbs.evaluate import evaluate

    folder = Path(output) if output else Path("runs") / f"study-{name}"
    conditions = chosen.conditions_of(full=full)
    count = len(chosen.arms) * len(conditions) * seeds
    arms = counted(len(chosen.arms), "method")
    told = f"{arms}, {counted(len(conditions), 'condition')}, {counted(seeds, 'seed')}"
    console.print(
        f"{told}: at least {counted(count, 'run')}; writing {shown(folder)}", highlight=False
    )
    found = run_study(
        name,
        chosen,
        folder,
        seeds=seeds,
        full=full,
        compare=compare,
        judge=evaluate,
        watch=lambda text: console.print(f"[bold]{shown(text)}[/]", highlight=False),
    )
    found.write_parquet(folder / RESULTS)
    page = write_study(found, folder / REPORT)
    console.print(
        f"Results: {shown(folder / RESULTS)}\nReport: {shown(page)}",
        highlight=False,
        soft_wrap=True,
    )
    return found
