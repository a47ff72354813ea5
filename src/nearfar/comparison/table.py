"""A comparison as a table for the terminal."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from nearfar.comparison.differences import FEWEST_SEEDS
from nearfar.comparison.judged import headlines
from nearfar.errors import counted
from nearfar.evaluation.kernels.intervals import Interval

if TYPE_CHECKING:
    from rich.console import Group

    from nearfar.comparison.result import Comparison

_MOST_HEADLINES = 3
_SPREAD = "effective rank"
"""Shown beside the headlines: it tells whether the features have collapsed."""


def rich_table(comparison: Comparison, *, pairs: bool = False) -> Group:
    """One table with a line for each arm and for the two baselines, differences to the first arm
    below the means; then the costs and the verdicts as lines.
    """
    from rich.box import SIMPLE
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    names = comparison.metrics()
    others = [m for m in headlines(comparison.entries[0].evaluation) if m in names]
    leading = list(dict.fromkeys([*comparison.judged, *others]))[:_MOST_HEADLINES]
    metrics = [*(leading or names[:1]), *(name for name in names if name == _SPREAD)]
    table = Table(box=SIMPLE, padding=0)  # four metrics with their differences fit 80 columns
    table.add_column(
        "", no_wrap=True, min_width=max(map(len, (*comparison.baselines, *comparison.arms())))
    )
    for metric in metrics:
        table.add_column(escape(metric), justify="right")
    for arm in comparison.arms():
        table.add_row(*map(escape, [arm, *(_cell(comparison, arm, metric) for metric in metrics)]))
    for row in comparison.baselines:
        cells: list[str] = [row]
        for metric in metrics:
            judged = any(
                (s.metric, s.row) == (metric, row) for s in comparison.entries[0].evaluation.scores
            )
            cells.append(
                score_text(comparison, comparison.arms()[0], metric, row) if judged else "–"
            )
        table.add_row(*map(escape, cells), style="dim")
    head = f"{comparison.data}, {conditions(comparison)}; {explanation(comparison)}"
    told = comparison.verdicts()
    if pairs:
        told += ["Every pair, corrected for the number of pairs:", *comparison.verdicts_of_pairs()]
    if best := comparison.best():
        told.insert(0, f"Best by {comparison.judged[0]}: {best}.")
    told = ["", *told] if told else told
    spent = [cost_line(comparison, arm) for arm in comparison.arms()]
    return Group(escape(head), table, *map(escape, [*spent, *told]))


def cost_line(comparison: Comparison, arm: str) -> str:
    """What a run of an arm costs, in a line."""
    speed, memory, seconds = costs(comparison, arm)
    return f"{arm}: {seconds} s of training, {speed} samples/s, {memory} MiB at most"


def conditions(comparison: Comparison) -> str:
    """Budget and number of seeds."""
    seeds = len(comparison.of(comparison.arms()[0]))
    return f"{comparison.budget}, {counted(seeds, 'seed')}"


def explanation(comparison: Comparison) -> str:
    """What the numbers of the table are."""
    seeds = len(comparison.of(comparison.arms()[0]))
    if seeds == 1:
        shown = "± 95 % interval by the test samples alone"
    elif seeds < FEWEST_SEEDS:
        shown = f"one value for each seed, as {seeds} are too few for an interval"
    else:
        shown = "mean ± 95 % interval by seeds and test samples together"
    several = len(comparison.arms()) * len(comparison.judged) > 2
    corrected = (
        f" (of {' and '.join(comparison.judged)} corrected for the number of comparisons)"
        if several
        else ""
    )
    return f"shares in %, {shown}; in brackets the paired difference to the first{corrected}"


def _cell(comparison: Comparison, arm: str, metric: str) -> str:
    text = score_text(comparison, arm, metric)
    return (
        text
        if arm == comparison.arms()[0]
        else f"{text}\n({difference_text(comparison, arm, metric)})"
    )


def score_text(comparison: Comparison, arm: str, metric: str, row: str = "trained") -> str:
    """ "61.2 ± 1.3"; with two seeds "60.9, 61.5"."""
    unit = comparison.unit(metric)
    values = comparison.values(arm, metric, row)
    if 1 < len(values) < FEWEST_SEEDS and len(set(values)) > 1:
        return ", ".join(text_of(Interval(value, math.nan, math.nan), unit) for value in values)
    return text_of(comparison.mean(arm, metric, row), unit)


def difference_text(comparison: Comparison, arm: str, metric: str) -> str:
    """ "+1.2 ± 0.8"; with two seeds without an interval."""
    found = comparison.difference(arm, metric)
    if 1 < len(comparison.of(arm)) < FEWEST_SEEDS:
        found = Interval(found.value, math.nan, math.nan)
    return signed(found, comparison.unit(metric))


def text_of(interval: Interval, unit: str) -> str:
    """ "61.2 ± 1.3", a share as a percentage; numbers under 10 that are none with three digits;
    "undefined" for NaN.
    """
    if math.isnan(interval.value):
        return "undefined"
    scale = 100 if unit == "%" else 1
    digits = 1 if unit == "%" or abs(interval.value) >= 10 else 3
    half = (interval.high - interval.low) / 2
    text = f"{scale * interval.value:.{digits}f}"
    return text if math.isnan(half) else f"{text} ± {scale * half:.{digits}f}"


def signed(difference: Interval, unit: str) -> str:
    """``text_of`` a difference, with its sign."""
    text = text_of(difference, unit)
    return text if text.startswith("-") or math.isnan(difference.value) else f"+{text}"


def costs(comparison: Comparison, arm: str) -> list[str]:
    """Samples per second, peak memory in MiB and seconds of training of an arm: medians over its
    seeds.
    """
    entries = comparison.of(arm)
    each = ((entry.samples_per_second, entry.peak_memory, entry.seconds) for entry in entries)
    medians = [statistics.median(values) for values in zip(*each, strict=True)]
    return ["–" if math.isnan(value) else f"{value:,.0f}" for value in medians]
