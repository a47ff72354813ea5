"""A paper's central claim as an experiment: A versus B, one number, several seeds, and one verdict
rule for all of them.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nearfar.errors import unknown_name
from nearfar.evaluation.kernels.intervals import paired_difference
from nearfar.stored import with_null
from nearfar.version import __version__

_FOLDER = Path(__file__).parent
_NOT_CLAIMS = {"__init__", "claim", "files", "harness", "table"}

FIRST_SEED = 1000
"""Results are measured on the seeds from here on. Settings are chosen on smaller ones, 0 to 9,
which no result uses.
"""

LEAST_SEEDS = 5
"""Of a claim of which one seed takes less than a minute."""

HOLDS = "holds"
FAILS = "does not hold here"
OPEN = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says, as something that can be measured on a laptop.

    Attributes:
        statement: the claim in one sentence.
        first: the arm that the paper expects to have the larger ``metric``.
        second: the other arm.
        metric: the number that decides; one of those that ``measure`` returns.
        measure: arm and seed to numbers by name; the seed fixes data order, views and
            initialisation, so that arms are paired.
        seeds: number of seeds; at least ``LEAST_SEEDS``, or 3 where one takes over a minute.
        setting: data, budget and departures from the paper's setting, one sentence.
        tuning: what was tried before setting and metric stood, on which seeds, and what it showed.
        first_seed: results are measured on the seeds from this one on; above ``FIRST_SEED`` where
            an earlier form of the claim was measured on those from there.
    """

    statement: str
    first: str
    second: str
    metric: str
    measure: Callable[[str, int], Mapping[str, float]]
    setting: str
    tuning: str
    seeds: int = LEAST_SEEDS
    first_seed: int = FIRST_SEED


@dataclass(frozen=True)
class Result:
    """A claim's measured outcome; ``difference`` is first minus second of the deciding metric, with
    its 95 % interval.
    """

    name: str
    statement: str
    setting: str
    first: str
    second: str
    metric: str
    values: dict[str, list[dict[str, float]]]
    difference: float
    low: float
    high: float
    verdict: str
    seconds: float
    about: dict[str, str] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    tuning: str = ""

    def to_json(self) -> str:
        """As JSON, NaN as null; ``claims.table.read_results`` reads it back."""
        return json.dumps(with_null(asdict(self)), indent=1, allow_nan=False)


def verdict(low: float, high: float) -> str:
    """The one rule: a claim holds when the whole 95 % interval of the paired difference (first
    minus second) lies above 0, does not hold here when the whole interval lies at or below 0, and
    is inconclusive otherwise.
    """
    if low > 0:
        return HOLDS
    return FAILS if high <= 0 else OPEN


def names() -> list[str]:
    """Names of all claims: ``claims/mixed_barlow_twins.py`` is "mixed-barlow-twins"."""
    return sorted(
        f.stem.replace("_", "-") for f in _FOLDER.glob("*.py") if f.stem not in _NOT_CLAIMS
    )


def get(name: str) -> Claim:
    """The claim of that name.

    Raises:
        UserError: if there is none; names the nearest.
    """
    if name not in names():
        raise unknown_name("claim", name, names())
    claim: Claim = importlib.import_module(f"nearfar.claims.{name.replace('-', '_')}").CLAIM
    return claim


def run(
    name: str,
    claim: Claim,
    *,
    seeds: int | None = None,
    first_seed: int | None = None,
    watch: Callable[[str], None] = print,
) -> Result:
    """Measure both arms on every seed and judge.

    Args:
        name: the claim's name, for the record.
        claim: what to measure.
        seeds: number of seeds; at least 2 (an interval needs two), by default the claim's own.
        first_seed: the seeds are this one and those after it; by default the claim's own.
        watch: told after each measurement.
    """
    count = claim.seeds if seeds is None else seeds
    start = time.monotonic()
    values: dict[str, list[dict[str, float]]] = {claim.first: [], claim.second: []}
    first = claim.first_seed if first_seed is None else first_seed
    chosen = list(range(first, first + count))
    for number, seed in enumerate(chosen, 1):
        for arm in (claim.first, claim.second):
            measured = {key: float(value) for key, value in claim.measure(arm, seed).items()}
            values[arm].append(measured)
            shown = ", ".join(f"{key} {value:.4g}" for key, value in measured.items())
            watch(
                f"{name} · seed {seed} ({number} of {count}) · {arm}: {shown} "
                f"({time.monotonic() - start:.0f} s)"
            )
    expected_larger, other = (
        [row[claim.metric] for row in values[arm]] for arm in (claim.first, claim.second)
    )
    mean, low, high = paired_difference(other, expected_larger)
    return Result(
        name=name,
        statement=claim.statement,
        setting=claim.setting,
        first=claim.first,
        second=claim.second,
        metric=claim.metric,
        values=values,
        difference=mean,
        low=low,
        high=high,
        verdict=verdict(low, high),
        seconds=round(time.monotonic() - start, 1),
        about=_about(),
        seeds=chosen,
        tuning=claim.tuning,
    )


def _about() -> dict[str, str]:
    import platform
    from datetime import UTC, datetime

    import torch

    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "nearfar": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    return {key: str(value) for key, value in found.items()}
