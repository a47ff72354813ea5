"""From a configuration to the parts of a run: data, encoder, method, recipe."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nearfar import data, networks
from nearfar.data.batches.samplers import EpochSampler
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.kept import Kept
from nearfar.data.remembered import recall
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method, Recipe
from nearfar.networks.encoder import Encoder, TokenEncoder
from nearfar.networks.room import TRAINED, check_room
from nearfar.options import Config, PretrainOptions, changed, resolved_settings
from nearfar.runs.encoder_files import encoder_spec, name_of, tokenizer_of
from nearfar.training.optimisers.optimisers import build_optimizer

_PAPER_SCALE = 100_000
"""From this many training samples on, "auto" takes the paper's recipe."""


@dataclass(frozen=True)
class Assembled:
    """What a configuration means: the method on its encoder, how it is trained, and the
    configuration with nothing left open.
    """

    method: Method
    recipe: Recipe
    config: Config
    notes: tuple[str, ...] = ()


def load_data(
    options: PretrainOptions,
    like: Spec | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    split: bool = True,
    kept: Kept | None = None,
) -> data.Source:
    """The data that the options name; ``like``, ``tokenizer``, ``split`` and ``kept`` as for
    ``data.load``.

    A run that goes on gets the samples that it was started with.

    Raises:
        UserError: for data that cannot be read, or that are no longer those of the run that goes
            on.
    """
    if options.resume is not None and kept is None:
        return own_data(options.resume, options, tokenizer=tokenizer, exact=True)
    return data.load(
        options.data,
        limit=options.limit,
        seed=options.seed,
        label=options.label,
        group=options.group,
        text_column=options.text_column,
        image_column=options.image_column,
        size=options.size,
        strict=options.strict,
        split=split,
        like=like,
        tokenizer=tokenizer,
        kept=kept,
    )


def own_data(
    folder: Path,
    options: PretrainOptions,
    like: Spec | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    exact: bool = False,
    again: bool = False,
) -> data.Source:
    """The data of a run with the split that it was made with, wherever the call comes from.

    Args:
        folder: the run folder.
        options: the run's, perhaps with another label column.
        like: as for ``data.load``, where the data are split anew.
        tokenizer: of the run's texts.
        exact: whether training samples that are gone or changed are refused.
        again: whether the data are split anew, as other groups demand.

    Raises:
        UserError: for data that cannot be read, or of which the run knows no training sample.
    """
    found = recall(folder, options.data, exact=exact, label=options.label)
    options = dataclasses.replace(options, resume=None)
    if found is None:
        return load_data(options, like, tokenizer=tokenizer)
    path, kept = found
    options = dataclasses.replace(options, data=path)
    return (
        load_data(options, like, tokenizer=tokenizer)
        if again
        else load_data(options, tokenizer=tokenizer, kept=kept)
    )


def load_other(
    options: PretrainOptions,
    name: str,
    encoder: Encoder,
    *,
    split: bool = True,
    **columns: str | None,
) -> data.Source:
    """Other data for an encoder that was trained with these options, brought to its size, texts
    encoded by its tokenizer.

    All samples are taken. Labels and groups are those of ``columns``, or of a column with a common
    name; images and texts are in the run's columns, or, where the data have none of that name,
    where they would be found without.
    """
    values = {"data": name, "limit": None, "label": None, "group": None, **columns}
    how: dict[str, Any] = {
        "like": encoder_spec(encoder),
        "tokenizer": tokenizer_of(encoder),
        "split": split,
    }
    try:
        return load_data(changed(options, values), **how)
    except UserError:
        if options.text_column is None and options.image_column is None:
            raise
        return load_data(
            changed(options, {**values, "text_column": None, "image_column": None}), **how
        )


def inflated_data(options: PretrainOptions, source: data.Source) -> data.Source:
    """What to train on: the source itself, or its inflation as the options say."""
    if options.inflate is None and options.copies == 1:
        return source
    from nearfar.data.prepare.inflation import inflated

    return inflated(source, options.inflate, options.copies, seed=options.seed)


