"""All measured claims as one Markdown table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nearfar.claims.claim import FAILS, HOLDS, OPEN, Result
from nearfar.errors import UserError
from nearfar.stored import field_of, read_json, record, with_nan

_MEND = "measure the claim again with `nearfar claim NAME`"

_RULE = (
    "A claim *holds* when the whole 95 % t-interval of the paired difference (same seeds in both "
    "arms) lies above 0 in the paper's"
    " direction, *does not hold here* when it lies at or below 0, and is *inconclusive* otherwise. "
    "The rule is the same for all."
    " Metric and setting stood before the measurement; they were chosen on seeds below 10, the "
    "results are on other seeds."
)


def read_results(folder: Path) -> list[Result]:
    """The results that ``nearfar claim`` wrote into a folder, by name."""
    return [_result(path) for path in sorted(folder.glob("*.json"))]


def _result(path: Path) -> Result:
    """One result.

    Raises:
        UserError: if the file is damaged.
    """
    found = record(Result, with_nan(read_json(path, _MEND)), str(path))
    for arm in (found.first, found.second):
        rows = found.values.get(arm)
        if not rows:
            raise UserError(f"{path} holds no values of {arm}; {_MEND}.")
        where = f"the values of {arm} in {path}"
        names = {name for row in rows if isinstance(row, dict) for name in row}
        for row in rows:
            for name in {*names, found.metric}:
                if not math.isfinite(field_of(row, name, float, where)):
                    raise UserError(f"{name} in {where} is not finite; {_MEND}.")
    return found


def render(results: Sequence[Result], missing: Sequence[str] = ()) -> str:
    """The table, the rule, and what each claim says and was measured on.

    Args:
        results: one for each measured claim.
        missing: names of claims that were not measured.
    """
    counts = {
        verdict: sum(result.verdict == verdict for result in results)
        for verdict in (HOLDS, FAILS, OPEN)
    }
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = ["# Claims", "", f"Command: `nearfar claim --all`. {summary}.", "", _RULE, ""]
    if missing:
        lines += [f"Not measured: {', '.join(missing)}.", ""]
    lines += [
        "| system | A | B | metric | A (mean) | B (mean) | A - B | 95 % interval | verdict | seeds "
        "| s |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|"]
    lines += [_row(result) for result in results]
    for result in results:
        lines += [
            "",
            f"## {result.name}",
            "",
            result.statement,
            "",
            f"Setting: {result.setting}",
            "",
        ]
        lines += [f"Before it: {result.tuning or 'not recorded.'}", "", *_all_metrics(result)]
        lines += ["", ", ".join(f"{key} {value}" for key, value in result.about.items()) + "."]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    first, second = (_mean(result, arm, result.metric) for arm in (result.first, result.second))
    cells = [
        result.name,
        result.first,
        result.second,
        result.metric.replace("_", " "),
        f"{first:.4g}",
        f"{second:.4g}",
        f"{result.difference:+.4g}",
        f"{result.low:+.4g} to {result.high:+.4g}",
        f"**{result.verdict}**",
        _seeds(result),
        f"{result.seconds:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _seeds(result: Result) -> str:
    count = len(result.values[result.first])
    return f"{count} ({result.seeds[0]} to {result.seeds[-1]})" if result.seeds else str(count)


def _all_metrics(result: Result) -> list[str]:
    """What else was measured, as means over seeds; an arm need not have every metric of the
    other.
    """
    names = list(
        dict.fromkeys(
            name for arm in (result.first, result.second) for name in result.values[arm][0]
        )
    )
    head = "| mean over seeds | " + " | ".join(name.replace("_", " ") for name in names) + " |"
    means = {
        arm: [_text(result, arm, name) for name in names] for arm in (result.first, result.second)
    }
    rows = [f"| {arm} | " + " | ".join(values) + " |" for arm, values in means.items()]
    return [head, "|---" * (len(names) + 1) + "|", *rows]


def _text(result: Result, arm: str, metric: str) -> str:
    return f"{_mean(result, arm, metric):.4g}" if metric in result.values[arm][0] else "–"


def _mean(result: Result, arm: str, metric: str) -> float:
    values = [row[metric] for row in result.values[arm]]
    return sum(values) / len(values)
