"""``nearfar pretrain``: from data to a trained encoder in a run folder."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nearfar import own
from nearfar.assembly.resume import restore_config, resumed_config
from nearfar.errors import UserError
from nearfar.files import sweep, write_text
from nearfar.methods import registry
from nearfar.methods.names import name_of as method_name
from nearfar.options import Config, PretrainOptions, changed, read_config
from nearfar.runs.folder import CHECKPOINTS, CONFIG, EVALUATION
from nearfar.verbs.run import Run


def pretrain(
    method: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    views: Any = None,
    config: Path | str | None = None,
    quiet: bool = False,
    profile: bool = False,
    **options: Any,
) -> Run:
    """Pretrain an encoder without labels (or with, where the method uses them) and judge it.

    Args:
        method: a name from ``nearfar methods``, or a ``Method`` class of your own; may be left out
            with ``config`` or ``resume``.
        settings: values of the method's own settings, by name.
        views: other views than the method's: strengths by name, such as ``{"scale": (0.3, 1.0)}``
            or ``ImageViewSettings``, or views of your own: a function of a batch, or a transform of
            torchvision, kornia or albumentations.
        config: a ``config.toml`` whose values are the starting point.
        quiet: print nothing.
        profile: print where the time of the first steps went; the result is the same.
        options: see ``nearfar.options.PretrainOptions``. ``encoder`` may also be a
            ``torch.nn.Module`` or a function that makes one, and ``data`` an array, a list of
            paths, a data set or a table; see ``docs/own-encoder.md`` and ``docs/own-data.md``. All
            three may be named in a file, as "FILE.py:NAME".

    Returns:
        The run, with ``interrupted`` true where it was stopped before its end; its folder holds
        config.toml, data.json, metrics.jsonl, checkpoints, encoder.safetensors, evaluation.json,
        evaluation-samples.npz and report.html.

    Raises:
        UserError: for any mistake in the arguments or the data.
    """
    strengths = as_strengths(views)
    given = {kind: options[kind] for kind in ("encoder", "data") if kind in options}
    if isinstance(views, str) and not own.is_file(views):
        raise UserError(f"Views were given as {views!r}; expected FILE.py:NAME.")
    with own.handing(**given, views=None if strengths else views) as names:
        chosen = strengths or names.get("views", {})
        options = {**options, **{kind: names[kind] for kind in given if kind in names}}
        run = _pretrained(method, settings, chosen, config, quiet, profile, options)
        run.handed = own.current()
        return run


def as_strengths(views: Any) -> dict[str, Any]:
    """Strengths of views by name, from a mapping or a settings dataclass; {} for anything else."""
    if isinstance(views, Mapping):
        return dict(views)
    if dataclasses.is_dataclass(views) and type(views).__name__.endswith("ViewSettings"):
        return dataclasses.asdict(views)  # type: ignore[arg-type]
    return {}


def _pretrained(
    method: Any,
    settings: Mapping[str, Any] | None,
    views: Mapping[str, Any] | str,
    config: Path | str | None,
    quiet: bool,
    profile: bool,
    options: Mapping[str, Any],
) -> Run:
    """As ``pretrain``, with the user's own objects at hand by their names."""
    method_class = method if isinstance(method, type) else None
    name = method_name(method_class) if method_class else method
    if method_class is None and name is not None:
        registry.named_by_user(name)  # a wrong name is answered before anything is loaded
    wanted = _wanted(name, settings or {}, views, config, options)
    if method_class is None:
        registry.get(wanted.method)
    from nearfar import collectives

    with collectives.processes(), collectives.others_lost(), ExitStack() as held:
        console = Console(quiet=quiet or not collectives.is_first())
        return _train(wanted, method_class, console, profile, held)


def _wanted(
    name: str | None,
    settings: Mapping[str, Any],
    views: Mapping[str, Any] | str,
    config: Path | str | None,
    options: Mapping[str, Any],
) -> Config:
    """The configuration as asked for, before the data are known."""
    resume = options.get("resume")
    if resume is not None:
        others = {k: v for k, v in options.items() if k != "resume"}
        return _resumed(Path(resume), name, settings, views, others)
    start = read_config(Path(config)) if config is not None else Config("", PretrainOptions())
    chosen = name or start.method
    if not chosen:
        raise UserError(f"No method was named; choose one of: {', '.join(registry.names())}.")
    if "output" not in options:
        start = dataclasses.replace(start, options=dataclasses.replace(start.options, output=None))
    kept = start.settings if chosen == start.method else {}
    if isinstance(views, Mapping) and isinstance(start.views, Mapping):
        views = {**start.views, **views}
    return Config(
        chosen, changed(start.options, options), {**kept, **settings}, views or start.views
    )


