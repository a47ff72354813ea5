"""From a configuration to the parts of a run: data, encoder, method, recipe."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from nearfar import data, networks, own
from nearfar.assembly.starts import check_going_on, named_starts, started
from nearfar.data.batches.samplers import EpochSampler
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import STEPS_OF_SMALL, Method, Recipe
from nearfar.networks.catalogue import short
from nearfar.networks.encoder import Encoder, TokenEncoder
from nearfar.networks.freezing import freeze_depths
from nearfar.networks.room import TRAINED, check_room
from nearfar.options import Config, PretrainOptions, resolved_settings
from nearfar.runs.encoder_files import name_of
from nearfar.training.batching import sampler_of
from nearfar.training.optimisers.optimisers import build_optimizer
from nearfar.training.plan import Plan

CONTINUE = "continue"
"""The recipe that goes on with a finished encoder."""
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


def assemble(
    config: Config,
    source: data.Source,
    method_class: type[Method] | None = None,
    pretrained: Mapping[str, Any] | None = None,
) -> Assembled:
    """Build encoder and method, seeded, and resolve every option.

    Args:
        config: As asked for.
        source: The data, as ``suited`` gives them.
        method_class: The method's class, where it is not one of ours.
        pretrained: The finished parts that the method starts from, by name.

    Raises:
        UserError: for unknown names, or data that the method cannot learn from (named in the
            message).
    """
    options = config.options
    spec = source.spec
    kind = method_class or registry.get(config.method)
    name, recipe, notes = resolved_recipe(config, source, kind)
    if name == CONTINUE:
        check_going_on(kind, config.options.start_from, config.options.encoder)
    if kind.needs_labels and options.resume is not None and source.relabelled:
        raise UserError(
            f"{config.method} learns from labels, and {source.relabelled:,} of those of "
            f"{spec.name} are other than when"
            f" the run was started; bring them back to go on, or start a new run."
        )
    label = source.trained.label
    if kind.needs_labels and label is not None and not _all_labelled(label):
        raise UserError(
            f"{config.method} learns from labels, but some of what it would train on has none, "
            "such as generated images; leave out that preparation or take another method."
        )
    EpochSampler(
        spec.length, recipe.batch_size, seed=options.seed
    )  # refuses a batch that is larger than the data
    settings = resolved_settings(kind.Settings, recipe.settings, config.settings)
    torch.manual_seed(options.seed)
    finished = dict(pretrained or {})
    encoder = _shared_encoder(kind, finished)
    if encoder is None:
        encoder = _encoder(options, spec, kind)
    elif options.encoder and not own.same(short(options.encoder), short(name_of(encoder))):
        raise UserError(
            f"{config.method} goes on with the encoder of what it starts from, "
            f"{short(name_of(encoder))}, not {short(options.encoder)}; leave "
            "--encoder out, or start from a run with that encoder."
        )
    if kind.encoder_kind == "tokens" and not isinstance(encoder, TokenEncoder):
        raise UserError(
            f"{config.method} drops patches and needs a transformer encoder, found "
            f"{options.encoder!r}; choose one such as vit-micro."
        )
    encoder_name = name_of(encoder)
    freeze_depths(encoder, recipe.freeze or 0)
    method = _built(config.method, kind, encoder, spec, settings, finished)
    if options.order is not None:
        length = options.steps or 0
        ordered = Plan(recipe, steps=length, seed=options.seed, order=options.order)
        sampler_of(method, source.trained, ordered)  # refuses before anything is written
    size = method.wanted_batches.size(spec.length, recipe.batch_size)
    recipe = dataclasses.replace(recipe, batch_size=size)
    build_optimizer(method, recipe)  # refuses what cannot be optimised before anything is written
    training = {
        f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe) if f.name != "settings"
    }
    resolved = dataclasses.replace(options, recipe=name, encoder=encoder_name, **training)
    whole = Config(config.method, resolved, vars(settings), config.views)
    return Assembled(method, recipe, whole, tuple(notes))


def resolved_recipe(
    config: Config, source: data.Source, kind: type[Method]
) -> tuple[Literal["auto", "small", "paper", "continue"], Recipe, list[str]]:
    """The name of a run's recipe, the recipe with the options in it, and what to say of it; no
    network is built.

    Args:
        config: As asked for.
        source: The data, as ``suited`` gives them.
        kind: The method's class.

    Raises:
        UserError: For data that the method cannot learn from.
    """
    _check_fit(config.method, kind, source)
    options = config.options
    length = source.spec.length
    name = options.recipe
    fitting: Literal["small", "paper"] = "paper" if length >= _PAPER_SCALE else "small"
    base = fitting if name in ("auto", CONTINUE) else name
    recipe = kind.recipe(base)
    if name == CONTINUE and CONTINUE not in kind.recipes:
        recipe = recipe.continued()
    steps = STEPS_OF_SMALL if base == "small" else 2
    return fitting if name == "auto" else name, *_recipe(recipe, options, length, steps)


def _all_labelled(label: Tensor) -> bool:
    """Whether every sample has a label: a class is not negative, a value not NaN."""
    return bool((~label.isnan()).all() if label.is_floating_point() else (label >= 0).all())


def _shared_encoder(kind: type[Method], finished: dict[str, Any]) -> Encoder | None:
    """The encoder of the finished part that shares it; a bare encoder is then taken out of the
    parts.
    """
    for name, part in kind.pretrained.items():
        if part.shares and name in finished:
            if part.gives == "encoder":
                encoder: Encoder = finished.pop(name)
                return encoder
            shared: Encoder = finished[name].encoder
            return shared
    return None


def _built(
    name: str,
    kind: type[Method],
    encoder: Encoder,
    spec: Spec,
    settings: Any,
    finished: Mapping[str, Any],
) -> Method:
    """The method on its encoder.

    Raises:
        UserError: if its networks do not fit in memory.
    """
    fewer = (
        "choose smaller widths, queues or numbers of prototypes (see `nearfar methods "
        f"{name}`), or a smaller encoder"
    )
    check_room(
        lambda: _on_meta(kind, encoder, spec, settings, finished),
        f"The networks of {name} with these settings",
        fewer,
        copies=TRAINED,
    )
    try:
        return kind(encoder, spec, settings, **finished)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate" not in str(error):
            raise
        raise UserError(
            f"The networks of {name} with these settings need more memory than there is; {fewer}."
        ) from error


def _on_meta(
    kind: type[Method], encoder: Encoder, spec: Spec, settings: Any, finished: Mapping[str, Any]
) -> Method:
    """The method without memory of its own."""
    copied = copy.deepcopy((encoder, dict(finished)))
    for part in (copied[0], *copied[1].values()):
        part.to("meta")
    return kind(copied[0], spec, settings, **copied[1])


def _encoder(options: PretrainOptions, spec: Spec, kind: type[Method]) -> Encoder:
    """A fresh encoder, or one with the weights of what the options say to start from."""
    _, start = named_starts(kind, options.start_from)
    name = options.encoder or (kind.default_encoder if start is None else None)
    if start is None:
        return networks.build(name, spec, kind=kind.encoder_kind)
    return started(start, spec, name, kind=kind.encoder_kind)


def _recipe(
    recipe: Recipe, options: PretrainOptions, length: int, steps: int
) -> tuple[Recipe, list[str]]:
    """The recipe with the options in it, and what to say of it; ``steps``: wanted in an epoch."""
    names = [f.name for f in dataclasses.fields(recipe) if f.name != "settings"]
    changes: dict[str, Any] = {
        n: getattr(options, n) for n in names if getattr(options, n) is not None
    }
    notes = []
    fitting = recipe.batch_for(length, steps=steps)
    if options.batch_size is None and fitting < recipe.batch_size:
        changes["batch_size"] = fitting
        notes.append(
            f"batch_size lowered from {recipe.batch_size} to {fitting}: there are {length} "
            "training samples."
        )
    return dataclasses.replace(recipe, **changes), notes


def _check_fit(name: str, kind: type[Method], source: data.Source) -> None:
    spec = source.spec
    if not kind.takes(spec.modality):
        wanted = " or ".join(name.replace("*", "any") for name in kind.modalities)
        raise UserError(
            f"{name} learns from {wanted} data, but {spec.name} holds {spec.modality} data; choose "
            "other data or another method."
        )
    for part, modality in kind.learns_from.items():
        found = spec.parts.get(part)
        if found is None or found.modality != modality:
            wanted = ", ".join(f"{name} ({one})" for name, one in kind.learns_from.items())
            raise UserError(
                f"{name} learns from the parts {wanted}, which {spec.name} has not; choose other "
                "data, or add a preparation that makes them with --with."
            )
    if spec.parts and kind.encoder_kind != "towers" and not kind.learns_from:
        raise UserError(
            f"{spec.name} holds {spec.modality} data, which {name} cannot use; choose clip, or "
            f"name a folder of {spec.first.modality} data alone."
        )
    if spec.length < 2:
        raise UserError(
            f"{spec.name} has {spec.length} training sample; a representation needs at least 2 to "
            "compare."
        )
    if kind.needs_labels and source.trained.label is None:
        raise UserError(
            f"{name} learns from labels, but {spec.name} has none; name the label column with "
            "--label or choose another method."
        )
    if kind.needs_labels and spec.target == "class" and len(spec.classes) < 2:
        raise UserError(
            f"{name} needs at least 2 classes, but {spec.name} has only {spec.classes[0]!r}; "
            "choose a method without labels."
        )
