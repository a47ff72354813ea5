"""A tiny instance of any method, on tiny data of its modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nearfar import modalities
from nearfar.batch import Batch
from nearfar.data.batches.wanted import Facts, Grouped, Shuffled, Weighted
from nearfar.data.prepare import prepared
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.errors import unknown_name
from nearfar.found import at_home
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.networks import catalogue
from nearfar.networks.encoder import Encoder
from nearfar.networks.towers import Towers
from nearfar.options import resolved_settings
from nearfar.rows import Parts, Tokens, map_tensors
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.views.made import about

ROWS = 11
"""Samples in a toy batch: no multiple of two or three, so that processes have unequal parts."""

_WIDEST = 24
"""Larger whole numbers among the settings (widths, queues) become this one, which most numbers of
heads divide.
"""

_EPISODE = {"way": 3, "shot": 1, "query": 2}
"""Of methods that learn from episodes: each of the three classes has four samples."""


def toy(
    method: type[Method] | str,
    modality: str | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> tuple[Method, Batch]:
    """A method on a tiny encoder in float64 and train mode, with a batch of ``ROWS`` random
    samples.

    Args:
        method: a class, or a name that ``nearfar.methods.registry`` knows.
        modality: of the samples; by default the method's first, or "image".
        settings: of the method; by default its "small" recipe's with all whole numbers above 24
            lowered to 24.
        seed: of the weights; the batch is always the same.

    Raises:
        UserError: for an unknown modality.
    """
    kind = registry.named_by_user(method) if isinstance(method, str) else method
    spec = spec_for(kind, modality)
    small = kind.recipe("small").settings
    defaults = vars(resolved_settings(kind.Settings, small))
    lowered = {k: _WIDEST for k, v in defaults.items() if type(v) is int and v > _WIDEST}
    lowered |= {k: v for k, v in _EPISODE.items() if k in defaults}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = toy_encoder(own_spec(kind, spec), kind.encoder_kind)
        chosen = resolved_settings(kind.Settings, small, lowered, settings or {})
        made = kind(encoder, spec, chosen, **toy_finished(kind, encoder, spec))
        samples = toy_samples(spec, kind)
        made.before_epoch(0, LoadedTrainingSet(samples, made, seed=0))
    return made.double().train(), _batch(made, samples)


def spec_for(kind: type[Method], modality: str | None = None) -> Spec:
    """The toy data that a method learns from.

    Args:
        kind: the method's class.
        modality: of the samples; by default the method's first, or "image".

    Raises:
        UserError: for an unknown modality.
    """
    modality = modality or next((m for m in kind.modalities if "*" not in m), "image")
    spec = _with_parts(kind, modalities.get(_any_kind(modality)).toy)
    if kind.label_kind == "value":
        return dataclasses.replace(spec, classes=(), target="value")
    return dataclasses.replace(spec, target="classes") if kind.label_kind == "classes" else spec


def _with_parts(kind: type[Method], spec: Spec) -> Spec:
    """The toy's spec as the method's own preparation changes it, where it lacks the parts that the
    method learns from.
    """
    if not kind.prepared or all(name in spec.parts for name in kind.learns_from):
        return spec
    kinds = list(kind.learns_from.values())
    if len(set(kinds)) > 1 and modalities.parts_of(spec.modality) == tuple(kinds):
        # A preparation that makes parts of several kinds starts from several, which lie here.
        parts = zip(kind.learns_from, spec.parts.values(), strict=True)
        return dataclasses.replace(spec, parts=dict(parts))
    with torch.device("cpu"):  # also where methods are built without memory
        source = Source(spec.first, toy_samples(spec.first), None)
        return prepared(source, (kind.prepared,), seed=0).spec


def _any_kind(modality: str) -> str:
    """The modality, "*" in it replaced by kinds that no other toy has side by side.

    >>> _any_kind("*+*")
    'audio+series'
    """
    return modality.replace("*", "audio", 1).replace("*", "series")


def toy_encoder(spec: Spec, kind: str = "any") -> Encoder:
    """The tiny encoder of the toys for one modality and kind of encoder; one for each part of
    several.

    Raises:
        UserError: If the modality has none of that kind.
    """
    if spec.parts and kind in catalogue.GENERAL:
        return Towers({name: toy_encoder(part) for name, part in spec.parts.items()})
    spec = spec.first
    tiny = modalities.get(spec.modality).tiny
    if kind not in tiny:
        raise unknown_name(f"kind of encoder of {spec.modality} data", kind, tiny)
    home, options = tiny[kind]
    encoder: Encoder = at_home(home)(spec, **options)
    return encoder


def toy_finished(kind: type[Method], encoder: Encoder, spec: Spec) -> dict[str, Any]:
    """Tiny fresh parts in the place of the finished ones that a method starts from, by name.

    Args:
        kind: The method's class.
        encoder: The method's own, which parts that share it get.
        spec: Of the toy data.
    """
    found: dict[str, Any] = {}
    for name, part in kind.pretrained.items():
        if not part.needed:
            continue
        inner = registry.get(part.kinds[0]) if part.kinds else None
        wanted = "any" if inner is None else inner.encoder_kind
        own = encoder if part.shares else toy_encoder(spec, wanted)
        if part.gives == "encoder" or inner is None:
            if not part.shares:
                found[name] = own
            continue
        small = inner.recipe("small").settings
        settings = resolved_settings(inner.Settings, small)
        data = spec if inner.takes(spec.modality) else spec_for(inner)
        found[name] = inner(own, data, settings, **toy_finished(inner, own, data))
    return found


def own_spec(kind: type[Method], spec: Spec) -> Spec:
    """What a method's toy encoder is built for: the method's own data, or those of the finished
    part whose encoder it goes on with, where these are of another kind.

    Args:
        kind: The method's class.
        spec: Of the method's toy data.
    """
    for part in kind.pretrained.values():
        inner = registry.get(part.kinds[0]) if part.shares and part.kinds else None
        if inner is not None and not inner.takes(spec.modality):
            return spec_for(inner)
    return spec


def toy_samples(spec: Spec, kind: type[Method] | None = None) -> Samples:
    """As many raw samples as the spec says, with classes in turn, and the members of the group
    columns that a method needs in turn.
    """
    content = modalities.toy_of(spec, spec.length, torch.Generator().manual_seed(1))
    label = torch.arange(spec.length) % max(len(spec.classes), 1)
    if spec.target == "value":
        label = torch.arange(spec.length) % 4 * 0.75
    if spec.target == "classes":  # one in turn, every second sample all, every fifth none
        number = torch.arange(spec.length)[:, None]
        held = (torch.arange(len(spec.classes)) == label[:, None]) | (number % 2 == 1)
        label = held & (number % 5 != 4)
    columns = {} if kind is None else kind.needs_groups
    group = {name: torch.arange(spec.length) % len(each) for name, each in columns.items()}
    return Samples(content, [str(number) for number in range(spec.length)], label, group)


def _batch(method: Method, samples: Samples) -> Batch:
    generator = torch.Generator().manual_seed(1)
    wanted = method.wanted_batches
    known: dict[str, Tensor] = {}
    if isinstance(wanted, Shuffled | Grouped | Weighted):
        index = torch.randperm(len(samples), generator=generator)[:ROWS]
    else:
        facts = Facts(len(samples), samples.label, samples.group)
        sampler = wanted.sampler(facts, wanted.size(len(samples), ROWS), seed=1)
        index = sampler.batch(0, 0)
        known = sampler.about(0, 0)
    raw = samples.take(index)
    views = method.views()
    sources = method.view_sources(raw, index, generator)
    made = views(raw if sources is None else sources, generator)
    label = None if samples.label is None else samples.label[index]
    group = {name: column[index] for name, column in samples.group.items()}
    wide = [map_tensors(view, _doubled) for view in made]
    return method.prepare(Batch(wide, index, label, {**group, **known, **about(made)}), generator)


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def bytes_of(spec: Spec, count: int, generator: torch.Generator) -> Tensor:
    """Made-up raw pixels: uint8 (count, *shape)."""
    return torch.randint(0, 256, (count, *spec.shape), generator=generator, dtype=torch.uint8)


def values_of(spec: Spec, count: int, generator: torch.Generator) -> Tensor:
    """Made-up measurements: float32 (count, *shape) with the spec's mean and deviation."""
    drawn = torch.randn(count, *spec.shape, generator=generator)
    channels = (-1, *(1 for _ in spec.shape[1:]))
    mean = torch.tensor(spec.mean or (0.0,)).view(channels)
    return drawn * torch.tensor(spec.std or (1.0,)).view(channels) + mean


def tokens_of(spec: Spec, count: int, generator: torch.Generator) -> Tokens:
    """Made-up texts of at least three tokens, none of them one of the special five."""
    length = torch.randint(3, spec.context + 1, (count, 1), generator=generator)
    mask = torch.arange(spec.context) < length
    return Tokens(torch.randint(5, spec.vocabulary, mask.shape, generator=generator) * mask, mask)


def toy_parts(spec: Spec, count: int, generator: torch.Generator) -> Parts:
    """Made-up samples of several parts."""
    return Parts(
        {name: modalities.toy_of(part, count, generator) for name, part in spec.parts.items()}
    )
