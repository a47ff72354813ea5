"""``load``: read, split, limit, decode, label."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.content.bounds import check_steps
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.kept import Kept, content_marks, match
from nearfar.data.labels import (
    Labels,
    as_groups,
    as_joined_labels,
    as_labels,
    chosen_column,
    group_columns,
    group_names,
    label_texts,
    missing,
)
from nearfar.data.options import DataOptions, with_values
from nearfar.data.readers.sources import read
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.data.split import TEST_SHARE, all_are_tests, given_split, limited, own_split
from nearfar.data.statistics import channel_statistics
from nearfar.data.tables.rows import some
from nearfar.data.tables.table import Stored, Table, ranged_by
from nearfar.errors import UserError
from nearfar.rows import Graphs, Nodes, Parts, Picked, Tokens, Whole, width_of

LONGEST_TEXT = 77
"""Tokens of a text that are kept unless a size is given, as in Radford et al. 2021 (CLIP)."""

Rows = NDArray[np.int64]


def load(
    data: Any,
    options: DataOptions | None = None,
    *,
    like: Spec | None = None,
    tokenizer: Tokenizer | None = None,
    kept: Kept | None = None,
    **values: Any,
) -> Source:
    """Load a data set.

    Args:
        data: a name (see ``nearfar datasets``) or a path: a folder of images or of CSV series, with
            or without class folders and train and test folders; a .parquet, .npz, .csv or .tsv
            file; a folder of parquet files. ``DATA#COLUMN=VALUE`` takes the rows with that value
            alone. An array, a list of paths, a data set or a table in memory, as
            ``nearfar.data.readers.objects.read_given`` takes them. Rows that were read already are
            taken as they are.
        options: see ``DataOptions``.
        like: the spec of other data, for which an encoder exists: images are decoded to its shape,
            series and texts to its length.
        tokenizer: for the texts, instead of one trained on them.
        kept: the samples of a run on these data: they keep their parts, and new samples are left
            out.
        values: single options by name, over those in ``options``.

    Returns:
        The source. Where the data bring no split, a fifth of each class (whole groups of it) is the
        test set.

    Raises:
        UserError: for whatever cannot be found, read or understood; says how to mend it.
    """
    options = with_values(options, values)
    known = like if kept is None else kept.spec
    table = data
    if not isinstance(data, Table):
        table = read(data, dataclasses.replace(options, likely=known))
    _check_modality(table, options)
    if options.store is not None and not isinstance(table.content, Stored):
        raise UserError(
            f"The data option store keeps whole pictures, and {table.name} holds {table.modality} "
            "samples that are no picture files; leave --store out."
        )
    if options.store is not None and table.texts is not None:
        raise UserError(
            f"The data option store takes crops from whole pictures, and {table.name} holds texts "
            "that tell of all of a picture; leave --store out."
        )
    matched = None if kept is None else match(table, kept, options)
    if matched is not None:
        table = matched.table
        like = matched.like
    elif like is not None:
        # None: nothing to be brought to; whoever needs the two to fit says so.
        like = like.of(table.modality) or _like_parts(like, table)
    table, gap_notes = _without_unlabelled_parts(table, options, fixed=matched is not None)
    labels, groups, notes = _described(table, options)
    relabelled = 0
    if kept is not None and matched is not None:
        now = label_texts(labels.values, labels.classes, len(table.ids))
        relabelled = kept.relabelled(matched.numbers, now)
    if relabelled:
        notes.append(
            f"The labels of {relabelled:,} samples of {table.name} are other than when the run was "
            f"made."
        )
    parts, by, split_notes = (
        _parts(table, labels, groups, options)
        if matched is None
        else (matched.parts, None, matched.notes)
    )
    rows = np.unique(np.concatenate(parts))
    loaded = None
    if table.content is not None:
        content_like = None if like is None else like.of(table.content.modality)
        content_of = ranged_by(table.content, parts[0])
        assert content_of is not None
        loaded = content_of.load(rows, options, content_like)
    left_out = Counter(table.left_out)
    left_out["samples beyond the limit or of other parts"] += len(table.ids) - len(rows)
    if loaded is not None:
        parts = [part[np.isin(part, rows[loaded.readable])] for part in parts]
        notes += loaded.notes
        left_out["samples that cannot be read"] += int((~loaded.readable).sum())
    _check_number(table.name, len(parts[0]), 2 if options.split else 1)
    if by is not None:  # counted now that it is known what can be read
        split_notes = [*split_notes, _split_note(parts, by)]
    content: Any = loaded.content if loaded is not None else None
    marks, whole = content_marks(table, rows, loaded, None if kept is None else kept.whole)
    if table.texts is not None:
        both = [*table.texts], [*(table.partners or ())]
        tokenizer = tokenizer or Tokenizer.train(
            [texts[row] for texts in both if texts for row in parts[0]], options.vocabulary
        )
        text_like = None if like is None else like.of("text")
        if text_like is None and kept is not None:  # its context may be another run's
            text_like = kept.spec.of("text")
        tokens = _encoded(table, rows, tokenizer, options, text_like)
        if content is None or table.content is None:
            content = tokens
        else:
            content = _parts_of(table, content, tokens)
        notes += _text_notes([table.texts[row] for row in rows])
    train, test = (
        dataclasses.replace(
            _samples(table, content, labels, groups, np.searchsorted(rows, part), part),
            annotations=_annotations(table, part, content, tokenizer),
            marks=torch.from_numpy(marks[np.searchsorted(rows, part)]),
        )
        for part in parts
    )
    spec = _spec(
        table,
        train,
        labels,
        loaded.extra if loaded else {},
        len(tokenizer) if tokenizer and table.texts is not None else 0,
    )
    return Source(
        spec,
        train,
        test if len(test) else None,
        [*table.notes, *gap_notes, *notes, *split_notes, *_copy_notes(train, test)],
        tokenizer,
        {name: group_names(table.columns[name]) for name in groups},
        left_out,
        table.ids,
        (torch.from_numpy(parts[0]), torch.from_numpy(parts[1])),
        whole,
        relabelled,
        columns=_columns(table),
        names=table.classes,
    )


def _check_modality(table: Table, options: DataOptions) -> None:
    """Refuse data that are not of the modality that was asked for."""
    if options.modality is None or table.modality == options.modality:
        return
    raise UserError(
        f"{table.name} holds {table.modality} samples, which cannot be read as "
        f"{options.modality}; leave --modality out."
    )


def _like_parts(like: Spec, table: Table) -> Spec | None:
    """The spec itself, if it has a part like each of the table's; None otherwise."""
    fits = bool(table.parts) and all(like.of(kind) for kind in table.parts.values())
    return like if fits else None


