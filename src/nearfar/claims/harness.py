"""What claims are measured with: short trainings through the real loop, and probes of what was
learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nearfar import data, networks
from nearfar.batch import Batch
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.evaluation.features import Labelled, extract
from nearfar.evaluation.measures.geometry import effective_rank, tolerance, uniformity
from nearfar.evaluation.probes.knn import knn_accuracy
from nearfar.evaluation.probes.linear import linear_probes
from nearfar.methods import registry
from nearfar.methods.method import Method, Recipe
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder
from nearfar.networks.patch_transformer import PatchTransformer
from nearfar.options import resolved_settings
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import ImageViewSettings, WantedViews, make_views, plain_view
from nearfar.views.made import Wanted, about

DIGIT_VIEWS = ImageViewSettings(
    scale=(0.45, 1.0), ratio=(0.8, 1.25), rotation=23.0, jitter=1.0, brightness=0.3, contrast=0.3
)
"""Views of plain digits: crops, turns and changes of contrast that keep a digit what it is."""

MakeEncoder = Callable[[Spec], Encoder]
Views = Callable[[Any, torch.Generator], list[Any]]


@dataclass(frozen=True)
class Training:
    """How both arms of a claim are trained.

    Attributes:
        steps: optimiser steps.
        batch_size: samples a step.
        learning_rate: peak, as it is (not scaled by the batch).
        optimizer: "adamw", "sgd", "lars", "larc" or "muon".
        weight_decay: for weight matrices.
        encoder: a name, or what makes an encoder for a spec; "perceptron" by default.
        views: settings of all views; None for the presets of the method's style.
        before: what happens to the raw images before each view, on its own for every view.
    """

    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 2e-3
    optimizer: str = "adamw"
    weight_decay: float = 1e-5
    encoder: str | MakeEncoder = "perceptron"
    views: Any = DIGIT_VIEWS
    before: Callable[[Tensor, torch.Generator], Tensor] | None = None


@cache
def digits() -> Source:
    """The plain digits, 8 x 8, with their fixed split."""
    return data.load("digits")


def thin_convnet(*widths: int) -> MakeEncoder:
    """What makes a ``SmallConvNet`` of few channels: for images of 16 pixels it trains in
    seconds.
    """
    return lambda spec: SmallConvNet(spec, widths=widths)


tiny_convnet = thin_convnet(24, 32, 32)
"""About as much as digits need."""


def small_transformer(patch: int) -> MakeEncoder:
    """What makes a transformer of two blocks with 48 channels over square patches."""
    return lambda spec: PatchTransformer(spec, width=48, depth=2, heads=3, patch=patch)


def pretrained(
    method: str,
    source: Source,
    training: Training,
    *,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    parts: Mapping[str, Method] | None = None,
) -> Method:
    """A method trained on a source through ``nearfar.training.loop.fit``, in evaluation mode.

    Args:
        method: its name.
        source: the data.
        training: how; the same for every arm.
        seed: of the weights, the order of samples and the views.
        settings: that differ from those of the method's "small" recipe.
        parts: the finished parts that the method starts from, by name.

    Raises:
        KeyboardInterrupt: when interrupted; a shortened training must not count.
    """
    kind = registry.named_by_user(method)
    torch.manual_seed(seed)
    encoder = (
        training.encoder(source.spec)
        if callable(training.encoder)
        else networks.build(training.encoder, source.spec, kind=kind.encoder_kind)
    )
    chosen = resolved_settings(kind.Settings, kind.recipe("small").settings, settings or {})
    made = kind(encoder, source.spec, chosen, **(parts or {}))
    batch_size = made.wanted_batches.size(made.spec.length, training.batch_size)
    recipe = Recipe(
        settings={},
        optimizer=training.optimizer,
        learning_rate=training.learning_rate * 256 / batch_size,
        weight_decay=training.weight_decay,
        batch_size=batch_size,
    )
    views = make_views(
        source.spec,
        made.wanted_views,
        settings=training.views,
    )
    progress = fit(
        made,
        source,
        _changed_before(views, made.wanted_views, training),
        Plan(recipe, steps=training.steps, seed=seed),
    )
    if progress.step < progress.steps:
        raise KeyboardInterrupt
    return made.eval()


def _changed_before(views: Views, wanted: Wanted, training: Training) -> Views:
    change = training.before
    if change is None:
        return views
    count = wanted.whole if isinstance(wanted, WantedViews) else 1
    return lambda samples, generator: views(
        [change(samples, generator) for _ in range(count)], generator
    )


def training_batches(
    method: Method, source: Source, *, seed: int, batch_size: int, count: int = 10
) -> Iterator[Batch]:
    """Batches of views of random training samples as the method wants them, to look at a trained
    method's loss.
    """
    generator = torch.Generator().manual_seed(seed)
    views = method.views(DIGIT_VIEWS)
    for _ in range(count):
        index = torch.randperm(len(source.train), generator=generator)[:batch_size]
        made = views(source.train.take(index), generator)
        batch = Batch(list(made), index, extra=dict(about(made)))
        yield method.prepare(batch, generator)


def features_of(method: Method, samples: Samples) -> Tensor:
    """(N, D) features of samples in plain view."""
    return extract(method.encode, samples, plain_view(method.spec))


def labelled(method: Method, samples: Samples) -> Labelled:
    """Features of samples in plain view with their classes."""
    assert samples.label is not None
    return Labelled(features_of(method, samples), samples.label, len(method.spec.classes))


def both_parts(encode: Callable[[Any], Tensor], source: Source) -> tuple[Labelled, Labelled]:
    """Features of training and test samples in plain view with their classes."""
    view = plain_view(source.spec)
    parts = []
    for samples in (source.train, source.test):
        assert samples is not None
        assert samples.label is not None
        parts.append(
            Labelled(extract(encode, samples, view), samples.label, len(source.spec.classes))
        )
    return parts[0], parts[1]


def linear_accuracy(train: Labelled, test: Labelled, *, seed: int = 0) -> float:
    """Test accuracy of a logistic regression on standardised features."""
    (probe,) = linear_probes(train, seeds=[seed])
    return probe.accuracy(test)


def probes(
    method: Method, source: Source, *, seed: int = 0, views: Any = DIGIT_VIEWS
) -> dict[str, float]:
    """What was learned, by several measures, of the test samples.

    Returns:
        "knn" (k = 20, T = 0.07) and "linear", accuracies; "augmented_knn", the kNN accuracy of
        three random views of each test sample against the plain training samples: on digits, plain
        kNN says nothing, as raw pixels reach 98 %; "effective_rank", "uniformity" and "tolerance"
        of the test features.
    """
    assert source.test is not None
    train = labelled(method, source.train)
    test = labelled(method, source.test)
    return {
        "knn": knn_accuracy(train, test),
        "linear": linear_accuracy(train, test, seed=seed),
        "augmented_knn": augmented_knn(method, source, train, seed=seed, views=views),
        "effective_rank": effective_rank(test.features),
        "uniformity": uniformity(test.features),
        "tolerance": tolerance(test),
    }


def augmented_knn(
    method: Method,
    source: Source,
    train: Labelled,
    *,
    seed: int = 0,
    views: Any = DIGIT_VIEWS,
    count: int = 3,
) -> float:
    """kNN accuracy of ``count`` random views of each test sample against the plain training
    samples.
    """
    assert source.test is not None
    assert source.test.label is not None
    make = make_views(source.spec, WantedViews(whole=1), settings=views)
    generator = torch.Generator().manual_seed(seed)
    found = [
        extract(method.encode, source.test, lambda samples: make(samples, generator)[0])
        for _ in range(count)
    ]
    return knn_accuracy(
        train, Labelled(torch.cat(found), source.test.label.repeat(count), train.classes)
    )
