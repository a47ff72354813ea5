"""One rule for what may be said of two encoders or two methods, on every page and in the terminal.

A difference is sure if it is larger than both its errors together explain, at a level that is
corrected for the number of differences that were looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nearfar.comparison.differences import (
    FEWEST_SEEDS,
    MOST_SEEDS,
    Difference,
    holm,
    seeds_needed,
)
from nearfar.errors import counted
from nearfar.evaluation.kernels.intervals import Interval

ENCODER = "the encoder"
PREDICTIONS = "the predictions"
"""What a verdict of one seed is about."""


@dataclass(frozen=True)
class Finding:
    """What is known of one difference by one metric.

    Attributes:
        metric: its name.
        unit: "%" or "".
        of: the difference; above 0: the second side has more.
        sure: whether it is apart from 0 at the corrected level.
        level: the corrected level.
        better: "higher", or "lower" where less is better.
    """

    metric: str
    unit: str
    of: Difference
    sure: bool
    level: float
    better: str = "higher"

    @property
    def state(self) -> str:
        """ "better", "worse" or "unsure"; of the second side."""
        return "unsure" if not self.sure else "better" if self.gain > 0 else "worse"

    @property
    def gain(self) -> float:
        """By how much the second side is better."""
        return -self.of.value if self.better == "lower" else self.of.value

    @property
    def interval(self) -> Interval:
        """The difference with the interval at the corrected level: it contains 0 exactly where
        nothing is sure.
        """
        return self.of.interval(self.level)

    def amount(self, *, signed: bool) -> str:
        """ "5.8 points kNN accuracy (3.1 to 8.5)"; a size without its sign for a sentence that
        tells the direction.
        """
        if math.isnan(self.of.value):
            return f"{self.metric}, which is undefined of one of them"
        scale, points, digits = (100, " points", 1) if self.unit == "%" else (1, "", 3)
        turn = -1 if not signed and self.of.value < 0 else 1
        value, low, high = (turn * scale * end for end in self.interval)
        sign = "+" if signed else ""
        text = f"{value + 0.0:{sign}.{digits}f}{points} {self.metric}"
        if math.isnan(low) or (1 < self.of.seeds < FEWEST_SEEDS and not self.sure):
            return text
        return f"{text} ({min(low, high):.{digits}f} to {max(low, high):.{digits}f})"


def findings(
    compared: Sequence[tuple[str, str, Difference]], better: Mapping[str, str] | None = None
) -> list[Finding]:
    """Findings of a family of differences (metric, unit, difference), corrected for their
    number.

    Args:
        compared: The family.
        better: The better end of a metric by its name, "higher" or "lower"; by default "higher".
    """
    ends = better or {}
    decided = holm([one.p() for _, _, one in compared])
    return [
        Finding(metric, unit, one, sure, level, ends.get(metric, "higher"))
        for (metric, unit, one), (sure, level) in zip(compared, decided, strict=True)
    ]


def sentence(first: str, second: str, found: Sequence[Finding], judged: str = ENCODER) -> str:
    """What may be said of the second side beside the first, by one metric or several; ``judged``:
    ``ENCODER`` or ``PREDICTIONS``.
    """
    seeds = found[0].of.seeds
    names = f"{second} and {first}"
    first, _ = _named(first, seeds, judged)
    second, verb = _named(second, seeds, judged)
    open_ones = [one for one in found if not one.sure]
    clauses = [
        _clause(first, f"{second} {verb}", [f for f in found if f.state == state], state)
        for state in ("better", "worse")
    ]
    sure = ", and ".join(clause for clause in clauses if clause)
    if not open_ones:
        text = f"{sure}."
    elif sure:
        text = f"{sure}; the difference of {_listed(open_ones, signed=True)} is not sure."
    else:
        text = (
            f"{second} cannot be told from {first} with {_conditions(found[0].of)} "
            f"({_listed(open_ones, signed=True)})."
        )
    if seeds == 1:
        return (
            f"{names} cannot be compared with one seed, at least {FEWEST_SEEDS} are needed; of "
            f"these two runs alone: {text}"
        )
    if any(math.isnan(one.of.sample_variance) for one in found):
        text += " The error by the test samples is not known of these runs."
    return f"{text}{_advice(open_ones)}"


def _named(arm: str, seeds: int, judged: str) -> tuple[str, str]:
    """A side as the subject of a sentence, with its verb: with one seed what was judged of the run,
    with several the arm.
    """
    if seeds > 1:
        return arm, "is"
    return f"{judged} of {arm}", "are" if judged == PREDICTIONS else "is"


def learned(arm: str, gains: Sequence[tuple[str, Finding]], judged: str = ENCODER) -> str:
    """A sentence where an arm is not shown to be better than the baselines by every metric;
    otherwise "".

    Args:
        arm: its name.
        gains: (baseline, what is known of the arm beside it) by one metric or several.
        judged: ``ENCODER`` or ``PREDICTIONS``.
    """
    if not gains:
        return ""
    name, verb = _named(arm, gains[0][1].of.seeds, judged)
    learner = f"{arm} has" if verb == "are" else "it has"
    metrics = list(dict.fromkeys(one.metric for _, one in gains))
    above = [
        m for m in metrics if all(one.state == "better" for _, one in gains if one.metric == m)
    ]
    open_ones = {
        m: min((g for g in gains if g[1].metric == m), key=lambda g: g[1].gain) for m in metrics
    }
    left = [open_ones[m] for m in metrics if m not in above]
    if not left:
        return ""
    told = " and ".join(f"the {row} ({one.amount(signed=True)})" for row, one in left)
    if above:
        return (
            f"{name} {verb} surely better than the baselines by {' and '.join(above)}, but not "
            f"than {told}."
        )
    if all(one.state == "worse" for _, one in left):
        return (
            f"{name} {verb} worse than {told}: {learner} learned nothing useful here in this "
            "budget."
        )
    worse, others = (
        " and ".join(
            f"the {row} ({one.amount(signed=True)})"
            for row, one in left
            if (one.state == "worse") == is_worse
        )
        for is_worse in (True, False)
    )
    start = f"{name} {verb} worse than {worse} and" if worse else f"{name} {verb}"
    return (
        f"{start} not surely better than {others}: that {learner} learned anything useful is not "
        "shown."
    )


def gained(arm: str, gains: Sequence[tuple[str, Finding]], judged: str = ENCODER) -> str:
    """What may be said of an arm beside its baselines, whatever that is; "" for nothing known.

    Args:
        arm: its name.
        gains: (baseline, what is known of the arm beside it) by one metric or several.
        judged: ``ENCODER`` or ``PREDICTIONS``.
    """
    if not gains:
        return ""
    doubt = learned(arm, gains, judged)
    if doubt:
        return doubt
    name, verb = _named(arm, gains[0][1].of.seeds, judged)
    metrics: dict[tuple[str, ...], list[str]] = {}
    for metric in dict.fromkeys(one.metric for _, one in gains):
        rows = tuple(row for row, one in gains if one.metric == metric)
        metrics.setdefault(rows, []).append(metric)
    clauses = [
        f"better than {' and '.join(f'the {row}' for row in rows)} by {' and '.join(named)}"
        for rows, named in metrics.items()
    ]
    return f"{name} {verb} surely {', and '.join(clauses)}."


def _clause(first: str, second: str, found: Sequence[Finding], state: str) -> str:
    return f"{second} {state} than {first} by {_listed(found, signed=False)}" if found else ""


def _listed(found: Sequence[Finding], *, signed: bool) -> str:
    return " and ".join(one.amount(signed=signed) for one in found)


def _conditions(of: Difference) -> str:
    seeds = counted(of.seeds, "seed")
    return f"{seeds} and {counted(of.count, 'test sample')}" if of.count else seeds


def _advice(found: Sequence[Finding]) -> str:
    """How many seeds would settle what is open."""
    found = [one for one in found if not math.isnan(one.of.value)]
    if not found:
        return ""
    needed = [(seeds_needed(one.of, one.level), one) for one in found]
    counts = [count for count, _ in needed if count is not None]
    if counts:
        return (
            f" If a difference stays as it is, about {min(counts)} seeds would be needed to be "
            "sure of it."
        )
    return (
        f" Even {MOST_SEEDS} seeds would not make a difference of this size sure on these test "
        "samples."
    )
