"""How often a verdict is wrong: simulated comparisons without any true difference.

``python benchmarks/verdicts.py [REPEATS]`` prints, for each number of seeds and test samples, the
share of comparisons of three methods by two metrics in which anything was called sure. At most 5 %
may be.
"""

from __future__ import annotations

import sys

import numpy as np

from nearfar.comparison.verdict import LEVEL, Side, difference, findings

SEEDS = (1, 2, 3, 5)
COUNTS = (200, 1000, 10_000)
SPREADS = (0.0, 0.02, 0.1, 0.3)
ARMS = 3
METRICS = 2


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
            shares = [
                np.mean([wrong(random, seeds, count, spread) for _ in range(repeats)])
                for spread in SPREADS
            ]
            print(
                f"| {seeds} | {count:,} | "
                + " | ".join(f"{100 * share:.1f} %" for share in shares)
                + " |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
