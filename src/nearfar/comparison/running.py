"""The runs of a comparison, each in a process of its own; what is done already is skipped, what was
interrupted goes on.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nearfar import own
from nearfar.assembly.processes import Child, ending_with_us
from nearfar.comparison.arms import Arm
from nearfar.comparison.conditions import options_of, starts_for
from nearfar.comparison.gathering import MEMORY, entry_of
from nearfar.comparison.options import CompareOptions
from nearfar.comparison.result import Comparison
from nearfar.data.options import FORMS
from nearfar.errors import UserError, counted
from nearfar.files import write_text
from nearfar.options import MOST_SAMPLES, Config, PretrainOptions
from nearfar.ranges import checked, whole_number
from nearfar.reports.terminal import BRIEF
from nearfar.runs.folder import CHECKPOINTS, CONFIG, EVALUATION, RunFolder
from nearfar.stored import field_of, read_json

if TYPE_CHECKING:
    from nearfar.data.spec import Spec
    from nearfar.methods.method import Method

PLAN = "comparison.json"
BASELINES = "baselines"
_PLANNED: dict[str, Any] = {
    "steps": dict[str, Annotated[int, whole_number(0, MOST_SAMPLES)]],
    "encoder": str,
    "batch_size": Annotated[int, whole_number(2)],
    "epochs": Annotated[int, whole_number()],
    "budget": str,
}
"""What a plan holds beside what was asked for."""
_STRICTEST = ("towers", "nodes", "restorer", "tokens")
"""Kinds of encoders that serve arms which ask for less, too."""
# steps
_TIMED = 8
_UNTIMED = 3
_INTERRUPTED = 130  # exit code of a run that was asked to stop


def planned(arms: Sequence[Arm], options: CompareOptions, folder: Path) -> dict[str, Any]:
    """What every run gets, written into the folder once and read back from then on, so that a
    comparison can be continued.

    Raises:
        UserError: if the folder holds another comparison, or is something else.
    """
    asked = {
        "arms": [[arm.method, dict(arm.settings)] for arm in arms],
        "options": _jsonable(options),
    }
    path = folder / PLAN
    if os.path.lexists(path):
        plan = _read_plan(path)
        old = {**plan["asked"], "options": {**plan["asked"]["options"], "seeds": options.seeds}}
        if not _extends(asked, old) and _begun(folder):
            raise UserError(
                f"{folder} holds another comparison, with other methods or options; choose another "
                "--output."
            )
        if not _extends(asked, old):
            # No run was begun under the old conditions.
            plan = {"steps": {}, **_conditions(arms, options)}
        missing = [arm for arm in arms if arm.name not in plan["steps"]]
    elif folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and is not a comparison; choose another --output.")
    else:
        plan = {"steps": {}, **_conditions(arms, options)}
        missing = list(arms)
    plan["asked"] = asked
    for arm in missing:
        plan["steps"][arm.name] = _steps(arm, options, plan)
    write_text(path, json.dumps(plan, indent=1) + "\n", overwrite=True)
    return plan


def _begun(folder: Path) -> bool:
    """Whether any run of a comparison has a folder."""
    return any(place.is_dir() for place in folder.glob("*/seed-*"))


def _read_plan(path: Path) -> dict[str, Any]:
    """What ``planned`` wrote, checked.

    Raises:
        UserError: if it is damaged.
    """
    where = str(path)
    plan: dict[str, Any] = checked(
        dict[str, Any], where, read_json(path, "restore it, or choose another --output")
    )
    asked = field_of(plan, "asked", dict[str, Any], where)
    for arm in field_of(asked, "arms", list, where):
        checked(tuple[str, dict[str, Any]], f"An arm in {where}", arm)
    if not asked["arms"]:
        raise UserError(f"{where} names no arms; restore it, or choose another --output.")
    field_of(asked, "options", dict[str, Any], where)
    for name, hint in _PLANNED.items():
        field_of(plan, name, hint, where)
    return plan


def run_all(
    arms: Sequence[Arm],
    options: CompareOptions,
    plan: dict[str, Any],
    folder: Path,
    watch: Callable[[str], None],
) -> Comparison:
    """Train and judge every arm on every seed, seed by seed, so that an early stop leaves something
    to compare.

    Raises:
        UserError: if a run fails; the others are kept, and the same command goes on.
    """
    for seed in range(options.seeds):
        for arm in arms:
            place = folder / arm.folder / f"seed-{seed}"
            if (place / EVALUATION).exists():
                watch(f"{arm.name}, seed {seed}: done already")
                continue
            watch(f"{arm.name}, seed {seed}")
            _run_one(config_of(arm, options, plan, seed), place)
    return gathered(arms, options, plan, folder)


def gathered(
    arms: Sequence[Arm], options: CompareOptions, plan: dict[str, Any], folder: Path
) -> Comparison:
    """The comparison from the finished runs of a folder."""
    entries = [
        entry_of(RunFolder(folder / arm.folder / f"seed-{seed}"), arm.name, dict(arm.settings))
        for arm in arms
        for seed in range(options.seeds)
    ]
    return Comparison(entries[0].evaluation.data, plan["budget"], tuple(entries))


def config_of(arm: Arm, options: CompareOptions, plan: dict[str, Any], seed: int) -> Config:
    """The configuration of one run."""
    same = {
        f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name in _SHARED
    }
    budget = (
        {"steps": plan["steps"][arm.name]}
        if plan["steps"][arm.name]
        else {"epochs": plan["epochs"]}
    )
    shared = PretrainOptions(
        **same,
        **budget,
        batch_size=plan["batch_size"],
        encoder=plan["encoder"] or None,
        seed=seed,
    )
    return Config(
        arm.method,
        options_of(arm, shared),
        arm.of_method,
        arm.of_views or options.views or {},
    )


_SHARED = {
    "data",
    "start_from",
    "recipe",
    "limit",
    "label",
    "group",
    *FORMS,
    "prepare",
    "order",
    "schedule",
    "precision",
    "device",
}


def _jsonable(options: CompareOptions) -> dict[str, Any]:
    return {
        f.name: getattr(options, f.name)
        for f in dataclasses.fields(options)
        if f.name not in ("output", "pairs")
    }


def _extends(asked: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether the same options are asked for, and at least the same arms (more arms, and more
    seeds, may be added).
    """
    wanted = json.loads(json.dumps(asked))
    first = wanted["arms"][0] == old["arms"][0]
    then = {
        **json.loads(json.dumps(_jsonable(CompareOptions()))),
        **old["options"],
    }  # an option may be newer than the comparison
    return bool(
        wanted["options"] == then and first and all(arm in wanted["arms"] for arm in old["arms"])
    )