def _parts_of(table: Table, content: Any, tokens: Tokens) -> Parts:
    """Content and texts side by side, by the names that the table gives them."""
    assert table.content is not None
    if not table.parts:
        return Parts({table.content.modality: content, "text": tokens})
    return Parts(
        {name: tokens if kind == "text" else content[name] for name, kind in table.parts.items()}
    )


def _columns(table: Table) -> dict[str, NDArray[Any]]:
    """All columns, the texts among them."""
    texts = {} if table.texts is None else {"text": np.array(table.texts, dtype=object)}
    return {**texts, **table.columns}


def _text_notes(texts: Sequence[str]) -> list[str]:
    """What is odd about texts from which nothing can be learned."""
    empty = sum(not text.strip() for text in texts)
    if len(texts) > 1 and empty < len(texts) and len(set(texts)) == 1:
        return [
            f"All {len(texts):,} texts are the same, {texts[0][:40]!r}: nothing can be learned "
            f"from them."
        ]
    return (
        [f"{empty:,} of {len(texts):,} texts are empty: nothing can be learned from those."]
        if empty
        else []
    )


def _copy_notes(train: Samples, test: Samples) -> list[str]:
    """How many samples are there more than once."""
    assert train.marks is not None
    assert test.marks is not None
    notes = []
    for name, marks in (("training", train.marks), ("test", test.marks)):
        copies = len(marks) - len(torch.unique(marks))
        if copies:
            notes.append(
                f"{copies:,} of the {len(marks):,} {name} samples are exact copies of others of "
                f"them."
            )
    shared = int(torch.isin(test.marks, train.marks).sum())
    if shared:
        notes.append(
            f"{shared:,} of the {len(test):,} test samples are exact copies of training samples, "
            f"so figures on them flatter the encoder."
        )
    return notes


