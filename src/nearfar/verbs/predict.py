"""``nearfar predict``: what a run's method says of samples, as a table and as files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nearfar.assembly.opened import method_of
from nearfar.errors import UserError
from nearfar.runs.folder import RunFolder
from nearfar.verbs.handing import takes_own

if TYPE_CHECKING:
    from nearfar.data.samples import Source
    from nearfar.results.result import Result

_SHOWN = 10
"""Samples that the table in the terminal shows."""
_WIDEST = 40


@takes_own
def predict(
    run: PathLike[str] | str,
    data: str | None = None,
    *,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    encoder: str | None = None,
) -> Result:
    """What a run's method says of samples: classes, values, restored images, terms ...

    Prints the first samples as a table. Where the data have what the method should have said, its
    protocols are judged as `nearfar evaluate` does.

    Args:
        run: The run folder.
        data: Name or path of the data; by default the test samples of the run's own.
        output: A folder for the result's files: tables, images, structures.
        encoder: The encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Returns:
        The result, with a row for each sample.

    Raises:
        UserError: If the method predicts nothing, the data do not fit, or a file exists.
    """
    from rich.console import Console

    from nearfar.assembly.seen import view_of
    from nearfar.evaluation.features import predicted
    from nearfar.precision import device_of
    from nearfar.results.several import Several
    from nearfar.runs.encoder_files import check_input

    opened = RunFolder(run)
    if opened.predicts is None:
        raise UserError(
            f"{opened.config.method} predicts nothing: its features are all there is; use `nearfar "
            f"embed {opened.folder}`."
        )
    method = method_of(opened)
    device = device_of(opened.config.options.device)
    method.to(device)
    parts = []
    ids: list[str] = []
    for source, samples in _samples(opened, data):
        check_input(method.encoder, source.spec)
        view = view_of(method.spec, source.spec)
        found = predicted(method.predict, samples, view, device=device).to("cpu")
        # What a preparation made points to the samples that were read.
        parts.append(found if source.raw is None else found.named(source.read))
        ids += samples.ids
    result: Result = parts[0] if len(parts) == 1 else Several(tuple(parts))
    console = Console()
    console.print(table_of(result, ids))
    if output is not None:
        given = Path(str(data or opened.config.options.data)).expanduser()
        paths = result.write(Path(output), ids)
        paths += result.marked(Path(output), ids, given if given.exists() else None)
        for path in paths[:_SHOWN]:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True, markup=False)
    return result


def table_of(result: Result, ids: list[str]) -> Any:
    """The first rows of a result as a table for the terminal."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    first = ids[:_SHOWN]
    columns = result[: len(first)].shown(first)
    table = Table(*map(escape, columns), box=SIMPLE)
    for row in range(len(next(iter(columns.values())))):
        table.add_row(*(escape(_text(values[row])) for values in columns.values()))
    if len(result) > _SHOWN:
        table.caption = f"the first {_SHOWN} of {len(result):,} samples"
    return table


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        value = " ".join(_text(one) for one in value)
    text = str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _samples(run: RunFolder, data: str | None) -> list[tuple[Source, Any]]:
    """Sources, each with the samples that are asked for: those for testing of the run's own data,
    or all of other data, apart by size for an encoder that takes any.
    """
    from nearfar.assembly.loaded import load_by_size
    from nearfar.reports.told import tell
    from nearfar.verbs.embed import loaded

    if data is None:
        own = loaded(run, None)
        has_test = own.test is not None and len(own.test)
        return [(own, own.test if has_test else own.train)]
    sources = [tell(one) for one in load_by_size(run.config.options, data, run.encoder())]
    return [(source, source.train) for source in sources]
