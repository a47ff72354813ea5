"""The runs of a study: a comparison for each condition, then the judgements that carry over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nearfar.comparison.arms import arms_of
from nearfar.comparison.options import CompareOptions
from nearfar.comparison.result import Comparison, Entry
from nearfar.evaluation import Evaluation
from nearfar.stored import read_text
from nearfar.studies.outcome import Carried, Outcome
from nearfar.studies.study import CARRIED, Study

Compare = Callable[..., Comparison]
Judge = Callable[..., Evaluation]


def run_study(
    name: str,
    study: Study,
    folder: Path,
    *,
    seeds: int,
    full: bool,
    compare: Compare,
    judge: Judge,
    watch: Callable[[str], None],
) -> Outcome:
    """Train and judge everything; what is done is skipped, so that an interrupted study goes on.

    Args:
        name: Of the study.
        study: What is asked.
        folder: Of all runs.
        seeds: Of every arm under every condition.
        full: Whether at the paper's scale.
        compare: The verb of that name.
        judge: The verb ``evaluate``.
        watch: Is told what is done now.

    Raises:
        UserError: If the data of a condition cannot be had, or a run fails.
    """
    shapes = _shapes(study, full)
    found: dict[str, Comparison] = {}
    conditions = study.conditions_of(full=full)
    for condition in conditions:
        watch(f"condition {condition}")
        options = study.options_of(condition, full=full)
        made = compare(
            *study.arms,
            settings=study.settings,
            seeds=seeds,
            output=folder / condition,
            **options,
        )
        found[condition] = _judged(made, study, judge, watch)
    pairs = _pairs(shapes) if study.judged_on == "all" else []
    carried = _carried(found, pairs, study, folder / CARRIED, full, judge, watch)
    return Outcome(name, study, found, conditions, tuple(carried))


def _shapes(study: Study, full: bool) -> dict[str, Any]:
    """What the samples of every condition are, told before anything is trained.

    Raises:
        UserError: If an arm is not known, or the data of a condition cannot be had.
    """
    from nearfar.assembly.loaded import load_data
    from nearfar.comparison.running import shared_options

    arms_of(study.arms, study.settings)
    found = {}
    for condition in study.conditions_of(full=full):
        options = CompareOptions(**study.options_of(condition, full=full))
        spec = load_data(shared_options(options)).spec
        found[condition] = spec.modality, spec.shape
    return found


def _pairs(shapes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Conditions whose encoders take each other's samples: (trained on, judged on)."""
    return [
        (first, second)
        for first in shapes
        for second in shapes
        if first != second and shapes[first] == shapes[second]
    ]


def _judged(
    made: Comparison, study: Study, judge: Judge, watch: Callable[[str], None]
) -> Comparison:
    """The comparison with the study's protocols; those that are there already stand."""
    asked = [name for name in study.protocols if name != "quick"]
    if not asked:
        return made
    entries = []
    for entry in made.entries:
        known = {version.rpartition("-v")[0] for version in entry.evaluation.protocols}
        left = [name for name in asked if name not in known]
        if left:
            watch(f"{entry.arm}, seed {entry.seed}: {', '.join(left)}")
            judge(entry.folder, protocols=",".join(left))
        entries.append(_again(entry))
    return dataclasses.replace(made, entries=tuple(entries))


def _again(entry: Entry) -> Entry:
    from nearfar.runs.folder import RunFolder

    evaluation = RunFolder(entry.folder).evaluation()
    assert evaluation is not None
    return dataclasses.replace(entry, evaluation=evaluation)


def _carried(
    found: dict[str, Comparison],
    pairs: Sequence[tuple[str, str]],
    study: Study,
    folder: Path,
    full: bool,
    judge: Judge,
    watch: Callable[[str], None],
) -> list[Carried]:
    """Every run of the first condition of a pair on the data of the second."""
    each = []
    for trained_on, judged_on in pairs:
        options = study.options_of(judged_on, full=full)
        for entry in found[trained_on].entries:
            arm = entry.arm.replace(" ", "-").replace("/", "_")
            place = folder / f"{arm}-seed-{entry.seed}-{trained_on}-on-{judged_on}.json"
            if not place.exists():
                watch(f"{entry.arm} of {trained_on}, seed {entry.seed}, on {judged_on}")
                place.parent.mkdir(parents=True, exist_ok=True)
                judge(entry.folder, output=place, **_data_of(options))
            each.append(Carried(entry.arm, trained_on, judged_on, entry.seed, _scores(place)))
    return each


def _data_of(options: dict[str, Any]) -> dict[str, Any]:
    names = ("data", "label", "group", "limit")
    return {name: options[name] for name in names if name in options}


def _scores(place: Path) -> dict[str, float]:
    text = read_text(place, "remove it, and the same command judges again")
    evaluation = Evaluation.from_json(text, str(place))
    return {score.metric: score.value for score in evaluation.scores if score.row == "trained"}
