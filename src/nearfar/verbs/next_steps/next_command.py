"""The command that makes sense after a run, by what the run shows."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nearfar.data.options import FORMS
from nearfar.data.spec import Spec
from nearfar.evaluation.result import Evaluation
from nearfar.options import FLAGS, PretrainOptions
from nearfar.reports.health import gain
from nearfar.runs.folder import CONFIG, RunFolder
from nearfar.stored import finite_number

_OF_DATA = (
    "data",
    "label",
    "group",
    *(name for name in FORMS if name != "strict"),
    "limit",
    "prepare",
)
"""Options that a comparison shares with the run."""
_LONGER = 4
"""How many times as long a further run is, where this one was still learning."""


def next_command(run: RunFolder, spec: Spec, evaluation: Evaluation) -> str:
    """What to type next, with the reason behind a #.

    A run that is surely better than its baselines is compared with other methods. Another one is
    repeated at greater length if it was still learning, and else other methods are proposed.
    """
    found = gain(evaluation)
    data = words_of_data(run.config.options)
    if found is None:
        return f"nearfar report {quoted(run.folder)}  # look at the neighbours and the map"
    if found.state == "good":
        methods = [run.config.method, *_others(run.config.method, spec)]
        words = " ".join(map(quoted, methods))
        return f"nearfar compare {words} {data} --seeds 3  # is another method better?"
    if is_still_learning(run.metrics()):
        return f"{longer(run)}  # it was still learning"
    words = words_of_data(run.config.options, ("data", "label", "limit"))
    return f"nearfar compare --advise {words}  # which methods fit these data"


def is_still_learning(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the online kNN accuracy rose by a point or more in the last quarter of the run; where
    it was not measured, whether the loss fell by 2 % or more of its range.
    """
    scores = [number for row in rows if (number := finite_number(row.get("knn"))) is not None]
    if len(scores) > 1:
        return (
            max(scores[-max(1, len(scores) // 4) :]) - max(scores[: -max(1, len(scores) // 4)])
            > 0.01
        )
    losses = [number for row in rows if (number := finite_number(row.get("loss"))) is not None]
    if len(losses) < 4:
        return True
    quarter = len(losses) // 4
    late = sum(losses[-quarter:]) / quarter
    before = sum(losses[-2 * quarter : -quarter]) / quarter
    return before - late > 0.02 * (max(losses) - min(losses))


def longer(run: RunFolder) -> str:
    """The command that repeats a run at greater length."""
    config = run.config
    named = [config.method] if ":" in config.method else []
    length = (
        ["--steps", str(_LONGER * config.options.steps)]
        if config.options.steps
        else ["--epochs", str(_LONGER * (config.options.epochs or 1))]
    )
    words = ["nearfar", "pretrain", *named, "--config", run.folder / CONFIG, *length]
    return " ".join(map(quoted, words))


def _others(method: str, spec: Spec) -> list[str]:
    """Up to two further methods for these data."""
    from nearfar.methods import registry
    from nearfar.verbs.advise import candidates

    known = set(registry.names()) - {method}
    return [proposal.method for proposal in candidates(spec) if proposal.method in known][:2]


def words_of_data(options: PretrainOptions, names: Sequence[str] = _OF_DATA) -> str:
    """The options that name the data, as words of the command line."""
    defaults = {f.name: f.default for f in dataclasses.fields(PretrainOptions)}
    words: list[str] = []
    for name in names:
        value = getattr(options, name)
        if name == "data" or (value is not None and value != defaults[name]):
            option = FLAGS.get(name, name).replace("_", "-")
            each = value if isinstance(value, tuple) else (value,)
            words += [word for one in each for word in (f"--{option}", str(one))]
    return " ".join(map(quoted, words))


def quoted(word: object) -> str:
    """A word as the shell takes it."""
    return shlex.quote(str(word))