def _without_unlabelled_parts(
    table: Table, options: DataOptions, *, fixed: bool
) -> tuple[Table, list[str]]:
    """Where the data bring a split and all training rows have labels: without the parts in which
    labels are missing.

    Test samples without labels can judge nothing, and would cost the training samples theirs.
    """
    column = options.label or table.label
    if (
        fixed
        or table.part is None
        or not options.split
        or column is None
        or column not in table.columns
    ):
        return table, []
    split = given_split(table.part, table.split_column)
    lacking = missing(np.asarray(table.columns[column]))
    if split is None or not lacking.any() or lacking[split[0]].any():
        return table, []
    train, test, _notes = split
    if not lacking[test].any():
        return some(table, np.sort(np.concatenate([train, test]))), []
    if not lacking[test].all():
        return table, []
    found = dataclasses.replace(some(table, train), part=None)
    found.left_out["samples of other parts, without labels"] += len(table.ids) - len(train)
    name = table.part[int(test[0])]
    said = (
        f"None of the {len(test):,} samples of {name!r} has a label in {column!r}: they are left "
        f"out, "
        "and the test set comes from the rest."
    )
    return found, [said]


def _described(table: Table, options: DataOptions) -> tuple[Labels, dict[str, Rows], list[str]]:
    """Labels and groups of all rows, and what to say of them."""
    columns = table.columns
    column: str | None
    if options.label and "," in options.label and options.label not in columns:
        column = options.label
        labels = as_joined_labels(columns, options.label.split(","), table.name)
    else:
        column = chosen_column(
            columns, options.label, "label", [table.label] if table.label else [], table.name
        )
        labels = (
            as_labels(columns[column], table.classes.get(column, ()), column, table.name)
            if column
            else Labels()
        )
    named = chosen_column(columns, options.group, "group", (), table.name)
    names = [named] if named else [*table.groups, *group_columns(columns)]
    notes = list(labels.notes)
    others = [name for name in columns if name != table.split_column]
    if column is None and others:
        notes.append(
            f"No column has a common name for labels; choose one with --label: {', '.join(others)}."
        )
    return labels, {name: as_groups(columns[name]) for name in names}, notes


def _parts(
    table: Table, labels: Labels, groups: Mapping[str, Rows], options: DataOptions
) -> tuple[list[Rows], str | None, list[str]]:
    """Training and test rows; by which groups they were split here, "" if by none, None if not
    here; and what to say of it."""
    length = len(table.ids)
    given = (
        given_split(table.part, table.split_column)
        if table.part is not None and options.split
        else None
    )
    group = next(iter(groups), None)
    by: str | None = None
    if given is not None:
        train, test, notes = given
        if group is not None:
            shared = np.intersect1d(groups[group][train], groups[group][test])
            notes += (
                [
                    f"{len(shared)} members of {group!r} lie on both sides of the split that the "
                    f"data bring."
                ]
                if len(shared)
                else []
            )
    elif table.part is not None and options.split and all_are_tests(table.part):
        train = test = np.arange(length)
        notes = [
            "All samples are for testing, and stand in the place of training samples too: learn "
            "nothing from them."
        ]
    elif options.split:
        classes = labels.values if labels.target == "class" else None
        train, test = own_split(
            length, label=classes, group=groups[group] if group else None, seed=options.seed
        )
        by = group or ""
        notes = []
    else:
        train = np.arange(length)
        test = np.arange(0)
        notes = []
    if options.limit is not None:
        if given is None:
            test = limited(
                test, math.ceil(options.limit * TEST_SHARE / (1 - TEST_SHARE)), options.seed
            )
        train = limited(train, options.limit, options.seed)
    return [train, test], by, notes


def _split_note(parts: Sequence[Rows], group: str) -> str:
    train, test = map(len, parts)
    by = f" by {group}" if group else ""
    if not test:
        return f"There is no test set: {train} samples{by} are too few to split."
    return f"Split{by} into {train:,} training and {test:,} test samples."