def shared_options(options: CompareOptions) -> PretrainOptions:
    """The options of a single run that those of a comparison say, without budget and seed."""
    return PretrainOptions(
        **{name: getattr(options, name) for name in _SHARED},
        batch_size=options.batch_size,
        encoder=options.encoder,
    )


def _conditions(arms: Sequence[Arm], options: CompareOptions) -> dict[str, Any]:
    """The batch size, encoder and number of epochs that all arms share."""
    from nearfar.assembly.assemble import assemble, resolved_recipe
    from nearfar.assembly.loaded import load_data, suited
    from nearfar.assembly.seeing import settings_of
    from nearfar.methods import registry

    first = shared_options(options)
    source = load_data(first)
    kinds = {arm.name: registry.named_by_user(arm.method) for arm in arms}
    encoder = options.encoder
    if encoder is None:
        lead = Config(arms[0].method, first, arms[0].of_method)
        spec = suited(lead, source)[1].spec
        encoder = _shared_encoder(list(kinds.values()), options.start_from, spec)
    first = dataclasses.replace(first, encoder=encoder or None)
    recipes: dict[str, Any] = {}
    for arm in arms:
        given = options_of(arm, first)
        asked = Config(arm.method, given, arm.of_method, arm.of_views or options.views or {})
        config, fitting = suited(asked, source)
        if kinds[arm.name].pretrained:  # what it starts from is trained with the run
            _, recipes[arm.name], _ = resolved_recipe(config, fitting, kinds[arm.name])
        else:
            assembled = assemble(config, fitting)  # refuses what does not fit
            settings_of(assembled.method, config)
            recipes[arm.name] = assembled.recipe
    recipe = recipes[arms[0].name]
    epochs = options.epochs or recipe.epochs
    budget = counted(options.steps or epochs, "step" if options.steps else "epoch")
    budget = f"{options.seconds:g} seconds of training" if options.seconds else budget
    told = encoder or "the encoder of what each starts from"
    words = f"{budget} each, batches of {recipe.batch_size}, {told}"
    return {"encoder": encoder, "batch_size": recipe.batch_size, "epochs": epochs, "budget": words}


