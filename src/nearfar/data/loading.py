"""``load``: read, split, limit, decode, label."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.batch import Pair, Tokens
from nearfar.data.labels import GROUP_NAMES, Labels, as_groups, as_joined_labels, as_labels, chosen_column, group_names
from nearfar.data.options import DataOptions, with_values
from nearfar.data.samples import Samples, Source
from nearfar.data.sources import read
from nearfar.data.spec import Spec, part_of
from nearfar.data.split import TEST_SHARE, given_split, limited, own_split
from nearfar.data.statistics import channel_statistics
from nearfar.data.table import Table
from nearfar.data.tokenizer import Tokenizer
from nearfar.errors import UserError

LONGEST_TEXT = 77
"""Tokens that are kept of a text unless a size is given; the context of Radford et al. 2021 (CLIP)."""

Rows = NDArray[np.int64]


def load(
    data: str | Path, options: DataOptions | None = None, *, like: Spec | None = None, tokenizer: Tokenizer | None = None, **values: Any
) -> Source:
    """Load a data set.

    Args:
        data: a name (see ``nearfar datasets``) or a path: a folder of images or of CSV series, with or without class folders and
            train and test folders; a .parquet, .npz, .csv or .tsv file; a folder of parquet files. ``DATA#COLUMN=VALUE``
            takes the rows with that value alone.
        options: see ``DataOptions``.
        like: the spec of other data, for which an encoder exists: images are decoded to its shape, series and texts to its length.
        tokenizer: for the texts, instead of one trained on them.
        values: single options by name, over those in ``options``.

    Returns:
        The source. Where the data bring no split, a fifth of each class (whole groups of it) is the test set.

    Raises:
        UserError: for whatever cannot be found, read or understood; says how to mend it.
    """
    options = with_values(options, values)
    table = read(data, options)
    if like is not None:
        like = part_of(like, table.modality)  # None: nothing to be brought to; whoever needs the two to fit says so
    labels, groups, notes = _described(table, options)
    parts, split_notes = _parts(table, labels, groups, options)
    rows = np.sort(np.concatenate(parts))
    loaded = table.content.load(rows, options, like) if table.content is not None else None
    if loaded is not None:
        parts = [part[np.isin(part, rows[loaded.readable])] for part in parts]
        notes += loaded.notes
    _check_number(table.name, len(parts[0]), 2 if options.split else 1)
    content: Any = loaded.content if loaded is not None else None
    if table.texts is not None:
        both = [*table.texts], [*(table.partners or ())]
        tokenizer = tokenizer or Tokenizer.train([texts[row] for texts in both if texts for row in parts[0]], options.vocabulary)
        tokens = _encoded(table, rows, tokenizer, options, like)
        content = tokens if content is None else Pair(content, tokens)
    found = [_samples(table, content, labels, groups, np.searchsorted(rows, part), part) for part in parts]
    annotated = [_annotations(table, part, content, tokenizer) for part in parts]
    train, test = (dataclasses.replace(one, annotations=more) for one, more in zip(found, annotated, strict=True))
    spec = _spec(table, train, labels, loaded.extra if loaded else {}, len(tokenizer) if tokenizer and table.texts is not None else 0)
    members = {name: group_names(table.columns[name]) for name in groups}
    return Source(spec, train, test if len(test) else None, [*table.notes, *notes, *split_notes], tokenizer, members)


def _described(table: Table, options: DataOptions) -> tuple[Labels, dict[str, Rows], list[str]]:
    """Labels and groups of all rows, and what to say of them."""
    columns = table.columns
    column: str | None
    if options.label and "," in options.label and options.label not in columns:
        column, labels = options.label, as_joined_labels(columns, options.label.split(","), table.name)
    else:
        column = chosen_column(columns, options.label, "label", [table.label] if table.label else [], table.name)
        labels = as_labels(columns[column], table.classes.get(column, ()), column) if column else Labels()
    named = chosen_column(columns, options.group, "group", (), table.name)
    names = [named] if named else [name for name in GROUP_NAMES if name in columns]
    notes = list(labels.notes)
    others = [name for name in columns if name != "split"]
    if column is None and others:
        notes.append(f"No column has a common name for labels; choose one with --label: {', '.join(others)}.")
    return labels, {name: as_groups(columns[name]) for name in names}, notes


def _parts(table: Table, labels: Labels, groups: Mapping[str, Rows], options: DataOptions) -> tuple[list[Rows], list[str]]:
    """Training and test rows, and how they were chosen."""
    length = len(table.ids)
    given = given_split(table.part) if table.part is not None and options.split else None
    group = next(iter(groups), None)
    if given is not None:
        train, test, notes = given
        if group is not None:
            shared = np.intersect1d(groups[group][train], groups[group][test])
            notes += [f"{len(shared)} members of {group!r} lie on both sides of the split that the data bring."] if len(shared) else []
    elif options.split:
        classes = labels.values if labels.target == "class" else None
        train, test = own_split(length, label=classes, group=groups[group] if group else None, seed=options.seed)
        by = f" by {group}" if group else ""
        notes = [f"Split{by} into {len(train):,} training and {len(test):,} test samples."]
        if not len(test):
            notes = [f"There is no test set: {length} samples{by} are too few to split."]
    else:
        train, test, notes = np.arange(length), np.arange(0), []
    if options.limit is not None:
        if given is None:
            test = limited(test, math.ceil(options.limit * TEST_SHARE / (1 - TEST_SHARE)), options.seed)
        train = limited(train, options.limit, options.seed)
    return [train, test], notes


def _check_number(name: str, found: int, least: int) -> None:
    if found < least:
        count = "1 usable training sample" if found == 1 else f"{found} usable training samples"
        raise UserError(f"{name} has {count}; expected at least {least}, because samples are compared with each other.")


def _encoded(table: Table, rows: Rows, tokenizer: Tokenizer, options: DataOptions, like: Spec | None) -> Tokens:
    """Texts of some rows, as long as the longest of them needs or as long as is wanted."""
    assert table.texts is not None
    texts = [table.texts[row] for row in rows]
    tokens = tokenizer.encode(texts)
    longest = tokens.ids.shape[1]
    wanted = options.size if options.size and table.content is None else min(longest, LONGEST_TEXT)
    context = like.context if like is not None else max(2, wanted)
    return tokens if context == longest else tokenizer.encode(texts, context)


def _samples(table: Table, content: Any, labels: Labels, groups: Mapping[str, Rows], places: Rows, part: Rows) -> Samples:
    label = None if labels.values is None else torch.from_numpy(labels.values[part])
    group = {name: torch.from_numpy(number[part]) for name, number in groups.items()}
    return Samples(content, [table.ids[row] for row in part], label, group, torch.from_numpy(places))


def _annotations(table: Table, part: Rows, content: Any, tokenizer: Tokenizer | None) -> dict[str, Any]:
    found: dict[str, Any] = {name: torch.from_numpy(values[part]) for name, values in table.annotations.items()}
    if "regions" in found and isinstance(content, Tensor):
        (height, width), (rows, columns) = content.shape[2:], found["regions"].shape[1:]
        if height * columns != width * rows:  # images were cropped to another shape, their regions were not
            del found["regions"]
    if table.partners is not None and tokenizer is not None:
        found["partner"] = tokenizer.encode([table.partners[row] for row in part], content.ids.shape[1])
    return found


def _spec(table: Table, train: Samples, labels: Labels, extra: Mapping[str, Any], vocabulary: int) -> Spec:
    content = train.content
    first = content.first if isinstance(content, Pair) else content
    tokens = content.second if isinstance(content, Pair) else content
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if isinstance(first, Tensor) and train.rows is not None:
        mean, std = channel_statistics(first, train.rows)
    return Spec(
        name=table.name,
        modality=table.modality,
        shape=tuple(first.shape[1:]) if isinstance(first, Tensor) else tuple(first.ids.shape[1:]),
        length=len(train),
        classes=labels.classes,
        target=labels.target,
        groups=tuple(train.group),
        mean=mean,
        std=std,
        vocabulary=vocabulary,
        context=tokens.ids.shape[1] if isinstance(tokens, Tokens) else 0,
        extra={**table.extra, **extra},
        values=labels.values.shape[1] if labels.values is not None and labels.values.ndim == 2 else 1,
    )
