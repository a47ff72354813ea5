"""What a run remembers of its data: where they lie, which samples it was trained and tested on, and
what these held.

In the run folder these are ``data.json`` (facts for a reader) and ``samples.parquet`` (a row for
each sample that was read: its name, its part, a mark of its content and its label). Later the run
takes its samples by them, whatever has become of the folder or file since.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nearfar.data.kept import TEST, TRAIN, UNUSED, Kept
from nearfar.data.labels import label_texts
from nearfar.data.readers import catalogue
from nearfar.data.samples import Source
from nearfar.data.spec import Spec, check_spec, migrated
from nearfar.data.tables.rows import condition_of
from nearfar.errors import UserError, brief
from nearfar.files import replacing, write_text
from nearfar.stored import check_file, field_of, read_json, record

FACTS = "data.json"
SAMPLES = "samples.parquet"
_VERSION = 1
_FREE = {
    "output",
    "resume",
    "evaluate",
    "shard",
    "device",
    "log",
    "checkpoint_minutes",
    "evaluate_every",
    "data",
}
"""Options that may differ when a run goes on: they decide nothing of what it computes, or are
checked by the samples."""


def remember(folder: Path, data: str, source: Source, config: Mapping[str, Any]) -> None:
    """Write what a run must know of its data later.

    Args:
        folder: the run folder.
        data: name or path as it was given.
        source: the data as they were loaded.
        config: the run's options and settings, none of which may change when the run goes on.
    """
    assert source.rows is not None
    ids = source.read
    parts = np.full(len(ids), UNUSED, dtype=object)
    marks = np.zeros(len(ids), dtype=np.int64)
    labels = np.full(len(ids), None, dtype=object)
    for part, samples, rows in zip(
        (TRAIN, TEST), (source.train, source.test), source.rows, strict=True
    ):
        parts[rows.numpy()] = part
        if samples is not None and samples.marks is not None:
            marks[rows.numpy()] = samples.marks.numpy()
        if samples is not None:
            values = None if samples.label is None else samples.label.numpy()
            labels[rows.numpy()] = label_texts(values, source.spec.classes, len(rows))
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "part": pa.array(parts, pa.string()),
            "mark": pa.array(marks, pa.int64()),
            "label": pa.array(labels, pa.string()),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    # pyarrow takes a path with a colon for an address, so it gets a file.
    with replacing(folder / SAMPLES, overwrite=True) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file)
    facts = {
        "version": _VERSION,
        "given": data,
        "path": absolute(data),
        "read": source.summary(),
        "whole marks": source.whole_marks,
        "digest": _digest(folder / SAMPLES),
        "spec": dataclasses.asdict(source.spec),
        "config": _plain(config),
    }
    write_text(folder / FACTS, json.dumps(facts, indent=1) + "\n", overwrite=True)


def recall(
    folder: Path, data: str, *, exact: bool = False, label: str | None = None
) -> tuple[str, Kept] | None:
    """Where a run's data lie and which samples it has; None for a run of a version that did not
    remember.

    Args:
        folder: the run folder.
        data: name or path in the run's configuration. Where it is no longer the one that the run
            was given, it was put right by hand after the data had moved, and is taken.
        exact: as in ``Kept``.
        label: column of the labels that are wanted now; those of another column than the run's are
            not compared with the run's.

    Raises:
        UserError: if what was remembered is damaged.
    """
    if not os.path.lexists(folder / FACTS) and not os.path.lexists(folder / SAMPLES):
        return None
    facts = _facts(folder)
    try:
        if facts["digest"] != _digest(folder / SAMPLES):
            raise UserError(_damaged(folder, f"{SAMPLES} is not what {FACTS} was written with"))
        columns = pq.ParquetFile(folder / SAMPLES).read()
        spec = record(Spec, migrated(facts["spec"]), f"the spec in {folder / FACTS}")
        check_spec(spec, f"the spec in {folder / FACTS}")
        kept = Kept(
            _texts(columns["id"]),
            _texts(columns["part"]),
            np.asarray(columns["mark"].cast(pa.int64()).to_numpy(), dtype=np.int64),
            spec,
            field_of(facts, "whole marks", bool, str(folder / FACTS)),
            exact,
            columns["label"].to_pylist()
            if "label" in columns.column_names and facts["config"].get("label") == label
            else None,
        )
        path, given = (
            field_of(facts, name, str, str(folder / FACTS)) for name in ("path", "given")
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(_damaged(folder, str(error))) from error
    if data != given:
        return data, kept
    return (path if _is_there(path) or not _is_there(given) else given), kept


def _texts(column: pa.ChunkedArray) -> list[str]:
    """The texts of a column, none of which may be missing."""
    if column.null_count:
        raise ValueError("a name or a part is missing")
    found: list[str] = column.cast(pa.string()).to_pylist()
    return found


def check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse to go on with a configuration that was edited since the run was started.

    Raises:
        UserError: that names what differs.
    """
    if not (folder / FACTS).exists():
        return
    was = _facts(folder).get("config")
    now = _plain(config)
    if not isinstance(was, dict):
        raise UserError(_damaged(folder, "it holds no config"))
    keys = [key for key in {**was, **now} if key not in _FREE and was.get(key) != now.get(key)]
    if keys:
        told = ", ".join(
            f"{key} is {brief(now.get(key))} and was {brief(was.get(key))}" for key in keys[:3]
        )
        raise UserError(
            f"The configuration of {folder} was changed since the run was started: {told}; put it "
            f"back to go on, or start a new run."
        )


def absolute(data: str) -> str:
    """Data by the whole path where they are a file or folder, and by their name otherwise."""
    name, condition = condition_of(data)
    if Path(data).expanduser().exists():
        name = data
        condition = None
    if (
        name in catalogue.EMBEDDED
        or name.startswith(catalogue.PREFIXES)
        or not Path(name).expanduser().exists()
    ):
        return data
    found = os.path.abspath(Path(name).expanduser())
    return f"{found}#{condition[0]}={condition[1]}" if condition else found


def _is_there(data: str) -> bool:
    name, _ = condition_of(data)
    known = name in catalogue.EMBEDDED or name.startswith(catalogue.PREFIXES)
    return known or Path(name).expanduser().exists() or Path(data).expanduser().exists()


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = read_json(folder / FACTS, "restore it")
    except UserError as error:
        raise UserError(_damaged(folder, str(error).rstrip("."))) from error
    if not isinstance(facts, dict) or not isinstance(facts.get("version"), int):
        raise UserError(_damaged(folder, "it states no version"))
    if facts["version"] > _VERSION:
        raise UserError(
            f"{folder / FACTS} was written by a newer version of nearfar; update nearfar."
        )
    return facts


def _damaged(folder: Path, reason: str) -> str:
    return (
        f"What {folder} remembers of its data is damaged ({reason}); restore {FACTS} and "
        f"{SAMPLES}, or remove both to split the data anew, "
        "by which test samples may be ones that the encoder was trained on."
    )


def _digest(path: Path) -> str:
    check_file(path, "restore it")
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they come back from JSON."""
    found: dict[str, Any] = json.loads(json.dumps(dict(values), default=str))
    return found
