"""How often a verdict is wrong: simulated comparisons without any true difference.

``python benchmarks/verdicts.py [REPEATS]`` prints, for each number of seeds and test samples, the
share of comparisons of three methods by two metrics in which anything was called sure. At most 5 %
may be. A cell above that is simulated anew with 20 times as many comparisons, and those alone are
shown: chance lifts some of the many cells above the level.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nearfar.comparison.differences import LEVEL, Side, difference
from nearfar.comparison.verdict import findings

SEEDS = (1, 2, 3, 5)
COUNTS = (200, 1000, 10_000)
SPREADS = (0.0, 0.02, 0.1, 0.3)
ARMS = 3
METRICS = 2
MORE = 20
"""Times as many comparisons for a cell that was above the level."""


def wrong(random: np.random.Generator, seeds: int, count: int, spread: float) -> bool:
    """Whether any of the differences of arms with equal skill is called sure.

    With one seed the sentence is about the encoders, whose skills are then equal themselves.
    """
    compared = []
    for _ in range(METRICS):
        common = random.standard_normal(count)
        sides = []
        for _ in range(ARMS):
            skill = 0.5 + (spread if seeds > 1 else 0.0) * random.standard_normal((seeds, 1))
            own = 0.5 * random.standard_normal(count)
            right = (
                skill + common + own + 0.5 * random.standard_normal((seeds, count)) > 0
            ).astype(np.float64)
            sides.append(Side(right.mean(axis=1).tolist(), list(right)))
        compared += [("accuracy", "%", difference(sides[0], other)) for other in sides[1:]]
    return any(one.sure for one in findings(compared))


def share(random: np.random.Generator, repeats: int, *setting: Any) -> float:
    """Of ``repeats`` comparisons those in which anything was called sure."""
    return float(np.mean([wrong(random, *setting) for _ in range(repeats)]))


def cell(random: np.random.Generator, repeats: int, *setting: Any) -> str:
    """A share as the table shows it; one of more comparisons where the first was above the
    level.
    """
    first = share(random, repeats, *setting)
    if first <= LEVEL:
        return f"{100 * first:.1f} %"
    more = MORE * repeats
    again = share(random.spawn(1)[0], more, *setting)
    return f"{100 * again:.2f} % of {more:,}"


def main(repeats: int) -> None:
    """Print a row for each setting."""
    print(
        f"share of {repeats} comparisons without a difference that were called sure (promised: "
        f"{LEVEL:.0%} at most)"
    )
    print("| seeds | test samples | " + " | ".join(f"spread {spread}" for spread in SPREADS) + " |")
    print("|---" * (2 + len(SPREADS)) + "|")
    for seeds in SEEDS:
        for count in COUNTS:
            random = np.random.default_rng(seeds * count)
            cells = [cell(random, repeats, seeds, count, spread) for spread in SPREADS]
            print(f"| {seeds} | {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
