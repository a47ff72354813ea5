"""Why a run may have learned nothing: the likeliest reasons for these data, each with the command
to try.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import counted
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.simple import SIMPLE
from nearfar.methods import registry
from nearfar.reports.health import gain
from nearfar.runs.folder import RunFolder
from nearfar.stored import finite_number

_MOST = 2
_FEW_STEPS = 500
_FEW_SAMPLES = 2000
_SMALL_BATCH = 64
_FLAT = 0.1
"""Effective rank over dimensions, or deviation of a dimension relative to an even one, below which
features have collapsed."""
_SIMPLE_GAIN = 0.02
_MASKED = "mae"
_LABELLED = "supcon"


def reasons(run: RunFolder, spec: Spec, evaluation: Evaluation, longer: str) -> list[str]:
    """Up to two sentences, each with a command behind it; none where the encoder is surely better
    than its baselines.

    Args:
        run: The run.
        spec: Of its data.
        evaluation: Of its encoder.
        longer: The command that repeats the run at greater length.
    """
    found = gain(evaluation)
    if found is None or found.state == "good":
        return []
    rows = run.metrics()
    checks: list[Callable[[], str | None]] = [
        lambda: _collapsed(run, rows),
        lambda: _simple_is_better(run, spec, evaluation),
        lambda: _short(rows, longer),
        lambda: _few_samples(run, spec),
        lambda: _small_batch(run),
        lambda: _labels_elsewhere(run),
    ]
    told = [sentence for check in checks if (sentence := check()) is not None]
    return told[:_MOST]


def _command(run: RunFolder, *words: str, method: str | None = None) -> str:
    from nearfar.verbs.next_steps.next_command import quoted, words_of_data

    name = method or run.config.method
    data = words_of_data(run.config.options)
    more = " ".join(map(quoted, words))
    return " ".join(filter(None, ("nearfar pretrain", quoted(name), data, more)))


def _collapsed(run: RunFolder, rows: list[dict[str, Any]]) -> str | None:
    last = _last(rows, "relative_std")
    if last is None or last >= _FLAT:
        return None
    other = "vicreg" if run.config.method != "vicreg" else "simclr"
    return (
        "its features have nearly collapsed; a method that holds them apart may not: "
        f"{_command(run, method=other)}"
    )


def _simple_is_better(run: RunFolder, spec: Spec, evaluation: Evaluation) -> str | None:
    """Where classical features tell the classes, the views probably hide what tells them."""
    for metric in ("kNN accuracy", "linear accuracy", "R2"):
        scores = {s.row: s.value for s in evaluation.scores if s.metric == metric}
        if not {"trained", SIMPLE} <= set(scores):
            continue
        difference = scores[SIMPLE] - scores["trained"]
        if not math.isnan(difference) and difference > _SIMPLE_GAIN:
            return (
                f"simple features reach more by {metric}, so the views may hide what tells the "
                f"classes apart; {_with_other_views(run, spec)}"
            )
    return None


def _with_other_views(run: RunFolder, spec: Spec) -> str:
    """A method for these data that leans less on views, with its command.

    Masked patches need none, but an encoder over patches, which not every modality has. Labels say
    what the views must keep. Without either, methods are proposed.
    """
    from nearfar.verbs.next_steps.next_command import words_of_data

    has_patches = not spec.parts and "tokens" in modalities.get(spec.modality).encoders
    if has_patches and _is_other(run, _MASKED):
        return f"a method that needs none: {_command(run, method=_MASKED)}"
    if spec.target == "class" and _is_other(run, _LABELLED) and not spec.parts:
        return f"labels say what to keep: {_command(run, method=_LABELLED)}"
    data = words_of_data(run.config.options, ("data", "label", "limit"))
    return f"see which methods fit these data: nearfar compare --advise {data}"


def _is_other(run: RunFolder, method: str) -> bool:
    return method in registry.names() and run.config.method != method


def _short(rows: list[dict[str, Any]], longer: str) -> str | None:
    step = _last(rows, "step")
    if step is None or step >= _FEW_STEPS:
        return None
    return f"it took {counted(step, 'step')} only; give it more: {longer}"


def _few_samples(run: RunFolder, spec: Spec) -> str | None:
    if spec.length >= _FEW_SAMPLES or run.config.options.start_from:
        return None
    return (
        f"{spec.length:,} samples are few to learn from; start from an encoder of more data: "
        f"{_command(run, '--start-from', 'RUN')}"
    )


def _small_batch(run: RunFolder) -> str | None:
    size = run.config.options.batch_size
    if size is None or size >= _SMALL_BATCH:
        return None
    return f"batches of {size} hold few negatives: {_command(run, '--batch-size', '256')}"


def _labels_elsewhere(run: RunFolder) -> str:
    data = run.config.options.data
    return (
        "the labels may not be what differs most between samples; look at the neighbours and the "
        f"map: nearfar report {run.folder}  # of {data}"
    )


def _last(rows: list[dict[str, Any]] | list[Mapping[str, Any]], name: str) -> float | None:
    values = [number for row in rows if (number := finite_number(row.get(name))) is not None]
    return values[-1] if values else None
