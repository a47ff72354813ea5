"""How much training runs got, and a sentence where two arms got unequal shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nearfar.assembly.pretrained import FOLDER
from nearfar.assembly.starts import named_starts
from nearfar.errors import counted
from nearfar.methods import registry
from nearfar.runs.folder import CONFIG, RunFolder
from nearfar.stored import finite_number


@dataclass(frozen=True)
class Spent:
    """What training cost.

    Attributes:
        steps: Of the optimiser; 0 where nothing is known.
        samples: Places in all their batches.
        before: Steps among them that were taken by what the run starts from.
    """

    steps: int
    samples: int
    before: int = 0

    def text(self) -> str:
        """ "200 steps (100 of them by what it starts from) on 25,600 samples"."""
        part = f" ({self.before:,} of them by what it starts from)" if self.before else ""
        return f"{counted(self.steps, 'step')}{part} on {counted(self.samples, 'sample')}"


NOT_KNOWN = Spent(0, 0)


def spent_by(run: RunFolder) -> Spent:
    """The training of a run and of all that it starts from, as far as the folders are there."""
    config = run.config
    steps = [number for row in run.metrics() if (number := finite_number(row["step"]))]
    own = int(max(steps, default=0))
    before = [spent_by(one) for one in _starts(run)]
    return Spent(
        own + sum(one.steps for one in before),
        own * (config.options.batch_size or 0) + sum(one.samples for one in before),
        sum(one.steps for one in before),
    )


def _starts(run: RunFolder) -> list[RunFolder]:
    """The runs that a run starts from: given to it, or trained for it."""
    config = run.config
    places = [one for one in (run.folder / FOLDER).glob("*") if one.is_dir()]
    if config.options.start_from and ":" not in config.method:
        parts, encoder = named_starts(registry.get(config.method), config.options.start_from)
        given = [Path(one) for one in (*parts.values(), encoder) if one]
        places += [place for place in given if place.is_dir()]
    return [RunFolder(place) for place in places if (place / CONFIG).is_file()]


def unequal_budgets(spent: Mapping[str, Sequence[Spent]]) -> str:
    """A sentence where two arms were not trained equally long, with a space before it; otherwise
    "".

    Args:
        spent: For each arm that of its runs.

    Example:
        >>> print(unequal_budgets({"a": [Spent(9, 72)], "b": [Spent(12, 96)]}).strip())
        Their budgets differ: a had 9 steps on 72 samples, b 12 steps on 96 samples.
    """
    most = {arm: max(runs, key=lambda one: one.steps) for arm, runs in spent.items() if runs}
    totals = {(one.steps, one.samples) for one in most.values()}
    if len(totals) < 2 or any(not one.steps for one in most.values()):
        return ""
    (first, one), *others = most.items()
    told = "".join(f", {arm} {other.text()}" for arm, other in others)
    return f" Their budgets differ: {first} had {one.text()}{told}."
