"""The files below a folder: each real folder once, whatever links lead to it, and nothing that
nearfar itself wrote there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_RUN = "config.toml"
_BESIDE_RUN = ("metrics.jsonl", "encoder.json", "checkpoints")
_COMPARISON = {"results.parquet", "report.html"}


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        paths: files, those of a folder before those of its folders, in the order of their names.
        left_out: how many things were passed over, by the reason.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def files_below(folder: Path) -> Found:
    """All files below a folder but hidden ones.

    Links to folders are followed after all real folders have been seen, and only where they lead to
    a folder that has not been seen; a link to a folder above ends there. Pipes, devices and links
    to nothing are counted and left alone, and so is every folder that ``nearfar`` wrote.
    """
    found = Found()
    root = os.path.realpath(folder)
    seen: set[tuple[int, int]] = set()
    links = _walk(str(folder), found, seen)
    while links:
        later: list[str] = []
        for link in links:
            target = os.path.realpath(link)
            if root == target or root.startswith(os.path.join(target, "")):
                found.left_out["links to folders above"] += 1
            elif _identity(target) in seen:
                found.left_out["links to folders that are read already"] += 1
            else:
                later += _walk(link, found, seen)
        links = later
    return found


def _walk(start: str, found: Found, seen: set[tuple[int, int]]) -> list[str]:
    """Add the files below ``start`` without following links; returns the links to folders."""
    links: list[str] = []
    for where in _folders(start, found, seen, links):
        names = []
        for entry in _entries(where):
            if entry.name.startswith(".") or _is_folder(entry):
                continue
            if _is_file(entry):
                names.append(entry.name)
            elif entry.is_symlink():
                found.left_out["broken links"] += 1
            else:
                found.left_out["things that are no files"] += 1
        found.paths += [Path(where) / name for name in sorted(names)]
    return links


def _folders(
    where: str, found: Found, seen: set[tuple[int, int]], links: list[str]
) -> Iterator[str]:
    stack = [where]
    while stack:
        current = stack.pop()
        identity = _identity(current)
        if identity in seen:
            continue
        seen.add(identity)
        try:
            entries = _entries(current)
        except PermissionError:
            found.left_out["folders that may not be opened"] += 1
            continue
        if current != where and _is_ours({entry.name for entry in entries}):
            found.left_out["folders that nearfar wrote"] += 1
            continue
        yield current
        below = [entry for entry in entries if _is_folder(entry)]
        hidden = [entry for entry in below if entry.name.startswith(".")]
        if hidden:
            found.left_out["hidden folders"] += len(hidden)
        below = [entry for entry in below if entry not in hidden]
        links += sorted(entry.path for entry in below if entry.is_symlink())
        stack += sorted((entry.path for entry in below if not entry.is_symlink()), reverse=True)


def _entries(where: str) -> list[os.DirEntry[str]]:
    with os.scandir(where) as entries:
        return list(entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # as above
        return False


def _identity(where: str) -> tuple[int, int]:
    state = os.stat(where)
    return state.st_dev, state.st_ino


def _is_ours(names: set[str]) -> bool:
    """Whether a folder with such names in it is a run or a comparison."""
    return (_RUN in names and any(name in names for name in _BESIDE_RUN)) or names >= _COMPARISON
