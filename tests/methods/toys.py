"""A small encoder and a made-up batch for every kind of method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nearfar import networks
from nearfar.batch import Batch
from nearfar.data.spec import Spec
from nearfar.methods.method import Method, Streams
from nearfar.networks.catalogue import GENERAL
from nearfar.networks.encoder import Encoder
from nearfar.rows import Parts, Tokens
from nearfar.testing.toys import own_spec, spec_for, toy_encoder, toy_finished, toy_samples
from nearfar.views import WantedViews
from nearfar.views.made import about

SAMPLES = 8


class ToyEncoder(Encoder):
    """One convolution with batch norm for images of any size, averaged to 12 features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
        self.dimension = 12

    def forward(self, x: Tensor) -> Tensor:
        return self.feature_map(x).mean(dim=(2, 3))

    def feature_map(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Identity(Encoder):
    """Features are the input, so that a test can say what they are."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def spec_of(kind: type[Method], *, length: int = 1000, modality: str = "image") -> Spec:
    """A spec that the method accepts."""
    if kind.encoder_kind == "towers":
        image = Spec("pairs", "image", (3, 16, 16), length)
        text = Spec("pairs", "text", (6,), length, vocabulary=30, context=6)
        return Spec("pairs", "image+text", (), length, parts={"image": image, "text": text})
    shape = (3, 16, 16) if modality == "image" else (3, 64)
    channels = shape[0]
    classes, target = ((), "value") if kind.label_kind == "value" else (("a", "b"), "class")
    return Spec(
        "toy",
        modality,
        shape,
        length,
        classes,
        target,
        mean=(0.5,) * channels,
        std=(0.2,) * channels,
    )


def _has_own_data(kind: type[Method]) -> bool:
    """Whether a method learns from other data than images, alone or with texts."""
    return bool(kind.learns_from) or kind.encoder_kind not in GENERAL


def build(kind: type[Method], settings: dict[str, Any], *, length: int = 1000) -> Method:
    """The method on a small encoder."""
    if _has_own_data(kind):
        spec = replace(spec_for(kind), length=length)
        encoder: Encoder = toy_encoder(own_spec(kind, spec), kind.encoder_kind)
        return kind(encoder, spec, kind.Settings(**settings), **toy_finished(kind, encoder, spec))
    spec = spec_of(kind, length=length)
    encoder = (
        ToyEncoder()
        if kind.encoder_kind == "any"
        else networks.build(None, spec, kind=kind.encoder_kind)
    )
    return kind(encoder, spec, kind.Settings(**settings), **toy_finished(kind, encoder, spec))


def batch_for(method: Method, *, samples: int = SAMPLES) -> Batch:
    """Random views as the method wants them, with labels."""
    if _has_own_data(type(method)):
        return _own_batch(method, samples)
    wanted = method.wanted_views
    assert isinstance(wanted, WantedViews)
    views: list[Any] = [torch.randn(samples, 3, 16, 16) for _ in range(wanted.whole)]
    views += [torch.randn(samples, 3, 8, 8) for _ in range(wanted.local)]
    views += [torch.randn(samples, 3, 16, 16) for _ in wanted.further]
    extra: dict[str, Any] = {}
    if wanted.boxes:
        corners = torch.tensor([0.0, 0.0, 1.0, 1.0])
        extra["boxes"] = corners + 0.3 * torch.rand(samples, wanted.whole + wanted.local, 4)
    if method.encoder_kind == "towers":
        ids = torch.randint(1, 30, (samples, 6))
        tokens = Tokens(ids, torch.ones(samples, 6, dtype=torch.bool))
        views = [Parts(image=view, text=tokens) for view in views]
    if isinstance(method.wanted_batches, Streams):
        extra["stream"] = torch.arange(samples) % len(method.wanted_batches.sizes)
    if wanted.noise:
        extra["noise"] = torch.rand(samples, wanted.noise)
    label = (
        torch.arange(samples) % 4 * 0.75
        if method.label_kind == "value"
        else torch.arange(samples) % 2
    )
    return method.prepare(
        Batch(views, torch.arange(samples), label, extra), torch.Generator().manual_seed(0)
    )


def _own_batch(method: Method, samples: int) -> Batch:
    toys = toy_samples(replace(method.spec, length=samples))
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(samples)
    made = method.views()(toys.take(index), generator)
    batch = Batch(list(made), index, toys.label, dict(about(made)))
    return method.prepare(batch, generator)