def _shared_encoder(kinds: Sequence[type[Method]], starts: tuple[str, ...], spec: Spec) -> str:
    """A small encoder that fits the data and all methods; "" where one of them goes on with the
    encoder of what it starts from.
    """
    from nearfar import networks
    from nearfar.assembly.starts import named_starts
    from nearfar.runs.encoder_files import name_of

    if any(part.shares for kind in kinds for part in kind.pretrained.values()):
        return ""
    for kind in kinds:
        if named_starts(kind, starts_for(kind, starts))[1] is not None:
            return ""
    asked = {kind.encoder_kind for kind in kinds}
    strictest = next((kind for kind in _STRICTEST if kind in asked), "any")
    return name_of(networks.build(None, spec, kind=strictest))


def _steps(arm: Arm, options: CompareOptions, plan: dict[str, Any]) -> int:
    """Optimiser steps of an arm's runs; 0 when the budget is in epochs."""
    if options.seconds is None:
        return options.steps or 0
    from rich.console import Console

    from nearfar.assembly.assemble import assemble
    from nearfar.assembly.loaded import load_data, suited
    from nearfar.assembly.seeing import views_of
    from nearfar.assembly.watch import plan_of
    from nearfar.methods import registry
    from nearfar.training.loop import fit

    config = config_of(arm, options, {**plan, "steps": {arm.name: 1}}, seed=0)
    if registry.named_by_user(arm.method).pretrained:
        raise UserError(
            f"Option seconds times the steps of a method before it is trained, but {arm.method} "
            "starts from what is trained first; give --steps or --epochs."
        )
    config, source = suited(config, load_data(config.options))
    assembled = assemble(config, source)
    views = views_of(assembled.method, config)
    training, _ = plan_of(assembled, source, views, Console(quiet=True))
    fit(assembled.method, source, views, dataclasses.replace(training, steps=_UNTIMED))
    started = time.perf_counter()
    done = fit(assembled.method, source, views, dataclasses.replace(training, steps=_TIMED))
    if done.step < _TIMED:
        raise KeyboardInterrupt
    return max(1, int(options.seconds * _TIMED / (time.perf_counter() - started)))


def _files_of(config: Config) -> list[str]:
    """The words that name the user's own files again, as the user named them."""
    options = config.options
    named = {"encoder": options.encoder, "data": options.data, "views": config.views}
    words = [(f"--{kind}", str(name)) for kind, name in named.items() if own.is_file(name)]
    return [word for pair in words for word in pair]


def _run_one(config: Config, place: Path) -> None:
    """One run in a new process, whose peak memory is then its own."""
    place.parent.mkdir(parents=True, exist_ok=True)
    named = (
        [config.method] if ":" in config.method else []
    )  # a class from outside is imported because the user named it
    if (place / CONFIG).exists() or (place / CHECKPOINTS).is_dir():
        words = [*named, "--resume", str(place)]
    else:
        asked = place.with_name(f"{place.name}.toml")
        write_text(asked, config.to_toml(), overwrite=True)
        words = [*named, "--config", str(asked), "--output", str(place)]
    words += _files_of(config)
    child = Child(
        [sys.executable, "-m", "nearfar", "pretrain", *words], env={**os.environ, BRIEF: "1"}
    )
    with ending_with_us(child):
        _, status, usage = os.wait4(child.process.pid, 0)
    child.process.returncode = os.waitstatus_to_exitcode(status)
    if child.process.returncode == _INTERRUPTED:
        raise KeyboardInterrupt
    if child.process.returncode or not (place / EVALUATION).exists():
        raise UserError(
            f"The run {place} did not finish; see above. What is done is kept: the same command "
            "goes on."
        )
    scale = 1 if sys.platform == "darwin" else 1024
    write_text(
        place / MEMORY,
        json.dumps({"peak_memory_mib": usage.ru_maxrss * scale / 2**20}) + "\n",
        overwrite=True,
    )
