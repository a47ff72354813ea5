"""A comparison as a table for the terminal."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from nearfar.evaluation.intervals import Interval

if TYPE_CHECKING:
    from rich.console import Group

    from nearfar.comparison.result import Comparison

_SHOWN = ("linear accuracy", "10 % of labels", "effective rank")
"""Metrics beside the headline, where they were measured."""


def rich_table(comparison: Comparison) -> Group:
    """A line for each arm and for the two baselines with differences to the first arm below the means, the costs, the verdicts."""
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    metrics = [comparison.headline, *(m for m in _SHOWN if m in comparison.metrics() and m != comparison.headline)]
    table = Table(box=SIMPLE, padding=0)  # four metrics with their differences fit 80 columns
    table.add_column("", no_wrap=True, min_width=max(map(len, ("random encoder", *comparison.arms()))))
    for metric in metrics:
        table.add_column(escape(metric), justify="right")
    for arm in comparison.arms():
        table.add_row(*map(escape, [arm, *(_cell(comparison, arm, metric) for metric in metrics)]))
    for row in ("random encoder", "raw input"):
        if row in comparison.entries[0].evaluation.rows():
            cells: list[str] = [row]
            for metric in metrics:
                judged = any((s.metric, s.row) == (metric, row) for s in comparison.entries[0].evaluation.scores)
                cells.append(text_of(comparison.mean(comparison.arms()[0], metric, row), comparison.unit(metric)) if judged else "–")
            table.add_row(*map(escape, cells), style="dim")
    costs_table = Table("", box=SIMPLE)
    for name in ("samples/s", "peak MiB", "seconds"):
        costs_table.add_column(name, justify="right")
    for arm in comparison.arms():
        costs_table.add_row(*map(escape, [arm, *costs(comparison, arm)]))
    seeds = len(comparison.of(comparison.arms()[0]))
    head = (
        f"{comparison.data}, {comparison.budget}, {seeds} seed{'s' if seeds > 1 else ''}; shares in %, mean ± 95 % interval over seeds, "
        "in brackets the paired difference to the first"
    )
    return Group(escape(head), table, costs_table, *(escape(sentence) for sentence in comparison.verdicts()))


def _cell(comparison: Comparison, arm: str, metric: str) -> str:
    unit = comparison.unit(metric)
    mean = text_of(comparison.mean(arm, metric), unit)
    return mean if arm == comparison.arms()[0] else f"{mean}\n({signed(comparison.difference(arm, metric), unit)})"


def text_of(interval: Interval, unit: str) -> str:
    """"61.2 ± 1.3", a share as a percentage; numbers under 10 that are none with three digits."""
    scale = 100 if unit == "%" else 1
    digits = 1 if unit == "%" or abs(interval.value) >= 10 else 3
    half = (interval.high - interval.low) / 2
    text = f"{scale * interval.value:.{digits}f}"
    return text if math.isnan(half) else f"{text} ± {scale * half:.{digits}f}"


def signed(difference: Interval, unit: str) -> str:
    """``text_of`` a difference, with its sign."""
    text = text_of(difference, unit)
    return text if text.startswith("-") else f"+{text}"


def costs(comparison: Comparison, arm: str) -> list[str]:
    """Samples per second, peak memory in MiB and seconds of training of an arm: medians over its seeds."""
    entries = comparison.of(arm)
    each = ((entry.samples_per_second, entry.peak_memory, entry.seconds) for entry in entries)
    medians = [statistics.median(values) for values in zip(*each, strict=True)]
    return ["–" if math.isnan(value) else f"{value:,.0f}" for value in medians]
