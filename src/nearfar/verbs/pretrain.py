"""``nearfar pretrain``: from data to a trained encoder in a run folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from nearfar import own
from nearfar.assembly.asked import asked_config
from nearfar.assembly.resume import restore_config
from nearfar.errors import UserError, counted
from nearfar.files import sweep
from nearfar.methods import registry
from nearfar.methods.names import name_of as method_name
from nearfar.options import Config
from nearfar.runs.folder import CHECKPOINTS, EVALUATION
from nearfar.verbs.run import Run

if TYPE_CHECKING:
    from nearfar.methods.method import Method
    from nearfar.training.plan import Plan
    from nearfar.training.progress import Progress

Watch = Callable[["Plan", Console], "Plan"]
"""Has the steps of a plan timed or recorded."""


def pretrain(
    method: Any = None,
    *,
    settings: Mapping[str, Any] | None = None,
    views: Any = None,
    config: Path | str | None = None,
    quiet: bool = False,
    profile: bool = False,
    trace: Path | str | None = None,
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
        trace: a folder for a trace of ten of the first steps by PyTorch's profiler; the result is
            the same.
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
    if profile and trace is not None:
        raise UserError("Both --profile and --trace were given, and either times; choose one.")
    watch = _profiled if profile else None
    if trace is not None:
        watch = partial(_traced, Path(trace))
    strengths = as_strengths(views)
    given = {kind: options[kind] for kind in ("encoder", "data") if kind in options}
    if isinstance(views, str) and not own.is_file(views):
        raise UserError(f"Views were given as {views!r}; expected FILE.py:NAME.")
    with own.handing(**given, views=None if strengths else views) as names:
        chosen = strengths or names.get("views", {})
        options = {**options, **{kind: names[kind] for kind in given if kind in names}}
        run = _pretrained(method, settings, chosen, config, quiet, watch, options)
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
    watch: Watch | None,
    options: Mapping[str, Any],
) -> Run:
    """As ``pretrain``, with the user's own objects at hand by their names."""
    method_class = method if isinstance(method, type) else None
    name = method_name(method_class) if method_class else method
    if method_class is None and name is not None:
        registry.named_by_user(name)  # a wrong name is answered before anything is loaded
    wanted = asked_config(name, settings or {}, views, config, options)
    if method_class is None:
        registry.get(wanted.method)
    from nearfar import collectives

    with collectives.processes(), collectives.others_lost(), ExitStack() as held:
        console = Console(quiet=quiet or not collectives.is_first())
        return _train(wanted, method_class, console, watch, held)


def _train(
    wanted: Config, method_class: Any, console: Console, watch: Watch | None, held: ExitStack
) -> Run:
    """From the wanted configuration to the finished run, in the order in which things happen."""
    from nearfar import collectives
    from nearfar.assembly.assemble import assemble
    from nearfar.assembly.loaded import suited
    from nearfar.assembly.run_folder import begun, run_folder
    from nearfar.assembly.seeing import views_of
    from nearfar.assembly.watch import callbacks, plan_of
    from nearfar.reports.told import shown, tell
    from nearfar.training.care.finite import extremes
    from nearfar.training.loop import fit

    def note(sentence: str) -> None:
        console.print(f"[yellow]note[/] {shown(sentence)}", highlight=False, soft_wrap=True)

    kind = method_class or registry.get(wanted.method)
    _hold(wanted.options.resume, held, note)
    source = _loaded(kind, wanted)
    wanted, source = suited(wanted, source, method_class)
    folder = run_folder(wanted, source.spec.name)
    finished = _finished_parts(kind, wanted, source, folder, held, console)
    assembled = assemble(wanted, source, method_class, finished)
    tell(source, console)
    for sentence in assembled.notes:
        note(sentence)
    method = assembled.method
    views = views_of(method, wanted)
    collectives.agree(method)
    plan, config = plan_of(assembled, source, views, console)
    config = begun(config, folder, source, held)
    plan = _completed(plan, config, source, folder, note)
    if watch is not None:
        plan = watch(plan, console)
    for sentence in extremes(source):
        note(sentence)
    _announce(config, source, method, plan, folder, console)
    watching = callbacks(source, config, plan, folder, console)
    progress = fit(method, source, views, plan, folder / CHECKPOINTS, watching)
    collectives.barrier()
    run = Run(folder)
    run.interrupted = not progress.is_over
    if collectives.is_first():
        _keep(run, method, source, progress)
        if run.interrupted:
            _tell_how_to_go_on(run, progress, console)
        elif config.options.evaluate:
            _judge(run, source, console)
    collectives.patient_barrier()
    return run


