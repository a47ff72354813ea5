"""The first line of a page: what was trained, on what, for how long, and with which seed."""

from __future__ import annotations

import html
from collections.abc import Sequence

from nearfar.errors import counted
from nearfar.networks.catalogue import short
from nearfar.reports.look import Look
from nearfar.runs.folder import RunFolder
from nearfar.stored import finite_number


def facts(look: Look) -> list[str]:
    """Encoder, samples, length, seed and time of a run."""
    run = look.run
    options = run.config.options
    spec = look.source.spec
    found = [
        f"encoder {short(options.encoder) or 'by default'}",
        f"{counted(len(look.source.train), f'{spec.modality} sample')} for training",
    ]
    if look.source.test is not None:
        found.append(f"{len(look.source.test):,} for testing")
    return [*found, *_length(run), f"seed {options.seed}", *_time(run)]


def facts_of_several(looks: Sequence[Look], runs: Sequence[RunFolder]) -> list[str]:
    """The same of a comparison: what all runs share, all seeds, and the time of all trainings.

    Args:
        looks: at one run of each arm.
        runs: all runs.
    """
    first = looks[0]
    encoders = dict.fromkeys(
        short(look.run.config.options.encoder) or "by default" for look in looks
    )
    seeds = sorted({run.config.options.seed for run in runs})
    lengths = dict.fromkeys(" ".join(_length(look.run)) for look in looks)
    found = [
        f"encoder {', '.join(encoders)}",
        f"{counted(len(first.source.train), f'{first.source.spec.modality} sample')} for training",
    ]
    if first.source.test is not None:
        found.append(f"{len(first.source.test):,} for testing")
    total = sum(_seconds(run) for run in runs)
    return [
        *found,
        " or ".join(lengths),
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
        f"{_duration(total)} of training for {counted(len(runs), 'run')}",
    ]


def line(found: Sequence[str]) -> str:
    """As HTML."""
    return f'<p class="facts">{html.escape(" · ".join(found))}</p>'


def _length(run: RunFolder) -> list[str]:
    options = run.config.options
    rows = run.metrics()
    steps = max((number for row in rows if (number := finite_number(row["step"]))), default=None)
    epochs = max(
        (number for row in rows if (number := finite_number(row.get("epoch")))), default=None
    )
    done = [f"{epochs:.3g} epoch{'s' * (epochs != 1)}"] if epochs is not None else []
    if steps is not None:
        done.append(counted(steps, "step"))
    batch = f"batches of {options.batch_size}" if options.batch_size else ""
    told = " or ".join(done) if len(done) < 2 else f"{done[0]} ({done[1]})"
    return [", ".join(part for part in (told, batch) if part)] if told or batch else []


def _time(run: RunFolder) -> list[str]:
    seconds = _seconds(run)
    return [f"{_duration(seconds)} of training"] if seconds else []


def _seconds(run: RunFolder) -> float:
    found = (finite_number(row.get("seconds")) for row in run.metrics())
    return max((number for number in found if number is not None), default=0.0)


def _duration(seconds: float) -> str:
    """ "12 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
