"""A method's card: what it builds and asks for under its paper's recipe, as text that is reviewed
once against the paper.

A test keeps the card beside the code, so that no layer, view, group or number of the recipe changes
unseen.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from nearfar.methods import registry
from nearfar.methods.method import Method, Phase, Shuffled, WantedViews
from nearfar.methods.names import name_of as method_name
from nearfar.options import resolved_settings
from nearfar.testing.toys import own_spec, spec_for, toy_encoder, toy_finished

_TOLD = ("name", "parameters", "forward", "loss")
_NEW = ("layer_decay", "freeze")
"""Parts of a recipe that a card names only where they are set."""


def card(method: type[Method] | str) -> str:
    """Layers, views, batches, parameter groups, phases and recipe of a method with its paper's
    settings on the toys' encoder.

    Nothing is computed: the layers are built on the meta device, which needs no memory.

    Example:
        >>> print(card("simclr").splitlines()[0])
        simclr: A Simple Framework for Contrastive Learning of Visual Representations (2020)
    """
    kind = registry.named_by_user(method) if isinstance(method, str) else method
    recipe = kind.recipe("paper")
    spec = spec_for(kind)
    with torch.device("meta"):
        encoder = toy_encoder(own_spec(kind, spec), kind.encoder_kind)
        settings = resolved_settings(kind.Settings, recipe.settings)
        made = kind(encoder, spec, settings, **toy_finished(kind, encoder, spec))
    parts = {
        "data": [
            f"{spec.modality}, encoder {kind.encoder_kind}, labels "
            f"{kind.label_kind if kind.needs_labels else 'none'}"
        ],
        "views": _changed(made.wanted_views),
        "batches": _changed(made.wanted_batches),
        "settings": [f"{name} = {value!r}" for name, value in vars(made.settings).items()],
        "recipe": [
            f"{f.name} = {getattr(recipe, f.name)!r}"
            for f in dataclasses.fields(recipe)
            if f.name != "settings" and not (f.name in _NEW and getattr(recipe, f.name) is None)
        ],
        "layers": _layers(made),
        "parameter groups": _groups(made),
        "phases": [
            ", ".join([f"{p.name}: {len(p.parameters)} parameters, loss {p.loss}", *_further(p)])
            for p in made.phases()
        ],
    }
    head = f"{method_name(kind)}: {kind.paper.title} ({kind.paper.year})"
    body = [
        line for title, lines in parts.items() for line in (title, *(f"  {line}" for line in lines))
    ]
    return "\n".join([head, *body, ""])


def _changed(value: Any) -> list[str]:
    """Fields of a dataclass that differ from their defaults; its name first where it is not the
    usual one.
    """
    kind = [] if isinstance(value, WantedViews | Shuffled) else [type(value).__name__]
    found = [
        f"{field.name} = {getattr(value, field.name)!r}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != _default(field)
    ]
    return [*kind, *found] or ["as usual"]


def _further(phase: Phase) -> list[str]:
    """What a phase says of its optimiser and of when it is due, where it is not as usual."""
    told = [field for field in dataclasses.fields(phase) if field.name not in _TOLD]
    return [
        f"{field.name} {getattr(phase, field.name)!r}"
        for field in told
        if getattr(phase, field.name) != _default(field)
    ]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _layers(method: Method) -> list[str]:
    """Every layer that holds no other, and every parameter and buffer that lies outside of one; the
    encoder in one line.
    """
    found = [f"encoder: {type(method.encoder).__name__}, {method.encoder.dimension} features"]
    inside = {id(value) for value in (*method.encoder.parameters(), *method.encoder.buffers())}
    for name, module in method.named_modules():
        is_part_of_encoder = name == "encoder" or name.startswith("encoder.")
        if is_part_of_encoder or not name:
            continue
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        learns = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        leaf = not any(True for _ in module.children())
        if leaf and not (own and all(id(value) in inside for _, value in own)):
            shapes = (
                "".join(f", {key} {tuple(value.shape)}" for key, value in own)
                if repr(module).endswith("()")
                else ""
            )
            found.append(f"{name}: {module!r}{shapes}{'' if learns or not own else ', held still'}")
        elif not leaf:
            found += [
                f"{name}.{key}: {tuple(value.shape)}"
                for key, value in own
                if id(value) not in inside
            ]
    own = [*method.named_parameters(recurse=False), *method.named_buffers(recurse=False)]
    return found + [f"{key}: {tuple(value.shape)}" for key, value in own]


def _groups(method: Method) -> list[str]:
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    found = []
    for group in method.parameter_groups():
        options = ", ".join(f"{key} {value!r}" for key, value in group.items() if key != "params")
        held = [names[id(parameter)] for parameter in group["params"]]
        numbers = sum(math.prod(parameter.shape) for parameter in group["params"])
        tops = sorted({name.partition(".")[0] for name in held})
        found.append(
            f"{len(held)} parameters, {numbers:,} numbers of {', '.join(tops)}; "
            f"{options or 'as usual'}"
        )
    return found
