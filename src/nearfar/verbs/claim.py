"""``nearfar claim``: a paper's central claim, measured here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from nearfar.errors import UserError
from nearfar.files import write_text

_RESULTS = Path("docs/results")
"""Where the tables of a checkout lie; elsewhere results go under runs/."""


def claim(
    name: str | None = None,
    *,
    all: bool = False,  # noqa: A002
    seeds: int | None = None,
    output: Path | None = None,
    keep: bool = False,
    tuning: bool = False,
) -> None:
    """Run a paper's central claim as an experiment: arm A against arm B on several seeds, and one
    verdict rule for all claims.

    Args:
        name: the method whose claim to run; without one, and without ``all``, the claims are
            listed.
        all: run every claim, and write the table of all.
        seeds: number of seeds, at least 2; by default the claim's own.
        output: folder for claims/NAME.json and claims.md; by default docs/results where it exists,
            else runs.
        keep: leave out the claims whose result is there already.
        tuning: measure on the seeds from 0 on, on which settings are chosen, and write nothing.

    Raises:
        UserError: for an unknown claim, or too few seeds.
    """
    from nearfar.claims import claim as claims

    if seeds is not None and seeds < 2:
        raise UserError(
            f"The number of seeds is {seeds}; expected at least 2, because an interval needs two "
            "values."
        )
    console = Console()
    folder = output or (_RESULTS if _RESULTS.is_dir() else Path("runs"))
    if name is None and not all:
        for known in claims.names():
            console.print(f"[cyan]{known}[/]  {claims.get(known).statement}", highlight=False)
        return
    chosen = claims.names() if all else [str(name)]
    experiments = {one: claims.get(one) for one in chosen}
    for one, experiment in experiments.items():
        path = folder / "claims" / f"{one}.json"
        if keep and path.exists() and not tuning:
            continue
        first_seed = 0 if tuning else experiment.first_seed
        console.print(f"[bold]{one}[/]: {experiment.statement}", highlight=False)
        console.print(
            f"  Seeds from {first_seed} on{': for tuning, nothing is written' if tuning else ''}.",
            highlight=False,
        )
        result = claims.run(
            one, experiment, seeds=seeds, first_seed=first_seed, watch=partial(_watch, console)
        )
        if not tuning:
            write_text(path, result.to_json() + "\n", overwrite=True)
        console.print(_sentence(result), highlight=False, soft_wrap=True)
    if all and not tuning:
        _write_table(folder, console)


def _watch(console: Console, text: str) -> None:
    console.print(f"  {text}", highlight=False, soft_wrap=True)


def _sentence(result: object) -> str:
    from nearfar.claims.claim import Result

    assert isinstance(result, Result)
    return (
        f"  {result.metric} of {result.first} minus {result.second}: {result.difference:+.4g}"
        f" (95 % interval {result.low:+.4g} to {result.high:+.4g}): [bold]{result.verdict}[/]"
    )


def _write_table(folder: Path, console: Console) -> None:
    from nearfar.claims.claim import names
    from nearfar.claims.table import read_results, render

    results = [result for result in read_results(folder / "claims") if result.name in names()]
    missing = sorted(set(names()) - {result.name for result in results})
    write_text(folder / "claims.md", render(results, missing), overwrite=True)
    console.print(f"Table: {folder / 'claims.md'}", highlight=False, soft_wrap=True)
