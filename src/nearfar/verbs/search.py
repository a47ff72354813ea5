"""``nearfar search``, ``nearfar dedupe`` and ``nearfar label``: an embedded set put to use."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar import modalities
from nearfar.errors import UserError, counted, printable
from nearfar.runs.folder import RunFolder
from nearfar.verbs.handing import takes_own

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

    from nearfar.finding.index import Index


@dataclass(frozen=True)
class Answer:
    """Rows for a person and for a program.

    Attributes:
        title: one line.
        columns: names.
        rows: values, in order.
        notes: sentences that a reader must know.
        most: the table shows at most this many rows; 0: all.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    most: int = 0

    def table(self) -> Table:
        """For rich."""
        from rich.markup import escape
        from rich.table import Table

        notes = list(self.notes)
        rows = self.rows[: self.most] if self.most else self.rows
        if len(rows) < len(self.rows):
            notes.append(
                f"{len(self.rows) - len(rows):,} further rows are not shown; --most 0 shows all."
            )
        caption = escape(printable(" ".join(notes))) if notes else None
        table = Table(
            *self.columns,
            title=escape(printable(self.title)),
            title_justify="left",
            caption=caption,
            caption_justify="left",
        )
        for row in rows:
            table.add_row(*(escape(_cell(value)) for value in row))
        return table


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else printable(value)


@takes_own
def search(
    run: PathLike[str] | str,
    query: str,
    *,
    data: str | None = None,
    index: Path | None = None,
    k: int = 10,
    encoder: str | None = None,
) -> Answer:
    """Find the samples that are most like a query.

    Args:
        run: the run folder whose encoder compares.
        query: an image file, a series as .csv, a text (for text and image-text encoders), or a
            sample of the searched set: its id, or "#" and its row.
        data: name or path of the searched set; by default the run's own.
        index: a file that `nearfar embed` wrote, to be searched instead.
        k: number of answers.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Raises:
        UserError: for a query that is none of these, or data that do not fit the encoder.
    """
    opened = RunFolder(run)
    searched = _index(opened, data, index)
    row = _own_row(searched, query)
    hits = (
        searched.like(row, k)
        if row is not None
        else searched.search(_embedded(opened, query), k)[0]
    )
    return Answer(
        f"nearest to {query}",
        ("id", "label", "similarity"),
        tuple((hit.id, hit.label, hit.similarity) for hit in hits),
    )


@takes_own
def dedupe(
    run: PathLike[str] | str,
    *,
    data: str | None = None,
    index: Path | None = None,
    threshold: float | None = None,
    most: int = 100,
    encoder: str | None = None,
) -> Answer:
    """Find groups of near-duplicates: samples that lie closer together than the set itself
    explains.

    Args:
        run: the run folder whose encoder compares.
        data: name or path of the set; by default the run's own.
        index: a file that `nearfar embed` wrote, to be looked through instead.
        threshold: least cosine of two near-duplicates, in (0, 1]; by default the distances among
            all samples decide.
        most: rows of the table; 0 shows all.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Raises:
        UserError: for a threshold out of range, or data that do not fit the encoder.
    """
    from nearfar.finding.duplicates import near_duplicates

    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"The threshold is {threshold}; expected a cosine above 0 and at most 1.")
    if most < 0:
        raise UserError(
            f"The number of rows to show, most, is {most}; expected 0 for all, or more."
        )
    searched = _index(RunFolder(run), data, index)
    found = near_duplicates(searched.features, threshold)
    rows = tuple(
        (number, searched.ids[row], searched.labels[row], similarity)
        for number, (group, similarities) in enumerate(
            zip(found.groups, found.similarities, strict=True), 1
        )
        for row, similarity in zip(group, similarities, strict=True)
    )
    groups = counted(len(found.groups), "group")
    count = f"{groups} of near-duplicates among {counted(len(searched), 'sample')}"
    title = f"{count}; {found.extra:,} could go"
    return Answer(
        title, ("group", "id", "label", "cosine to first"), rows, tuple(found.notes()), most
    )


