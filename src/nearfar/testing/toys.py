"""A tiny instance of any method, on tiny data of its modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Batch, Pair, Tokens
from nearfar.data.batches.samplers import sampler_for
from nearfar.data.samples import Samples
from nearfar.data.spec import Spec
from nearfar.errors import unknown_name
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.networks.audio_convnet import AudioConvNet
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder
from nearfar.networks.frame_convnet import FrameConvNet
from nearfar.networks.patch_transformer import PatchTransformer
from nearfar.networks.point_net import PointNet
from nearfar.networks.series_convnet import SeriesConvNet
from nearfar.networks.text_transformer import TextTransformer
from nearfar.networks.towers import TwoTowers
from nearfar.options import resolved_settings
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.views import make_views

ROWS = 11
"""Samples in a toy batch: no multiple of two or three, so that processes have unequal parts."""

_WIDEST = 24
"""Larger whole numbers among the settings (widths, queues) become this one, which most numbers of
heads divide.
"""

_EPISODE = {"way": 3, "shot": 1, "query": 2}
"""Of methods that learn from episodes: each of the three classes has four samples."""

_CHANNELS: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
_LABELS: dict[str, Any] = {"classes": ("a", "b", "c"), "target": "class"}
_WORDS: dict[str, Any] = {"vocabulary": 20, "context": 6}
SPECS = {
    "image": Spec("toy images", "image", (3, 8, 8), 12, **_CHANNELS, **_LABELS),
    "series": Spec("toy series", "series", (2, 32), 12, mean=(0.0, 0.0), std=(1.0, 1.0), **_LABELS),
    "text": Spec("toy texts", "text", (6,), 12, **_WORDS, **_LABELS),
    "audio": Spec("toy sounds", "audio", (8, 16), 12, mean=(0.0,) * 8, std=(1.0,) * 8, **_LABELS),
    "video": Spec("toy clips", "video", (3, 2, 8, 8), 12, **_CHANNELS, **_LABELS),
    "points": Spec("toy points", "points", (3, 20), 12, mean=(0.0,) * 3, std=(1.0,) * 3, **_LABELS),
    "image-text": Spec("toy pairs", "image-text", (3, 8, 8), 12, **_CHANNELS, **_WORDS, **_LABELS),
}


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
        encoder = toy_encoder(spec, kind.encoder_kind)
        made = kind(encoder, spec, resolved_settings(kind.Settings, small, lowered, settings or {}))
        samples = toy_samples(spec)
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
    modality = modality or next(iter(kind.modalities), "image")
    if modality not in SPECS:
        raise unknown_name("modality", modality, SPECS)
    spec = SPECS[modality]
    return (
        dataclasses.replace(spec, classes=(), target="value")
        if kind.label_kind == "value"
        else spec
    )


def toy_encoder(spec: Spec, kind: str = "any") -> Encoder:
    """The tiny encoder of the toys for one modality and kind of encoder."""
    if spec.modality == "image-text":
        texts = dataclasses.replace(spec, modality="text", shape=(spec.context,))
        return TwoTowers(
            toy_encoder(dataclasses.replace(spec, modality="image"), kind), toy_encoder(texts, kind)
        )
    if spec.modality == "text":
        return TextTransformer(spec, width=12, depth=1, heads=2)
    if kind == "tokens":
        return PatchTransformer(spec, width=24, depth=1, heads=3)
    if spec.modality == "series":
        return SeriesConvNet(spec, width=4, depth=1, dimension=8)
    convolutional: dict[str, Any] = {
        "audio": AudioConvNet,
        "video": FrameConvNet,
        "points": PointNet,
    }
    encoder: Encoder = convolutional.get(spec.modality, SmallConvNet)(spec, widths=(4, 8))
    return encoder


def toy_samples(spec: Spec) -> Samples:
    """As many raw samples as the spec says, with classes in turn."""
    content = _samples(spec, torch.Generator().manual_seed(1))
    label = (
        torch.arange(spec.length) % 4 * 0.75
        if spec.target == "value"
        else torch.arange(spec.length) % len(spec.classes)
    )
    return Samples(content, [str(number) for number in range(spec.length)], label)


def _batch(method: Method, samples: Samples) -> Batch:
    generator = torch.Generator().manual_seed(1)
    wanted = method.wanted_batches
    if wanted.kind in ("repeated", "episodes"):
        size = wanted.rows or ROWS // wanted.copies * wanted.copies
        index = sampler_for(wanted, len(samples), size, seed=1, label=samples.label).batch(0, 0)
    else:
        index = torch.randperm(len(samples), generator=generator)[:ROWS]
    raw = samples.take(index)
    views = make_views(
        method.spec, method.wanted_views, patches=getattr(method.encoder, "patches", 0)
    )
    sources = method.view_sources(raw, index, generator)
    made = [
        v.double() if isinstance(v, Tensor) else v
        for v in views(raw if sources is None else sources, generator)
    ]
    return method.prepare(
        Batch(made, index, None if samples.label is None else samples.label[index]), generator
    )


def _samples(spec: Spec, generator: torch.Generator) -> Any:
    """Raw samples as data sources give them."""
    if spec.modality == "image-text":
        parts = (
            dataclasses.replace(spec, modality="image"),
            dataclasses.replace(spec, modality="text"),
        )
        return Pair(*(_samples(part, generator) for part in parts))
    if spec.modality == "text":
        length = torch.randint(3, spec.context + 1, (spec.length, 1), generator=generator)
        mask = torch.arange(spec.context) < length
        return Tokens(
            torch.randint(5, spec.vocabulary, mask.shape, generator=generator) * mask, mask
        )
    if spec.modality in ("image", "video"):
        return torch.randint(
            0, 256, (spec.length, *spec.shape), generator=generator, dtype=torch.uint8
        )
    return torch.randn(spec.length, *spec.shape, generator=generator)
