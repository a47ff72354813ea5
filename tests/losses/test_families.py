"""The losses of the family folders keep the promises of the battery that need no linear memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.control.transitions import latent_prediction, transition_contrast
from nearfar.losses.dense.partitions import partition_alignment, partition_contrast
from nearfar.losses.dense.regions import region_contrast, volume_region_contrast
from nearfar.losses.dense.weak_strong import weighted_class_contrast
from nearfar.losses.graphs.meta_nodes import (
    assignment_divergence,
    meta_node_contrast,
    node_contrast,
)
from nearfar.losses.graphs.meta_paths import prototype_contrast, weighted_negatives
from nearfar.losses.graphs.terms import branch_entropy, pruning_loss
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.labels.beclr import beclr
from nearfar.losses.labels.discovery import (
    class_prior_entropy,
    cross_view_distillation,
    soft_contrast,
)
from nearfar.losses.labels.forgetting import (
    embedding_vae_loss,
    extractor_unlearning,
    representation_alignment,
)
from nearfar.losses.labels.masked_supcon import masked_supcon
from nearfar.losses.labels.pseudo_labels import (
    mixed_class_contrast,
    mixed_pseudo_cross_entropy,
    uniform_prior,
)
from nearfar.losses.recommendation.sequences import meta_contrast, product_contrast
from nearfar.losses.series.devices import device_contrast
from nearfar.losses.series.levels import (
    identity_contrast,
    observation_contrast,
    sample_contrast,
)
from nearfar.losses.series.projections import mapping_error, three_way_contrast
from nearfar.losses.video.clusters import cluster_distillation, masked_self_distillation
from nearfar.losses.video.speed import (
    rate_reconstruction,
    rspnet_terms,
    temporal_discrimination,
)
from nearfar.losses.video.teachers import teachers_divergence
from nearfar.testing import LOSS_CHECKS, LossCase

CHECKS = (
    "finite_with_gradient",
    "gradient_matches_differences",
    "half_types_compute_in_float32",
    "checkpointing_changes_nothing",
    "layout_in_memory_does_not_matter",
)
"""Checks that fit a loss of any shape; those of memory ask for the blockwise core."""

Maker = Callable[[int, torch.Generator], dict[str, Any]]


def shapes(**given: tuple[int, ...]) -> Maker:
    """Normal numbers that receive gradient; -1 stands for the number of samples."""

    def make(rows: int, generator: torch.Generator) -> dict[str, Any]:
        return {
            name: normal(generator, *(rows if side == -1 else side for side in shape))
            for name, shape in given.items()
        }

    return make


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def also(make: Maker, **fixed: Callable[[int], Any]) -> Maker:
    """What ``make`` gives, and constants of a number of samples."""

    def more(rows: int, generator: torch.Generator) -> dict[str, Any]:
        return make(rows, generator) | {name: value(rows) for name, value in fixed.items()}

    return more


def ring(n: int) -> Tensor:
    return torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])


def weights(n: int) -> Tensor:
    return 1 + torch.arange(n * n, dtype=torch.float64).view(n, n).sin().abs()


def ones(n: int) -> Tensor:
    return torch.ones(n, dtype=torch.float64)


def classes(n: int) -> Tensor:
    return torch.arange(n) % 2


def soft(n: int) -> Tensor:
    return weights(n)[:, :3].softmax(dim=1)


PAIR = shapes(z1=(-1, 4, 3), z2=(-1, 4, 3))
MAPS = shapes(first=(-1, 2, 6, 6), second=(-1, 2, 6, 6))

CASES: dict[str, tuple[Callable[..., Any], Maker]] = {
    "masked_supcon": (masked_supcon, also(shapes(z=(-1, 3)), weight=weights)),
    "branch_entropy": (
        branch_entropy,
        also(
            shapes(logits=(-1, 3)),
            terms=lambda n: (soft(n) > 0.3).double(),
            branches=lambda n: torch.tensor([[True, True, False], [False, False, True]]),
        ),
    ),
    "pruning_loss": (
        pruning_loss,
        also(shapes(logits=(-1,)), target=classes, anchor=lambda n: torch.arange(n) // 3),
    ),
    "weighted_negatives": (
        weighted_negatives,
        also(shapes(query=(-1, 3), key=(-1, 3)), weight=weights),
    ),
    "prototype_contrast": (
        prototype_contrast,
        also(
            shapes(query=(-1, 3)),
            assignments=lambda n: (classes(n),),
            prototypes=lambda n: (torch.eye(2, 3, dtype=torch.float64),),
            concentrations=lambda n: (ones(2),),
        ),
    ),
    "meta_node_contrast": (
        meta_node_contrast,
        also(shapes(z=(-1, 3)), label=classes, edges=ring, strength=ones, clusters=lambda n: 2),
    ),
    "node_contrast": (node_contrast, also(shapes(z=(-1, 3)), edges=ring, strength=ones)),
    "assignment_divergence": (
        full_precision(lambda target, logits: assignment_divergence(target, logits.softmax(1))),
        also(shapes(logits=(-1, 3)), target=soft),
    ),
    "cross_view_distillation": (
        lambda logits: cross_view_distillation(logits, temperature=1.0, teacher_temperature=1e9),
        shapes(logits=(2, -1, 3)),
    ),
    "class_prior_entropy": (
        lambda logits, counts: class_prior_entropy(logits, counts, temperature=1.0),
        also(shapes(logits=(-1, 3)), counts=lambda n: 1 + ones(3).cumsum(0)),
    ),
    "soft_contrast": (
        soft_contrast,
        also(shapes(first=(-1, 3), second=(-1, 3)), target=soft),
    ),
    "mixed_pseudo_cross_entropy": (
        mixed_pseudo_cross_entropy,
        also(
            shapes(logits=(-1, 3)),
            target=soft,
            weight=ones,
            order=lambda n: torch.arange(n).flip(0),
            share=lambda n: 0.7,
        ),
    ),
    "mixed_class_contrast": (
        mixed_class_contrast,
        also(
            shapes(first=(-1, 3), second=(-1, 3)),
            target=soft,
            order=lambda n: torch.arange(n).flip(0),
            share=lambda n: 0.7,
        ),
    ),
    "uniform_prior": (uniform_prior, shapes(logits=(-1, 3))),
    "extractor_unlearning": (
        extractor_unlearning,
        shapes(remain=(-1, 3), remain_prediction=(-1, 3), forget=(4, 3), forget_prediction=(4, 3)),
    ),
    "representation_alignment": (
        representation_alignment,
        also(
            shapes(features=(-1, 3), forget=(4, 3)),
            teacher=lambda n: weights(n)[:, :3],
            forget_teacher=lambda n: weights(4)[:, :3],
        ),
    ),
    "embedding_vae_loss": (
        embedding_vae_loss,
        shapes(prediction=(-1, 3), features=(-1, 3), mean=(-1, 2), deviation=(-1, 2)),
    ),
    "beclr": (
        beclr,
        also(
            shapes(prediction=(2, -1, 3), student=(2, -1, 3)),
            teacher=lambda n: weights(n)[:, :3].expand(2, -1, -1),
        ),
    ),
    "partition_contrast": (
        lambda z: partition_contrast(z.flatten(0, 1), partitions=2),
        shapes(z=(6, -1, 3)),
    ),
    "partition_alignment": (
        lambda z: partition_alignment(z.flatten(0, 1), partitions=2),
        shapes(z=(8, -1, 3)),
    ),
    "region_contrast": (region_contrast, MAPS),
    "volume_region_contrast": (
        lambda first, second: volume_region_contrast(first, second, partitions=1),
        MAPS,
    ),
    "weighted_class_contrast": (
        weighted_class_contrast,
        also(shapes(features=(-1, 3)), label=classes, weight=lambda n: weights(n)[0]),
    ),
    "device_contrast": (
        device_contrast,
        also(
            shapes(query=(-1, 3), positives=(1, -1, 3), negatives=(2, -1, 3)),
            positive_weight=lambda n: ones(1),
            negative_weight=lambda n: 2 * ones(2),
        ),
    ),
    "sample_contrast": (sample_contrast, PAIR),
    "observation_contrast": (observation_contrast, PAIR),
    "identity_contrast": (identity_contrast, also(PAIR, label=classes)),
    "three_way_contrast": (
        three_way_contrast,
        shapes(time=(-1, 3), frame=(-1, 3), spectrum=(-1, 3)),
    ),
    "mapping_error": (mapping_error, shapes(prediction=(-1, 3), target=(-1, 3))),
    "rspnet_terms": (
        rspnet_terms,
        also(
            shapes(query=(-1, 3), motion_query=(-1, 3)),
            **{
                name: lambda n: weights(n)[:, :3].softmax(1)
                for name in ("key", "motion_key", "other_key")
            },
            other_motion_key=lambda n: weights(n)[:, 1:4].softmax(1),
            queue=lambda n: torch.eye(3, dtype=torch.float64),
            margin=lambda n: 100.0,
        ),
    ),
    "temporal_discrimination": (
        temporal_discrimination,
        also(
            shapes(query=(-1, 3), negative=(-1, 3)),
            key=lambda n: weights(n)[:, :3].softmax(1),
            queue=lambda n: torch.eye(3, dtype=torch.float64),
        ),
    ),
    "rate_reconstruction": (
        rate_reconstruction,
        also(
            shapes(prediction=(-1, 2, 3, 2, 2)),
            target=lambda n: torch.zeros(n, 2, 3, 2, 2, dtype=torch.float64),
            weight=lambda n: torch.ones(n, 2, 3, 2, 2, dtype=torch.float64),
            real=lambda n: torch.tensor([1, 0, 1]).expand(n, -1),
        ),
    ),
    "cluster_distillation": (
        lambda student, teacher, prototypes: cluster_distillation(student, teacher, prototypes)[
            "student"
        ],
        also(
            shapes(student=(-1, 2, 3), prototypes=(4, 3)),
            teacher=lambda n: weights(n)[:, :3, None].expand(-1, -1, 2).transpose(1, 2),
        ),
    ),
    "masked_self_distillation": (
        masked_self_distillation,
        also(
            shapes(student=(2, -1, 3)),
            teacher=lambda n: weights(n)[:, :3],
            centre=lambda n: ones(3),
        ),
    ),
    "teachers_divergence": (
        teachers_divergence,
        also(shapes(student=(-1, 3)), teachers=lambda n: (weights(n)[:, :3],)),
    ),
    "transition_contrast": (
        full_precision(
            lambda first, second, label: transition_contrast(first.exp(), second.exp(), label)
        ),
        also(shapes(first=(-1, 3), second=(-1, 3)), label=classes),
    ),
    "latent_prediction": (
        latent_prediction,
        also(
            shapes(prediction=(3, -1, 3)),
            target=lambda n: weights(n)[:, :3].expand(3, -1, -1),
            there=lambda n: ones(n).expand(3, -1),
        ),
    ),
    "product_contrast": (product_contrast, shapes(first=(-1, 3), second=(-1, 3))),
    "meta_contrast": (
        meta_contrast,
        shapes(first=(-1, 3), second=(-1, 3), first_made=(-1, 3), second_made=(-1, 3)),
    ),
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", CASES)
def test_loss(name: str, check: str) -> None:
    LOSS_CHECKS[check](LossCase(*CASES[name]))


def test_every_loss_of_the_list_has_a_gradient_that_is_not_nought() -> None:
    for name, (function, make) in CASES.items():
        case = LossCase(function, make)
        inputs = case.make(8)
        case.value(inputs).backward()
        slopes = [x.grad for x in inputs.values() if isinstance(x, Tensor) and x.requires_grad]
        assert all(slope is not None and slope.abs().max() > 0 for slope in slopes), name