@takes_own
def label(
    run: PathLike[str] | str,
    *,
    data: str | None = None,
    index: Path | None = None,
    k: int = 20,
    errors: bool = False,
    encoder: str | None = None,
) -> Answer:
    """Suggest which samples to label next, or with ``errors`` which labels are likely wrong.

    Args:
        run: the run folder whose encoder compares.
        data: name or path of the set; by default the run's own.
        index: a file that `nearfar embed` wrote, to be looked through instead.
        k: number of suggestions.
        errors: list likely label errors instead: samples whose neighbours, or a probe that has not
            seen them, speak for another label; with the precision to expect.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Raises:
        UserError: if errors are asked for and there are no labels, or data do not fit the encoder.
    """
    from nearfar.finding.index import worth_labelling
    from nearfar.finding.label_errors import likely_errors

    if k < 1:
        raise UserError(f"The number of suggestions k is {k}; expected at least 1.")
    searched = _index(RunFolder(run), data, index)
    if errors:
        if not any(searched.labels):
            raise UserError(
                "There are no labels to doubt; name the label column with the run's --label, or "
                "leave --errors out."
            )
        found = likely_errors(searched.features, searched.labels, k)
        rows = tuple(
            (searched.ids[d.row], searched.labels[d.row], d.other, d.share) for d in found.doubts
        )
        return Answer(
            "likely label errors", ("id", "label", "rather", "confidence"), rows, (found.note(),)
        )
    known = [row for row, text in enumerate(searched.labels) if text]
    known = known if len(known) < len(searched) else []  # all labelled: as if none were
    chosen = worth_labelling(searched.features, k, labelled=known)
    return Answer(
        "worth labelling next",
        ("id", "label so far"),
        tuple((searched.ids[row], searched.labels[row]) for row in chosen),
    )


def _index(run: RunFolder, data: str | None, index: Path | None) -> Index:
    from nearfar.finding.index import read_index
    from nearfar.runs.encoder_files import digest_of

    if index is None:
        return index_of(run, data)
    if data is not None:
        raise UserError(
            "Options data and index were both given; the index holds its data already: choose one."
        )
    found = read_index(index)
    if found.encoder and found.encoder != digest_of(run.folder):
        raise UserError(
            f"{index} was made by another encoder than that of {run.folder}, or before it was "
            "trained on; "
            f"embed the data again with `nearfar embed {run.folder}`."
        )
    return found


def index_of(run: RunFolder, data: str | None = None) -> Index:
    """The embedded set: a run's own data (training samples, then test samples), or other data of
    the same kind.
    """
    import torch

    from nearfar.finding.index import Index
    from nearfar.runs.encoder_files import check_input
    from nearfar.verbs.embed import features_of, labels_of, loaded

    source = loaded(run, data)
    check_input(run.encoder(), source.spec)
    parts = [part for part in (source.train, source.test) if part is not None]
    features = torch.cat([features_of(run, part) for part in parts])
    ids = [name for part in parts for name in part.ids]
    labels = [
        "" if value is None else str(value)
        for part in parts
        for value in labels_of(part, source.spec.classes)
    ]
    return Index(features, ids, labels)


def _own_row(index: Index, query: str) -> int | None:
    """The row that a query names, if it names one."""
    if query.startswith("#"):
        row = int(query[1:]) if query[1:].isdigit() else -1
        if not 0 <= row < len(index):
            raise UserError(f"The query {query} names no row; expected #0 to #{len(index) - 1}.")
        return row
    return index.ids.index(query) if query in index.ids and not Path(query).is_file() else None


def _embedded(run: RunFolder, query: str) -> Tensor:
    """(1, D) of an image file, a series file or a text."""
    from nearfar.data.readers.endings import kind_of
    from nearfar.data.readers.given import samples_like
    from nearfar.runs.encoder_files import encoder_spec, tokenizer_of
    from nearfar.verbs.embed import features_of, text_features

    spec = encoder_spec(run.encoder())
    path = Path(query)
    asked = modalities.get(spec.first.modality).query
    if asked and kind_of(path) == spec.first.modality:
        return features_of(run, samples_like(path, spec))
    tokenizer = tokenizer_of(run.encoder())
    texts = spec.of("text")
    if tokenizer is not None and texts is not None:
        return text_features(run, tokenizer.encode([query], texts.context))
    kind = f"{asked}, " if asked else ""
    raise UserError(
        f"Cannot search for {query!r}: expected {kind}the id of a sample of the searched set, or # "
        "and its row."
    )
