"""Inflation: a training set of several copies of the real images and of generated ones (AdaInf),
and a small generator.

Evaluation never sees it: probes are fitted on the real images alone.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.loading import load
from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError
from nearfar.rows.levels import largest_level

MIXTURE = "mixture"
UNLABELLED = -1
"""Class and group of generated images; a real-valued label is NaN."""
PER_REAL = 20
"""Generated images for each real one, unless a number is named: 1,000,000 for CIFAR-10's 50,000
(Wang et al. 2024, section 5.1).
"""
_MOST_FITTED = 10_000
_LEAST = 8
"""Images from which a mixture can be fitted."""


def inflated(source: Source, inflate: str | None, copies: int = 1, *, seed: int = 0) -> Source:
    """The source whose method sees ``copies`` of its training samples and the generated images
    after them; training and test samples stay.

    A row is a sample of its own: copies of one image are each other's negatives. Generated images
    have the label -1.

    Args:
        source: the real data; images if anything is generated.
        inflate: name or path of the generated images, "mixture" or "mixture:NUMBER" for images that
            ``generate`` makes, or None.
        copies: at least 1.
        seed: of what is generated here.

    Raises:
        UserError: for less than one copy, data that are not images, or generated images that cannot
            be read.

    Source: Wang et al. 2024 (AdaInf), section 4, and the authors' code.
    """
    if copies < 1:
        raise UserError(f"The number of copies is {copies}; expected at least 1.")
    train = source.train
    rows = torch.arange(len(train)) if train.rows is None else train.rows
    label = train.label
    groups = train.group
    ids = train.ids * copies
    rows = rows.repeat(copies)
    content = train.content
    notes = list(source.notes)
    label = None if label is None else label.repeat(copies)
    groups = {name: value.repeat(copies) for name, value in groups.items()}
    if inflate is not None:
        made = _generated(source, inflate, seed)
        rows = torch.cat([rows, len(content) + torch.arange(len(made))])
        content = torch.cat([content, made])
        label = None if label is None else _unlabelled(label, len(made))
        groups = {name: _unlabelled(value, len(made)) for name, value in groups.items()}
        ids = [*ids, *(f"generated/{i}" for i in range(len(made)))]
    real = copies * len(train)
    notes.append(
        f"Training on {real:,} rows of {len(train):,} real images ({real / len(ids):.1%}) and "
        f"{len(ids) - real:,} generated ones."
    )
    samples = dataclasses.replace(
        train, content=content, ids=ids, label=label, group=groups, rows=rows, marks=None
    )
    spec = dataclasses.replace(source.spec, length=len(ids))
    return dataclasses.replace(source, spec=spec, seen=samples, notes=notes)


def _unlabelled(values: Tensor, count: int) -> Tensor:
    nothing = math.nan if values.is_floating_point() else UNLABELLED
    return torch.cat([values, values.new_full((count,), nothing)])


def _generated(source: Source, inflate: str, seed: int) -> Tensor:
    """Raw pixels (M, C, H, W)."""
    if source.spec.modality != "image":
        raise UserError(
            f"Only images can be inflated with generated ones, and {source.spec.name} holds "
            f"{source.spec.modality} data."
        )
    name, _, number = inflate.partition(":")
    if name == MIXTURE:
        if number and not number.isdigit():
            raise UserError(
                f"{inflate!r} does not say how many images to generate; expected a whole number as "
                f"in {MIXTURE}:2000."
            )
        return generate(
            source.train, int(number) if number else PER_REAL * len(source.train), seed=seed
        )
    loaded = load(inflate, like=source.spec, split=False).train
    made: Tensor = loaded.take(torch.arange(len(loaded)))
    return made


def generate(
    samples: Samples, count: int, *, seed: int = 0, dimensions: int = 20, components: int = 10
) -> Tensor:
    """Images drawn from a Gaussian mixture on the real images' principal components, as fast a
    generator as there is.

    It knows small, aligned images (digits); of others it gives blurred ones.

    Args:
        samples: images (N, C, H, W); at most 10,000 of them, drawn, are fitted.
        count: of images, at least 1.
        seed: of the draws.
        dimensions: principal components that are kept.
        components: of the mixture, each with a full covariance.

    Returns:
        (count, C, H, W) of the same type.

    Raises:
        UserError: for fewer than 8 samples, or fewer than one wanted.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    if len(samples) < _LEAST or count < 1:
        raise UserError(
            f"Generating {count} images from {len(samples)} is not possible; expected at least 1 "
            f"from at least {_LEAST}."
        )
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[
        :_MOST_FITTED
    ]
    images: Any = samples.take(order)
    flat: NDArray[np.float64] = images.flatten(1).double().numpy()
    kept = min(dimensions, len(flat) // 4, flat.shape[1])
    # With fewer samples than these for each component a covariance would be noise.
    mixed = max(1, min(components, len(flat) // (2 * kept)))
    turn = PCA(kept, random_state=seed).fit(flat)
    mixture = GaussianMixture(mixed, reg_covar=1e-3, random_state=seed).fit(turn.transform(flat))
    points, _ = mixture.sample(count)
    shuffled = points[np.random.RandomState(seed).permutation(count)]
    values = turn.inverse_transform(shuffled)
    levels = np.clip(np.rint(values), 0, largest_level(images.dtype))
    made = torch.from_numpy(levels).to(images.dtype)
    return made.view(count, *images.shape[1:])
