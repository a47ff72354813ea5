"""The data of a run, and other data for its encoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from nearfar import data
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.kept import Kept
from nearfar.data.options import FORMS
from nearfar.data.prepare import STRIDE, makes_parts, prepared
from nearfar.data.remembered import recall
from nearfar.data.sizes import by_size
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Table
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.networks.encoder import Encoder
from nearfar.options import Config, PretrainOptions, changed
from nearfar.runs.encoder_files import encoder_spec, tokenizer_of


def load_data(
    options: PretrainOptions,
    like: Spec | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    split: bool = True,
    kept: Kept | None = None,
    table: Table | None = None,
) -> data.Source:
    """The data that the options name; ``like``, ``tokenizer``, ``split`` and ``kept`` as for
    ``data.load``; ``table`` holds their rows, where they were read already.

    A run that goes on gets the samples that it was started with.

    Raises:
        UserError: for data that cannot be read, or that are no longer those of the run that goes
            on.
    """
    if options.resume is not None and kept is None:
        return own_data(options.resume, options, tokenizer=tokenizer, exact=True)
    source = data.load(
        options.data if table is None else table,
        limit=options.limit,
        seed=options.seed,
        label=options.label,
        group=options.group,
        **{name: getattr(options, name) for name in FORMS},
        split=split,
        like=like,
        tokenizer=tokenizer,
        kept=kept,
    )
    return prepared(source, options.prepare, seed=options.seed) if options.prepare else source


def own_data(
    folder: Path,
    options: PretrainOptions,
    like: Spec | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    exact: bool = False,
    again: bool = False,
) -> data.Source:
    """The data of a run with the split that it was made with, wherever the call comes from.

    Args:
        folder: the run folder.
        options: the run's, perhaps with another label column.
        like: as for ``data.load``, where the data are split anew.
        tokenizer: of the run's texts.
        exact: whether training samples that are gone or changed are refused.
        again: whether the data are split anew, as other groups demand.

    Raises:
        UserError: for data that cannot be read, or of which the run knows no training sample.
    """
    found = recall(folder, options.data, exact=exact, label=options.label)
    options = dataclasses.replace(options, resume=None)
    if found is None:
        return load_data(options, like, tokenizer=tokenizer)
    path, kept = found
    options = dataclasses.replace(options, data=path)
    return (
        load_data(options, like, tokenizer=tokenizer)
        if again
        else load_data(options, tokenizer=tokenizer, kept=kept)
    )


def load_other(
    options: PretrainOptions,
    name: str,
    encoder: Encoder,
    *,
    split: bool = True,
    **columns: str | int | None,
) -> data.Source:
    """Other data for an encoder that was trained with these options, brought to its size, texts
    encoded by its tokenizer.

    All samples are taken unless ``columns`` names a ``limit``. Labels and groups are those of
    ``columns``, or of a column with a common name. Images and texts are in the run's columns, or,
    where the data have none of that name, where they would be found without. For an encoder that
    takes any size, samples keep theirs.
    """
    values = {"data": name, "prepare": (), "limit": None, "label": None, "group": None, **columns}
    like = encoder_spec(encoder)
    if encoder.any_size:
        values["size"] = None
        like = dataclasses.replace(like, shape=like.shape[:1])
    how: dict[str, Any] = {
        "like": like,
        "tokenizer": tokenizer_of(encoder),
        "split": split,
    }
    try:
        return load_data(changed(options, values), **how)
    except UserError:
        if options.text_column is None and options.image_column is None:
            raise
        return load_data(
            changed(options, {**values, "text_column": None, "image_column": None}), **how
        )


def suited(
    config: Config, source: data.Source, method_class: type[Method] | None = None
) -> tuple[Config, data.Source]:
    """The data as the method needs them: where they lack the parts that it learns from, or the
    groups that its batches are made by, the preparation that it names is added, and written into
    the configuration.

    Raises:
        UserError: If a group column that it needs has other members than it takes.
    """
    kind = method_class or registry.get(config.method)
    lacks = any(name not in source.spec.parts for name in kind.learns_from)
    lacks = lacks or any(name not in source.train.group for name in kind.needs_groups)
    if not (lacks and kind.prepared) or kind.prepared in config.options.prepare:
        _check_groups(config.method, kind, source)
        return config, source
    options = config.options
    chain = (*options.prepare, kind.prepared)
    seed = options.seed + STRIDE * len(options.prepare)
    made = prepared(source, (kind.prepared,), seed=seed)
    return dataclasses.replace(config, options=dataclasses.replace(options, prepare=chain)), made


def load_by_size(options: PretrainOptions, name: str, encoder: Encoder) -> list[data.Source]:
    """Other data for an encoder, whole; for one that takes any size, apart by the size that their
    images have.
    """
    if not encoder.any_size:
        return [load_other(options, name, encoder, split=False)]
    like = encoder_spec(encoder)
    how = data.DataOptions(
        image_column=options.image_column, strict=options.strict, channels=options.channels
    )
    other = changed(
        options,
        {"data": name, "prepare": (), "limit": None, "label": None, "group": None, "size": None},
    )
    return [
        load_data(
            other,
            dataclasses.replace(like, shape=(like.shape[0], *size)),
            split=False,
            table=table,
        )
        for table, size in by_size(name, how)
    ]


def with_parts(config: Config, source: data.Source) -> data.Source:
    """Other data with the parts that a run's method learns from, made as for the run where they are
    lacking.

    Args:
        config: Of the run.
        source: Other data, as ``load_other`` gives them.
    """
    kind = registry.get(config.method)
    if not any(name not in source.spec.parts for name in kind.learns_from):
        return source
    chain = [
        (place, text) for place, text in enumerate(config.options.prepare) if makes_parts(text)
    ]
    for place, text in chain:
        source = prepared(source, (text,), seed=config.options.seed + STRIDE * place)
    return source


def _check_groups(name: str, kind: type[Method], source: data.Source) -> None:
    for column, wanted in kind.needs_groups.items():
        found = source.members.get(column, ())
        if column in source.train.group and tuple(found) != wanted:
            told = ", ".join(found[:3]) + (" ..." if len(found) > 3 else "")
            hint = f"; leave --group out and write --with {kind.prepared}" if kind.prepared else ""
            raise UserError(
                f"{name} needs the group column {column!r} with the members {', '.join(wanted)}; "
                f"that of {source.spec.name} has {told}{hint}."
            )