def _hold(resume: Path | None, held: ExitStack, note: Callable[[str], None]) -> None:
    """Lock the folder of a run that is resumed, and mend what a killed process left in it."""
    from nearfar import collectives
    from nearfar.training.care.lock import locked

    if resume is None or not collectives.is_first():
        return
    held.enter_context(locked(resume))
    sweep(resume)
    if restored := restore_config(resume):
        note(restored)


def _loaded(kind: Any, wanted: Config) -> Any:
    """The run's data; the first process fills the decoded cache before the others look."""
    from nearfar import collectives
    from nearfar.assembly.loaded import load_data
    from nearfar.assembly.pretrained import data_of_start

    if not collectives.is_first():
        collectives.patient_barrier()
    try:
        like, tokenizer = data_of_start(kind, wanted.options)
        return load_data(wanted.options, like, tokenizer=tokenizer)
    finally:
        if collectives.is_first():
            # the others start when the first process has filled the cache, or failed to
            collectives.patient_barrier()


def _finished_parts(
    kind: Any, wanted: Config, source: Any, folder: Path, held: ExitStack, console: Console
) -> dict[str, Any]:
    """The parts of the method that are trained before it, or come from another run, by name."""
    from nearfar import collectives
    from nearfar.assembly.pretrained import pretrained_parts
    from nearfar.assembly.run_folder import nothing_left

    if not kind.pretrained:
        return {}
    if wanted.options.resume is None and collectives.is_first():
        held.enter_context(nothing_left(folder))
    train = partial(pretrain, quiet=console.quiet)
    return pretrained_parts(kind, wanted, source.spec, folder, train)


def _completed(
    plan: Plan, config: Config, source: Any, folder: Path, note: Callable[[str], None]
) -> Plan:
    """The plan with the first process's configuration, its notes, and the branches of tasks."""
    from nearfar import collectives
    from nearfar.assembly.tasks import branch_of

    text = collectives.broadcast_object(config.to_toml())
    plan = dataclasses.replace(plan, config=text, tell=note)
    if not config.options.branch:
        return plan
    return dataclasses.replace(plan, branch=branch_of(config, source, folder))


def _profiled(plan: Plan, console: Console) -> Plan:
    from nearfar.training.care.profile import Profile

    told = partial(console.print, highlight=False, soft_wrap=True)
    return dataclasses.replace(plan, profile=Profile(plan.device, told))


def _traced(folder: Path, plan: Plan, console: Console) -> Plan:
    from nearfar.training.care.trace import Trace

    told = partial(console.print, highlight=False, soft_wrap=True)
    return dataclasses.replace(plan, profile=Trace(folder, plan.device, told))


def _announce(
    config: Config, source: Any, method: Method, plan: Plan, folder: Path, console: Console
) -> None:
    from nearfar.networks.catalogue import short
    from nearfar.reports.told import shown

    parameters = sum(p.numel() for p in method.encoder.parameters())
    length = counted(plan.steps or plan.recipe.epochs, "step" if plan.steps else "epoch")
    console.print(
        f"{config.method} on {shown(source.spec.name)}: {counted(source.spec.length, 'sample')}, "
        f"{short(config.options.encoder)} ({parameters / 1e6:.2f} M parameters), "
        f"{length} of batches of {plan.recipe.batch_size}; writing {shown(folder)}",
        highlight=False,
        soft_wrap=True,
    )


def _keep(run: Run, method: Method, source: Any, progress: Progress) -> None:
    """Write the encoder with its card, and the rest of the method."""
    from nearfar.runs.encoder_files import save_encoder
    from nearfar.runs.method_files import save_method

    card = {
        "method": run.config.method,
        "data": source.spec.name,
        "samples": source.spec.length,
        "steps": progress.step,
        "of_steps": progress.steps,
    }
    save_encoder(method.encoder, run.folder, card, tokenizer=source.tokenizer)
    save_method(method, run.folder, str(run.config.options.encoder))


def _tell_how_to_go_on(run: Run, progress: Progress, console: Console) -> None:
    from nearfar.reports.told import shown

    console.print(
        f"Stopped after step {progress.step} of {progress.steps}; the encoder as it stands "
        f"is saved. To go on: nearfar pretrain --resume {shown(run.folder)}",
        highlight=False,
        soft_wrap=True,
    )


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