def assemble(
    config: Config, source: data.Source, method_class: type[Method] | None = None
) -> Assembled:
    """Build encoder and method, seeded, and resolve every option.

    Raises:
        UserError: for unknown names, or data that the method cannot learn from (named in the
            message).
    """
    options = config.options
    spec = source.spec
    kind = method_class or registry.get(config.method)
    _check_fit(config.method, kind, source)
    if kind.needs_labels and options.resume is not None and source.relabelled:
        raise UserError(
            f"{config.method} learns from labels, and {source.relabelled:,} of those of "
            f"{spec.name} are other than when"
            f" the run was started; bring them back to go on, or start a new run."
        )
    if kind.needs_labels and options.inflate is not None:
        raise UserError(
            f"{config.method} learns from labels, but generated images have none; leave out "
            "--inflate or take another method."
        )
    name = (
        options.recipe
        if options.recipe != "auto"
        else ("paper" if spec.length >= _PAPER_SCALE else "small")
    )
    recipe, notes = _recipe(kind.recipe(name), options, spec.length)
    EpochSampler(
        spec.length, recipe.batch_size, seed=options.seed
    )  # refuses a batch that is larger than the data
    settings = resolved_settings(kind.Settings, recipe.settings, config.settings)
    torch.manual_seed(options.seed)
    encoder = _encoder(options, spec, kind)
    if kind.encoder_kind == "tokens" and not isinstance(encoder, TokenEncoder):
        raise UserError(
            f"{config.method} drops patches and needs a transformer encoder, found "
            f"{options.encoder!r}; choose one such as vit-micro."
        )
    encoder_name = name_of(encoder)
    method = _built(config.method, kind, encoder, spec, settings)
    recipe = dataclasses.replace(recipe, batch_size=method.wanted_batches.rows or recipe.batch_size)
    build_optimizer(method, recipe)  # refuses what cannot be optimised before anything is written
    training = {
        f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe) if f.name != "settings"
    }
    resolved = dataclasses.replace(options, recipe=name, encoder=encoder_name, **training)
    return Assembled(method, recipe, Config(config.method, resolved, vars(settings)), tuple(notes))


def _built(name: str, kind: type[Method], encoder: Encoder, spec: Spec, settings: Any) -> Method:
    """The method on its encoder.

    Raises:
        UserError: if its networks do not fit in memory.
    """
    fewer = (
        "choose smaller widths, queues or numbers of prototypes (see `nearfar methods "
        f"{name}`), or a smaller encoder"
    )
    check_room(
        lambda: kind(copy.deepcopy(encoder).to("meta"), spec, settings),
        f"The networks of {name} with these settings",
        fewer,
        copies=TRAINED,
    )
    try:
        return kind(encoder, spec, settings)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise UserError(
            f"The networks of {name} with these settings need more memory than there is; {fewer}."
        ) from error


def _encoder(options: PretrainOptions, spec: Spec, kind: type[Method]) -> Encoder:
    """A fresh encoder, with another run's weights if the options say so."""
    if options.start_from is None:
        return networks.build(options.encoder or kind.default_encoder, spec, kind=kind.encoder_kind)
    from nearfar.runs.folder import Run

    trained = Run(options.start_from).encoder()
    own = name_of(trained)
    encoder = networks.build(options.encoder or own, spec, kind=kind.encoder_kind)
    if name_of(encoder) != own:
        raise UserError(
            f"{options.start_from} holds the encoder {own}, not {name_of(encoder)}; leave "
            "--encoder out to go on with it."
        )
    try:
        encoder.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        trained_spec = encoder_spec(trained)
        raise UserError(
            f"The encoder in {options.start_from} was trained on {trained_spec.name} with samples "
            f"of shape {trained_spec.shape} and does"
            f" not fit {spec.name} with {spec.shape}; bring the data to the same channels and size."
        ) from error
    return encoder


def _recipe(recipe: Recipe, options: PretrainOptions, length: int) -> tuple[Recipe, list[str]]:
    names = [f.name for f in dataclasses.fields(recipe) if f.name != "settings"]
    changes: dict[str, Any] = {
        n: getattr(options, n) for n in names if getattr(options, n) is not None
    }
    notes = []
    if options.batch_size is None and recipe.batch_size > length // 2:
        changes["batch_size"] = max(2, length // 2)
        notes.append(
            f"batch_size lowered from {recipe.batch_size} to {changes['batch_size']}: there are "
            f"{length} training samples."
        )
    return dataclasses.replace(recipe, **changes), notes


def _check_fit(name: str, kind: type[Method], source: data.Source) -> None:
    spec = source.spec
    if kind.modalities and spec.modality not in kind.modalities:
        wanted = " or ".join(kind.modalities)
        raise UserError(
            f"{name} learns from {wanted} data, but {spec.name} holds {spec.modality} data; choose "
            "other data or another method."
        )
    if spec.modality == "image-text" and kind.encoder_kind != "towers":
        raise UserError(
            f"{spec.name} holds image-text pairs, which {name} cannot use; choose clip, or name a "
            "folder of images alone."
        )
    if spec.length < 2:
        raise UserError(
            f"{spec.name} has {spec.length} training sample; a representation needs at least 2 to "
            "compare."
        )
    if kind.needs_labels and source.train.label is None:
        raise UserError(
            f"{name} learns from labels, but {spec.name} has none; name the label column with "
            "--label or choose another method."
        )
    if kind.needs_labels and spec.target == "class" and len(spec.classes) < 2:
        raise UserError(
            f"{name} needs at least 2 classes, but {spec.name} has only {spec.classes[0]!r}; "
            "choose a method without labels."
        )
