"""CSV and TSV files as spreadsheets and programs write them: any common encoding, comma, semicolon
or tab, decimal points or commas."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from nearfar.data.content.bounds import check_memory
from nearfar.data.tables.names import as_text

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LEADING_ZERO = r"^\s*[-+]?0[0-9]"
_SEVERAL = 8
"""Times its size that a file may take in memory while it is read."""


@dataclass(frozen=True)
class CsvText:
    """The text of a file.

    Attributes:
        text: all of it.
        delimiter: between two cells.
        notes: what a user should know of how it was read.
    """

    text: str
    delimiter: str
    notes: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """The first line (0) or a later one, without its end; "" where there is none."""
        start = 0
        for _ in range(number):
            end = self.text.find("\n", start)
            if end < 0:
                return ""
            start = end + 1
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else None].rstrip("\r")

    def table(self, *, header: bool = True, strings: list[str] | None = None) -> pa.Table:
        """The columns, their types found from all rows.

        Args:
            header: whether the first row holds the columns' names.
            strings: columns that are kept as text.

        Raises:
            ValueError: (of pyarrow) if the rows are uneven.
        """
        point = (
            ","
            if self.delimiter == ";" and "," in self.line(1) and "." not in self.line(1)
            else "."
        )
        content = self.text.encode("utf-8")
        return csv.read_csv(
            io.BytesIO(content),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            read_options=csv.ReadOptions(
                autogenerate_column_names=not header,
                block_size=max(1 << 20, min(len(content), 1 << 30)),
            ),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in strings or ()}, decimal_point=point
            ),
        )

    def typed_table(self, strings: list[str] | None = None) -> pa.Table:
        """As ``table`` with a header, but numbers with leading zeros (00012) stay text."""
        found = self.table(strings=strings)
        whole = [f.name for f in found.schema if pa.types.is_integer(f.type)]
        if not whole:
            return found
        raw = self.table(strings=[*whole, *(strings or ())])
        for name in whole:
            if pc.any(pc.match_substring_regex(raw[name], _LEADING_ZERO)).as_py():
                place = found.column_names.index(name)
                found = found.set_column(place, name, raw[name])
        return found


def read_text(path: Path) -> CsvText:
    """A CSV or TSV file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it holds zero bytes, as no text does.
        UserError: if it is too large for the memory.
    """
    check_memory(_SEVERAL * path.stat().st_size, f"The table {path}")
    text, notes = _decoded(path.read_bytes(), as_text(path.name))
    if "\0" in text[:4096]:
        raise ValueError("it holds zero bytes, so it is no text")
    text = text.lstrip("\ufeff")
    return CsvText(text, _delimiter(path, text), notes)


def _decoded(content: bytes, name: str) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            try:
                return content.decode(encoding), []
            except UnicodeDecodeError as error:
                raise ValueError(f"it begins as {encoding} and is not: {error.reason}") from error
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        note = f"{name} is not UTF-8; it was read as Windows-1252 (Latin-1)."
        return content.decode("cp1252", "replace"), [note]


def _delimiter(path: Path, text: str) -> str:
    """A tab for .tsv; else what occurs in the first line: a comma, or where there is none a
    semicolon or a tab."""
    first = text.partition("\n")[0]
    if path.suffix.lower() == ".tsv":
        return "\t"
    if ";" in first and ("," not in first or first.count(";") > first.count(",")):
        return ";"
    return "\t" if "\t" in first and "," not in first else ","
