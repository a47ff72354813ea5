"""What the benchmarks share: measured values with their spread, tables, the machine, and how a part
hands its tables over.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torchvision",
    "lightly",
    "pytorch-metric-learning",
    "open_clip_torch",
    "info-nce-pytorch",
    "kornia",
    "torchaudio",
)


@dataclass(frozen=True)
class Table:
    """One result: a title, how it was measured, and rows with the same keys; values are texts,
    numbers or ``spread``s.
    """

    title: str
    about: str
    rows: list[dict[str, Any]]

    def markdown(self) -> str:
        columns = list(self.rows[0])
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += [
            "| " + " | ".join(text(row[column]) for column in columns) + " |" for row in self.rows
        ]
        return f"## {self.title}\n\n{self.about}\n\n" + "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "rounds": len(values),
    }


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Their time over ours, round by round."""
    return [a / b for a, b in zip(theirs, ours, strict=False)]


def text(value: Any) -> str:
    """A value as the table shows it: three digits, and where it varied, from least to most."""
    if isinstance(value, dict):
        return text(value["median"]) + (
            f" ({text(value['least'])} to {text(value['most'])})" if value["rounds"] > 1 else ""
        )
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*:\s*(.+)", facts)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": name[1] if name else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load at the start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": versions,
    }


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options that every part understands."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    parser.add_argument(
        "--json", type=Path, help="where the tables go; without it they are printed"
    )
    return parser


def finish(tables: list[Table], options: argparse.Namespace) -> None:
    """Hand the tables over."""
    if options.json:
        options.json.write_text(json.dumps([asdict(table) for table in tables]))
    else:
        print(*(table.markdown() for table in tables), sep="\n")
