"""What was read, told at the start of every verb that loads data."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from nearfar.data.samples import Source
from nearfar.errors import printable


def tell(source: Source, console: Console | None = None) -> Source:
    """Print three lines on what was read, left out and why, and the notes; returns the source.

    Args:
        source: the data.
        console: where to print; by default the error stream, as the output may be read by a
            program.
    """
    console = console or Console(stderr=True)
    for line in source.summary():
        console.print(f"[cyan]data[/] {shown(line)}", highlight=False, soft_wrap=True)
    for note in source.notes:
        console.print(f"[yellow]note[/] {shown(note)}", highlight=False, soft_wrap=True)
    return source


def shown(text: object) -> str:
    """A text from data for rich: neither its brackets nor its control characters do anything."""
    return escape(printable(text))
