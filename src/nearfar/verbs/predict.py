"""``nearfar predict``: what a run's method says of samples, as a table and as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nearfar.assembly.opened import method_of
from nearfar.errors import UserError
from nearfar.runs.folder import RunFolder

if TYPE_CHECKING:
    from nearfar.results.result import Result

_SHOWN = 10
"""Samples that the table in the terminal shows."""
_WIDEST = 40


def predict(
    run: Path | str,
    data: str | None = None,
    *,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
) -> Result:
    """What a run's method says of samples: classes, values, restored images, terms ...

    Prints the first samples as a table. Where the data have what the method should have said, its
    protocols are judged as `nearfar evaluate` does.

    Args:
        run: The run folder.
        data: Name or path of the data; by default the test samples of the run's own.
        output: A folder for the result's files: tables, images, structures.

    Returns:
        The result, with a row for each sample.

    Raises:
        UserError: If the method predicts nothing, the data do not fit, or a file exists.
    """
    from rich.console import Console

    from nearfar.assembly.seen import view_of
    from nearfar.evaluation.features import predicted
    from nearfar.precision import device_of
    from nearfar.runs.encoder_files import check_input

    opened = RunFolder(run)
    if opened.predicts is None:
        raise UserError(
            f"{opened.config.method} predicts nothing: its features are all there is; use `nearfar "
            f"embed {opened.folder}`."
        )
    source, samples = _samples(opened, data)
    method = method_of(opened)
    check_input(method.encoder, source.spec)
    device = device_of(opened.config.options.device)
    result: Result = predicted(
        method.to(device).predict, samples, view_of(method.spec, source.spec), device=device
    ).to("cpu")
    console = Console()
    console.print(table_of(result, samples.ids))
    if output is not None:
        for path in result.write(Path(output), samples.ids)[:_SHOWN]:
            console.print(f"wrote {path}", highlight=False, soft_wrap=True, markup=False)
    return result


def table_of(result: Result, ids: list[str]) -> Any:
    """The first rows of a result as a table for the terminal."""
    from rich.box import SIMPLE
    from rich.markup import escape
    from rich.table import Table

    columns = result.columns(ids)
    table = Table(*map(escape, columns), box=SIMPLE)
    for row in range(min(_SHOWN, len(result))):
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


def _samples(run: RunFolder, data: str | None) -> tuple[Any, Any]:
    """A source, and its samples: those for testing of the run's own data, or all of other data."""
    from nearfar.verbs.embed import loaded

    source = loaded(run, data)
    has_test = data is None and source.test is not None and len(source.test)
    return source, source.test if has_test else source.train