def _check_number(name: str, found: int, least: int) -> None:
    if found < least:
        count = "1 usable training sample" if found == 1 else f"{found} usable training samples"
        raise UserError(
            f"{name} has {count}; expected at least {least}, because samples are compared with "
            f"each other."
        )


def _encoded(
    table: Table, rows: Rows, tokenizer: Tokenizer, options: DataOptions, like: Spec | None
) -> Tokens:
    """Texts of some rows, as long as the longest of them needs or as long as is wanted."""
    assert table.texts is not None
    texts = [table.texts[row] for row in rows]
    if options.size is not None and table.content is None:
        check_steps(options.size, "The data option size is")
    if like is not None:
        return tokenizer.encode(texts, like.context)
    if options.size and table.content is None:
        return tokenizer.encode(texts, max(2, options.size))
    tokens = tokenizer.encode(texts, LONGEST_TEXT)
    longest = max(2, int(tokens.mask.sum(dim=1).max()))
    return Tokens(tokens.ids[:, :longest].contiguous(), tokens.mask[:, :longest].contiguous())


def _samples(
    table: Table, content: Any, labels: Labels, groups: Mapping[str, Rows], places: Rows, part: Rows
) -> Samples:
    label = None if labels.values is None else torch.from_numpy(labels.values[part])
    group = {name: torch.from_numpy(number[part]) for name, number in groups.items()}
    return Samples(
        content, [table.ids[row] for row in part], label, group, torch.from_numpy(places)
    )


def _annotations(
    table: Table, part: Rows, content: Any, tokenizer: Tokenizer | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: torch.from_numpy(values[part]) for name, values in table.annotations.items()
    }
    if isinstance(content, Whole):
        found.pop("regions", None)  # which are those of the middle
    if "regions" in found and isinstance(content, Tensor):
        (height, width) = content.shape[2:]
        (rows, columns) = found["regions"].shape[1:]
        if (
            height * columns != width * rows
        ):  # images were cropped to another shape, their regions were not
            del found["regions"]
    if table.partners is not None and tokenizer is not None:
        found["partner"] = tokenizer.encode(
            [table.partners[row] for row in part], content.ids.shape[1]
        )
    return found


def _spec(
    table: Table, train: Samples, labels: Labels, extra: Mapping[str, Any], vocabulary: int
) -> Spec:
    several = labels.values is not None and labels.values.ndim == 2
    whole = Spec(
        name=table.name,
        modality=table.modality,
        shape=(),
        length=len(train),
        classes=labels.classes,
        target=labels.target,
        groups=tuple(train.group),
        values=labels.values.shape[1] if several and labels.values is not None else 1,
    )
    facts = {**table.extra, **extra}
    if not isinstance(train.content, Parts):
        return _spec_of_content(whole, train.content, train.rows, facts, vocabulary)
    parts = {
        name: _spec_of_content(
            dataclasses.replace(
                whole,
                modality=table.parts.get(name, "text" if isinstance(part, Tokens) else name),
            ),
            part,
            train.rows,
            {} if isinstance(part, Tokens) else facts,
            vocabulary,
        )
        for name, part in train.content.items()
    }
    return dataclasses.replace(whole, parts=parts)


def _spec_of_content(
    spec: Spec, content: Any, rows: Tensor | None, extra: Mapping[str, Any], vocabulary: int
) -> Spec:
    """The spec with what the content says: its shape and statistics, or the vocabulary."""
    if isinstance(content, Tokens):
        context = content.ids.shape[1]
        return dataclasses.replace(
            spec, shape=(context,), vocabulary=vocabulary, context=context, extra={**extra}
        )
    if isinstance(content, Picked):
        everything = torch.arange(len(content.values))
        return _spec_of_content(spec, content.values, everything, extra, vocabulary)
    if isinstance(content, Graphs | Nodes):
        known = {name: width_of(value) for name, value in content.nodes.items()}
        return dataclasses.replace(spec, nodes=known, extra={**extra})
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if rows is not None:
        values = content.values if isinstance(content, Whole) else content
        mean, std = channel_statistics(values, rows)
    return dataclasses.replace(
        spec, shape=tuple(content.shape[1:]), mean=mean, std=std, extra={**extra}
    )
