"""``nearfar evaluate``: is the representation any good, beside a random encoder and the raw input?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.files import write_text
from nearfar.options import changed
from nearfar.run import EVALUATION, Run

if TYPE_CHECKING:
    from nearfar.data import Source
    from nearfar.evaluation import Evaluation


def evaluate(
    run: Path | str,
    *,
    data: str | None = None,
    protocols: str = "quick",
    outsiders: str | None = None,
    seeds: int = 3,
    label: str | None = None,
    group: str | None = None,
) -> Evaluation:
    """Judge a run's encoder beside a random encoder and the raw input.

    Args:
        run: the run folder.
        data: other labelled data to judge on, by name or path; by default those of the run.
        protocols: names joined by commas: knn, linear, few-labels, few-shot, fine-tune, ridge, pairs, similarity, dense, retrieval,
            clustering, fairness, robustness, ood, geometry; "quick" stands for the cheap ones, "all" for all that the data allow.
        outsiders: further data, by name or path, that ood tells apart from those that are judged.
        seeds: draws of validation splits and of few labels.
        label: which column or array holds the label; by default the run's, of other data the one with a common name.
        group: the same for the groups that a split must not tear apart and that fairness compares.

    Returns:
        The evaluation; that of the run's own data is also written to the run folder, where it replaces the protocols of an earlier
        one that it holds as well.

    Raises:
        UserError: for an unknown protocol, or one that the data do not allow.
    """
    from nearfar.evaluation.protocols import check_names
    from nearfar.verbs.assemble import load_other

    names = tuple(name.strip() for name in protocols.split(",") if name.strip())
    check_names(names)  # a wrong name is answered before anything is loaded
    opened, strangers = Run(run), None
    if outsiders is not None:
        strangers = load_other(opened.config.options, outsiders, opened.encoder())
        names = names if {"ood", "all"} & set(names) else (*names, "ood")
    columns: dict[str, Any] = {name: value for name, value in (("label", label), ("group", group)) if value is not None}
    source = _own(opened, columns) if data is None else load_other(opened.config.options, data, opened.encoder(), **columns)
    return evaluate_run(opened, source, protocols=names, outsiders=strangers, seeds=seeds, keep=data is None)


def _own(run: Run, columns: dict[str, Any]) -> Source:
    """The run's data, perhaps with labels or groups of other columns."""
    from nearfar.encoder_files import tokenizer_of
    from nearfar.verbs.assemble import load_data

    return load_data(changed(run.config.options, columns), tokenizer=tokenizer_of(run.encoder()))


def evaluate_run(
    run: Run, source: Source, *, protocols: Sequence[str] = ("quick",), outsiders: Source | None = None, seeds: int = 3, keep: bool = True
) -> Evaluation:
    """As ``evaluate`` for an opened run and loaded data; ``keep``: write evaluation.json into the run folder."""
    from nearfar.encoder_files import check_input, encoder_spec
    from nearfar.evaluation import Wanted
    from nearfar.evaluation import evaluate as judge
    from nearfar.training.precision import device_of
    from nearfar.views import plain_view

    encoder, paired = run.encoder(), source.spec.modality == "image-text"
    for spec in (source.spec, *([outsiders.spec] if outsiders is not None else [])):
        check_input(encoder, spec)
    found = judge(
        run.method() if paired else encoder,
        source,
        plain_view(encoder_spec(encoder)),  # normalised as in training, whatever the data
        baselines={"random encoder": _untrained(run, paired)},
        wanted=Wanted(protocols, seeds, _samples(outsiders), device_of(run.config.options.device)),
    )
    if keep:
        earlier = run.evaluation()
        kept = found if earlier is None else earlier.updated(found)
        write_text(run.folder / EVALUATION, kept.to_json(), overwrite=True)
    return found


def _samples(source: Source | None) -> Any:
    """Test samples, or the training samples where there are none."""
    return None if source is None else source.test or source.train


def _untrained(run: Run, paired: bool) -> Any:
    """The run's encoder (for pairs: its method) with fresh random weights, in evaluation mode."""
    import dataclasses

    import torch

    from nearfar import networks
    from nearfar.encoder_files import encoder_spec, name_of
    from nearfar.networks.catalogue import PRETRAINED
    from nearfar.verbs.assemble import assemble

    config, encoder = run.config, run.encoder()
    seed = config.options.seed + 1
    if paired:
        name = (config.options.encoder or "").replace(PRETRAINED, "") or None
        options = dataclasses.replace(config.options, seed=seed, encoder=name)
        return assemble(dataclasses.replace(config, options=options), run.source()).method.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(name_of(encoder).replace(PRETRAINED, ""), encoder_spec(encoder)).eval()