def _resumed(
    folder: Path,
    name: str | None,
    settings: Mapping[str, Any],
    views: Mapping[str, Any] | str,
    options: Mapping[str, Any],
) -> Config:
    from nearfar.data.remembered import check_config

    config = resumed_config(folder)
    check_config(folder, config.facts)
    if name not in (None, config.method):
        raise UserError(
            f"{folder} was started with {config.method}, not {name}; leave the method out to "
            "resume it."
        )
    free = ("evaluate", "shard")
    different = [
        key
        for key, value in options.items()
        if key not in free and not _same(getattr(config.options, key, value), value)
    ]
    if views and not _same(views, config.views):
        different.append("views")
    different += [key for key, value in settings.items() if config.settings.get(key) != value]
    if different:
        raise UserError(
            f"A resumed run keeps its configuration, but {', '.join(different)} differ(s); leave "
            "it out or start a new run."
        )
    shard = options.get(
        "shard", config.options.shard
    )  # where a whole run keeps its parameters is no part of what it computes
    return dataclasses.replace(
        config,
        options=dataclasses.replace(config.options, resume=folder, output=folder, shard=shard),
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an option are equal, or name what the user hands over."""
    texts = isinstance(one, str) and isinstance(other, str)
    return one == other or (texts and own.same(one, other))


def _train(
    wanted: Config, method_class: Any, console: Console, profile: bool, held: ExitStack
) -> Run:
    from nearfar import collectives
    from nearfar.assembly.assemble import assemble
    from nearfar.assembly.loaded import load_data, suited
    from nearfar.assembly.pretrained import data_of_start, pretrained_parts
    from nearfar.assembly.seeing import views_of
    from nearfar.assembly.tasks import branch_of
    from nearfar.assembly.watch import callbacks, plan_of
    from nearfar.data.remembered import remember
    from nearfar.reports.told import shown, tell
    from nearfar.runs.encoder_files import save_encoder
    from nearfar.runs.method_files import save_method
    from nearfar.training.care.finite import extremes
    from nearfar.training.care.lock import locked
    from nearfar.training.care.profile import Profile
    from nearfar.training.loop import fit

    def note(sentence: str) -> None:
        console.print(f"[yellow]note[/] {shown(sentence)}", highlight=False, soft_wrap=True)

    if wanted.options.resume is not None and collectives.is_first():
        held.enter_context(locked(wanted.options.resume))
        sweep(wanted.options.resume)
        if restored := restore_config(wanted.options.resume):
            note(restored)
    kind = method_class or registry.get(wanted.method)
    if not collectives.is_first():
        collectives.patient_barrier()
    try:
        like, tokenizer = data_of_start(kind, wanted.options)
        source = load_data(wanted.options, like, tokenizer=tokenizer)
    finally:
        if collectives.is_first():
            # the others start when the first process has filled the decoded cache, or failed to
            collectives.patient_barrier()
    wanted, source = suited(wanted, source, method_class)
    folder = _folder(wanted, source.spec.name)
    finished: dict[str, Any] = {}
    if kind.pretrained:
        if wanted.options.resume is None and collectives.is_first():
            held.enter_context(_nothing_left(folder))
        finished = pretrained_parts(kind, wanted, folder, partial(pretrain, quiet=console.quiet))
    assembled = assemble(wanted, source, method_class, finished)
    tell(source, console)
    for sentence in assembled.notes:
        note(sentence)
    method = assembled.method
    spec = source.spec
    views = views_of(method, wanted)
    collectives.agree(method)
    plan, config = plan_of(assembled, source, views, console)
    if profile:
        told = partial(console.print, highlight=False, soft_wrap=True)
        plan = dataclasses.replace(plan, profile=Profile(plan.device, told))
    if config.options.resume is None and collectives.is_first():
        held.enter_context(_nothing_left(folder))
        held.enter_context(locked(folder))
        config = dataclasses.replace(
            config, options=dataclasses.replace(config.options, output=folder)
        )
        write_text(folder / CONFIG, config.to_toml())
        remember(
            folder,
            str(config.options.data),
            source if source.raw is None else source.raw,
            config.facts,
        )
    text = collectives.broadcast_object(config.to_toml())
    plan = dataclasses.replace(plan, config=text, tell=note)
    if config.options.branch:
        plan = dataclasses.replace(plan, branch=branch_of(config, source, folder))
    for sentence in extremes(source):
        note(sentence)
    parameters = sum(p.numel() for p in method.encoder.parameters())
    length = f"{plan.steps} steps" if plan.steps else f"{plan.recipe.epochs} epochs"
    console.print(
        f"{config.method} on {shown(spec.name)}: {spec.length:,} samples, {config.options.encoder} "
        f"({parameters / 1e6:.2f} M parameters), "
        f"{length} of batches of {plan.recipe.batch_size}; writing {shown(folder)}",
        highlight=False,
        soft_wrap=True,
    )
    progress = fit(
        method,
        source,
        views,
        plan,
        folder / CHECKPOINTS,
        callbacks(source, config, plan, folder, console),
    )
    collectives.barrier()
    run = Run(folder)
    run.interrupted = progress.step < progress.steps
    if collectives.is_first():
        card = {
            "method": config.method,
            "data": spec.name,
            "samples": spec.length,
            "steps": progress.step,
            "of_steps": progress.steps,
        }
        save_encoder(method.encoder, folder, card, tokenizer=source.tokenizer)
        save_method(method, folder, str(config.options.encoder))
        if progress.step < progress.steps:
            console.print(
                f"Stopped after step {progress.step} of {progress.steps}; the encoder as it stands "
                "is saved. To go on: "
                f"nearfar pretrain --resume {shown(folder)}",
                highlight=False,
                soft_wrap=True,
            )
        elif config.options.evaluate:
            _judge(run, source, console)
    collectives.patient_barrier()
    return run


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Where the block fails before the run has left anything, remove the folder, so that it does
    not block the second try.
    """
    try:
        yield
    except BaseException:
        from nearfar.data.remembered import FACTS, SAMPLES

        if folder.is_dir() and {path.name for path in folder.rglob("*") if path.is_file()} <= {
            CONFIG,
            FACTS,
            SAMPLES,
        }:
            shutil.rmtree(folder)
        raise


def _judge(run: Run, source: Any, console: Console) -> None:
    from nearfar.reports.terminal import BRIEF, first_lines, result_line
    from nearfar.reports.told import shown
    from nearfar.verbs.evaluate import evaluate_run
    from nearfar.verbs.next_steps.next_command import longer, next_command
    from nearfar.verbs.next_steps.reasons import reasons
    from nearfar.verbs.report import report

    (run.folder / EVALUATION).unlink(
        missing_ok=True
    )  # of the encoder as it was before it was trained on
    evaluation = evaluate_run(run, source)
    method = run.config.method
    lines = first_lines(method, evaluation, next_command(run, source.spec, evaluation))
    told = reasons(run, source.spec, evaluation, longer(run))
    lines += [("perhaps", sentence) for sentence in told]
    if os.environ.get(BRIEF):
        lines = [("result", result_line(evaluation))]
    for label, text in lines:
        console.print(f"[cyan]{label}[/] {shown(text)}", highlight=False, soft_wrap=True)
    if os.environ.get(BRIEF):
        report(run.folder)
        return
    console.print(evaluation.table())
    console.print(f"Report: {shown(report(run.folder))}", highlight=False, soft_wrap=True)


def _folder(config: Config, data_name: str) -> Path:
    """The run folder: the one asked for, the resumed one, or the first free runs/METHOD-DATA[-N];
    the first process decides.
    """
    from nearfar import collectives
    from nearfar.training.care.lock import LOCK

    options = config.options
    if options.resume is not None:
        return options.resume
    folder = options.output or Path("runs") / f"{config.method.rpartition(':')[2]}-{data_name}"
    if collectives.is_first() and options.output is None:
        folder = _free(folder)
    taken = folder.exists() and (
        not folder.is_dir()
        or any(path.name != LOCK and path.suffix != ".part" for path in folder.iterdir())
    )
    folder, taken = collectives.broadcast_object([str(folder), taken])
    if taken:
        raise UserError(
            f"The run folder {folder} exists and is not empty; choose another --output, or "
            f"continue it with --resume {folder}."
        )
    return Path(folder)


def _free(base: Path) -> Path:
    folder = base
    number = 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
