"""``nearfar evaluate``: is the representation any good, beside a random encoder and the raw
input?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from nearfar.assembly.opened import method_of, source_of
from nearfar.errors import UserError
from nearfar.files import check_writable, write_text
from nearfar.options import MOST_SAMPLES, changed
from nearfar.ranges import whole_number
from nearfar.runs.folder import EVALUATION, RunFolder
from nearfar.verbs.handing import takes_own

if TYPE_CHECKING:
    from nearfar.data import Source
    from nearfar.evaluation import Evaluation
    from nearfar.evaluation.shared import SharedRows
    from nearfar.networks.encoder import Encoder


@takes_own
def evaluate(
    run: PathLike[str] | str,
    *,
    data: str | None = None,
    protocols: str = "quick",
    outsiders: str | None = None,
    seeds: int = 3,
    label: str | None = None,
    group: str | None = None,
    limit: Annotated[int, whole_number(2, MOST_SAMPLES)] | None = None,
    baseline: Path | None = None,
    output: Path | None = None,
    encoder: str | None = None,
) -> Evaluation:
    """Judge a run's encoder beside a random encoder and the raw input.

    Args:
        run: the run folder.
        data: other labelled data to judge on, by name or path; by default those of the run. A run
            on pairs can also be judged on images or texts alone, by the encoder of that part.
        protocols: names joined by commas: knn, linear, few-labels, few-shot, fine-tune, ridge,
            pairs, similarity, dense, retrieval, clustering, fairness, robustness, ood, geometry;
            "quick" stands for the cheap ones, "all" for all that the data allow.
        outsiders: further data, by name or path, that ood tells apart from those that are judged.
        seeds: draws of validation splits and of few labels.
        label: which column or array holds the label; by default the run's, of other data the one
            with a common name.
        group: the same for the groups that a split must not tear apart and that fairness compares.
        limit: use at most this many training samples of other data.
        baseline: features of the same samples to judge beside these, a .parquet or .npz file as
            `nearfar embed` writes, of any model.
        output: a file for the evaluation, in the place of evaluation.json in the run folder (which
            may then be read-only).
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Returns:
        The evaluation; that of the run's own data is also written to the run folder, where it
        replaces the protocols of an earlier one that it holds as well. If data, labels or groups
        are other than the run's, and test samples are among those that the encoder was trained on,
        a note says how many.

    Raises:
        UserError: for an unknown protocol, or one that the data do not allow.
    """
    from nearfar.assembly.loaded import load_other, with_parts
    from nearfar.evaluation.protocols import check_names
    from nearfar.reports.told import tell

    listed = (
        protocols.split(",") if isinstance(protocols, str) else protocols
    )  # a list is what one gives in Python
    names = tuple(name.strip() for name in listed if name.strip())
    check_names(names)  # a wrong name is answered before anything is loaded
    if limit is not None and data is None:
        raise UserError(
            "Option limit is of other data, but none are named; give --data or leave it."
        )
    opened = RunFolder(run)
    strangers = None
    keep = data is None and output is None
    if output is not None and Path(output).exists():
        raise UserError(f"{output} exists already; choose another --output.")
    if keep:
        check_writable(opened.folder)  # before long work
    if outsiders is not None:
        strangers = load_other(opened.config.options, outsiders, opened.encoder())
        names = names if {"ood", "all"} & set(names) else (*names, "ood")
    columns: dict[str, Any] = {
        name: value for name, value in (("label", label), ("group", group)) if value is not None
    }
    source = (
        _own(opened, columns)
        if data is None
        else with_parts(
            opened.config,
            load_other(opened.config.options, data, opened.encoder(), limit=limit, **columns),
        )
    )
    tell(source)
    notes = _told(opened, source, data, columns) if data is not None or columns else ()
    found = evaluate_run(
        opened,
        source,
        protocols=names,
        outsiders=strangers,
        seeds=seeds,
        keep=keep,
        baseline=baseline,
        notes=notes,
    )
    if output is not None:
        write_text(Path(output), found.to_json())
    return found


def _own(run: RunFolder, columns: dict[str, Any]) -> Source:
    """The run's data, perhaps with labels or groups of other columns."""
    from nearfar.assembly.loaded import own_data
    from nearfar.runs.encoder_files import encoder_spec, tokenizer_of

    encoder = run.encoder()
    options = run.config.options
    other = {name: value for name, value in columns.items() if value != getattr(options, name)}
    like = (
        encoder_spec(encoder) if other else None
    )  # another split holds other samples, whose common shape may differ
    chosen = changed(options, columns)
    return own_data(run.folder, chosen, like, tokenizer=tokenizer_of(encoder), again=bool(other))


def _told(
    run: RunFolder, source: Source, data: str | None, columns: dict[str, Any]
) -> tuple[str, ...]:
    """What a reader must know of an evaluation whose data, labels or groups may differ from the
    run's.
    """
    from nearfar.evaluation.trust.leakage import trained_on

    own = run.config.options
    chosen = {
        name: value
        for name, value in columns.items()
        if data is not None or value != getattr(own, name)
    }
    notes = [
        f"The {name} column of this evaluation is {value!r}, given by --{name}."
        for name, value in chosen.items()
    ]
    try:
        trained = source_of(run).train
    except UserError as error:
        return (
            *notes,
            "Whether the encoder was trained on the test samples is not known: the run's data "
            f"cannot be loaded ({error}).",
        )
    judged = source.test if source.test is not None and len(source.test) else source.train
    count = trained_on(trained, judged)
    if not count:
        return tuple(notes)
    means = "with the same --label and --group" if data is None else "on other data"
    return (
        *notes,
        f"The encoder was trained on {count:,} of the {len(judged):,} test samples (or exact "
        "copies of them), so these figures "
        f"flatter it beside the baselines; for a fair judgement pretrain {means}.",
    )


def evaluate_run(
    run: RunFolder,
    source: Source,
    *,
    protocols: Sequence[str] = ("quick",),
    outsiders: Source | None = None,
    seeds: int = 3,
    keep: bool = True,
    baseline: Path | None = None,
    notes: Sequence[str] = (),
) -> Evaluation:
    """As ``evaluate`` for an opened run and loaded data; ``keep``: write evaluation.json into the
    run folder; ``notes``: further ones.
    """
    import dataclasses

    from nearfar.assembly.seen import view_of
    from nearfar.assembly.tasks import delivered
    from nearfar.data.kept import CHANGED
    from nearfar.evaluation import Wanted
    from nearfar.evaluation import evaluate as judge
    from nearfar.evaluation.answers import ANSWERS
    from nearfar.finding.index import features_from
    from nearfar.precision import device_of
    from nearfar.runs.encoder_files import check_input, encoder_spec, tower_for

    encoder = run.features()
    whole = bool(source.spec.parts) or run.predicts is not None
    for spec in (source.spec, *([outsiders.spec] if outsiders is not None else [])):
        check_input(encoder, spec)
    encoder = tower_for(encoder, source.spec.modality)
    method = method_of(run) if whole else None
    trained = encoder_spec(encoder) if method is None else method.spec
    device = device_of(run.config.options.device)
    stages = [RunFolder(place).features().to(device) for place in delivered(run.folder)]
    found = _watched(judge)(
        encoder if method is None else method,
        source,
        view_of(trained, source.spec),
        baselines={"random encoder": _untrained(run, encoder, whole)},
        given={} if baseline is None else {baseline.stem: features_from(baseline)},
        wanted=Wanted(protocols, seeds, _samples(outsiders), device, stages),
        shared=None if whole else _shared(run, encoder),
    )
    changes = [note for note in source.notes if note.startswith(CHANGED)]
    found = dataclasses.replace(found, notes=(*found.notes, *notes, *changes))
    if keep:
        earlier = run.evaluation()
        kept = found if earlier is None else earlier.updated(found)
        kept.answers.write(run.folder / ANSWERS)
        write_text(run.folder / EVALUATION, kept.to_json(), overwrite=True)
    return found


def _watched(judge: Callable[..., Evaluation]) -> Callable[..., Evaluation]:
    """``judge``, with a line in the terminal that says what it does now."""
    from rich.console import Console
    from rich.markup import escape

    def watched(*args: Any, **kwargs: Any) -> Evaluation:
        console = Console(stderr=True)
        if console.is_jupyter:  # where a line that changes needs a library more
            return judge(*args, **kwargs)
        with console.status("judging") as status:
            return judge(
                *args, **kwargs, watch=lambda text: status.update(f"judging {escape(text)}")
            )

    return watched


def _shared(run: RunFolder, encoder: Encoder) -> SharedRows | None:
    """Where the runs of a comparison share what is the same for all of them; None for a run of its
    own.
    """
    from nearfar.comparison.running import BASELINES, PLAN
    from nearfar.evaluation.shared import SharedRows
    from nearfar.evaluation.simple import SIMPLE
    from nearfar.runs.encoder_files import encoder_spec, name_of
    from nearfar.version import __version__

    folder = run.folder.resolve().parent.parent
    if not (folder / PLAN).is_file():
        return None
    made = f"{name_of(encoder)} seed {run.config.options.seed + 1}"
    about = f"{__version__} {encoder_spec(encoder)!r}"
    return SharedRows(
        folder / BASELINES, {"random encoder": made, "raw input": "", SIMPLE: ""}, about
    )


def _samples(source: Source | None) -> Any:
    """Test samples, or the training samples where there are none."""
    return None if source is None else source.test or source.train


def _untrained(run: RunFolder, encoder: Encoder, whole: bool) -> Any:
    """The encoder (of pairs, or where something is predicted, the run's method) with fresh random
    weights, in evaluation mode.
    """
    import dataclasses

    import torch

    from nearfar import networks
    from nearfar.assembly.assemble import assemble
    from nearfar.methods import registry
    from nearfar.networks.catalogue import fresh
    from nearfar.runs.encoder_files import encoder_spec, name_of
    from nearfar.runs.method_files import Encoding, fresh_method

    config = run.config
    seed = config.options.seed + 1
    if whole and registry.get(config.method).pretrained:
        return fresh_method(run.folder, seed=seed)
    if whole or isinstance(encoder, Encoding):
        name = fresh(config.options.encoder) if config.options.encoder else None
        options = dataclasses.replace(config.options, seed=seed, encoder=name)
        method = assemble(
            dataclasses.replace(config, options=options), source_of(run)
        ).method.eval()
        return method if whole else Encoding(method).eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(fresh(name_of(encoder)), encoder_spec(encoder)).eval()
