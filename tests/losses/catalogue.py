"""Every public function of ``nearfar.losses``: either a loss with its case for the battery, or a
part, with what it is.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nearfar import losses
from nearfar.losses.instance import common_salient, individual_temperature, masked_contrast
from nearfar.losses.instance.feature_transformation import Mixing
from nearfar.losses.instance.hard_negatives import draw
from nearfar.losses.kernels import similarity
from nearfar.losses.redundancy import mixed_redundancy
from nearfar.losses.redundancy.mixed_redundancy import Mix
from nearfar.losses.supervised import label_augmentation
from nearfar.losses.supervised.episodes import neighbour_score
from nearfar.testing import LossCase

Maker = Callable[[int, torch.Generator], Any]


def online(*shape: int) -> Maker:
    """Random numbers that receive gradient; -1 stands for the number of samples."""
    return lambda rows, generator: fixed(*shape)(rows, generator).requires_grad_()


def fixed(*shape: int) -> Maker:
    """Random numbers without gradient."""

    def make(rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn(
            [rows if side == -1 else side for side in shape],
            generator=generator,
            dtype=torch.float64,
        )

    return make


def share(*shape: int) -> Maker:
    """Random shares that sum to 1 along the last axis, without gradient."""
    return lambda rows, generator: fixed(*shape)(rows, generator).softmax(-1)


def unit_rows(*shape: int) -> Maker:
    """Random unit vectors that receive gradient."""
    return lambda rows, generator: similarity.unit(fixed(*shape)(rows, generator)).requires_grad_()


def share_of_first(rows: int, generator: torch.Generator) -> Tensor:
    """(N,) in (0, 1)."""
    return fixed(-1)(rows, generator).sigmoid()


def constant(value: Any) -> Maker:
    return lambda rows, generator: value


def label(classes: int = 3) -> Maker:
    """(N,) int64, every class often."""
    return lambda rows, generator: torch.arange(rows) % classes


INPUTS: dict[str, Maker] = {
    **dict.fromkeys(
        ("z", "z1", "z2", "p1", "p2", "q1", "q2", "query", "first", "second"), online(-1, 5)
    ),
    **dict.fromkeys(("target1", "target2", "k1", "k2", "nn1", "nn2", "key"), fixed(-1, 5)),
    "queue": fixed(9, 5),
    "label": label(),
    "similarity": online(-1, -1),
    "views": online(3, -1, 5),
}
"""What a parameter of a loss means by its name."""


@dataclass(frozen=True)
class Spec:
    """How a loss is tried.

    Attributes:
        inputs: makers of inputs that ``INPUTS`` does not hold, or that mean something else here.
        function: stands in for the loss where its arguments or its result are not tensors.
        skip: checks that do not apply, each with the reason.
        tolerance: see ``LossCase``; looser than the default only with a reason beside it.
        exchanged: see ``LossCase``.
        compiles: False where ``torch.compile`` breaks the graph, as the loss's docstring says.
    """

    inputs: Mapping[str, Maker] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-5
    exchanged: tuple[tuple[str, str], ...] = ()
    compiles: bool = True


def because(reason: str, *checks: str) -> dict[str, str]:
    return dict.fromkeys(checks, reason)


DIFFERENCES = ("gradient_matches_differences", "second_derivative_matches_differences")
CONSTANT = because("weights or others are constants on purpose", *DIFFERENCES)
MATRIX = because("the input is itself a matrix of all pairs", "memory_is_linear")
DRAWN = because("draws belong to samples", "order_does_not_matter")
VIEWS = (("z1", "z2"),)
BOTH = (("p1", "p2"), ("target1", "target2"))


ANY_TEMPERATURE = (1e-4, 100.0)
"""Bounds of the samples' temperatures that no check leaves."""


def state_of(rows: Tensor, temperature: float) -> individual_temperature.SampleState:
    return individual_temperature.fresh_state(rows.detach().new_full((len(rows),), temperature))


def bimodal(first: Tensor, second: Tensor, *, temperature: float = 0.25) -> Tensor:
    state = state_of(first, temperature)
    rule = replace(individual_temperature.BIMODAL, bounds=ANY_TEMPERATURE)
    return individual_temperature.bimodal_step(first, second, state, state, rule=rule)[0]


def unimodal(
    z1: Tensor, z2: Tensor, *, temperature: float = 0.25, hinge: float | None = None
) -> Tensor:
    rule = individual_temperature.Rule(bounds=ANY_TEMPERATURE)
    return individual_temperature.unimodal_step(
        z1, z2, state_of(z1, temperature), rule=rule, hinge=hinge
    )[0]


def hinged(z1: Tensor, z2: Tensor, *, temperature: float = 0.25) -> Tensor:
    return unimodal(z1, z2, temperature=temperature, hinge=0.8)


def sepclr(
    c1: Tensor, c2: Tensor, s1: Tensor, s2: Tensor, target: Tensor, *, temperature: float = 0.5
) -> dict[str, Tensor]:
    return common_salient.sepclr((c1, c2), (s1, s2), target, temperature=temperature)


def attributed(
    c1: Tensor,
    c2: Tensor,
    latents: Tensor,
    attributes: Tensor,
    target: Tensor,
    *,
    temperature: float = 0.5,
) -> Any:
    return common_salient.sepclr_with_attributes(
        (c1, c2), latents, attributes, target, temperature=temperature
    )


def augmented(joint_logits: Tensor, label: Tensor) -> Tensor:
    return label_augmentation.label_augmentation(joint_logits.flatten(0, 1), label, 3)


def distilled(
    single_logits: Tensor, joint_logits: Tensor, label: Tensor, *, temperature: float = 1.0
) -> Tensor:
    return label_augmentation.self_distillation(
        single_logits, joint_logits.flatten(0, 1), label, 3, temperature=temperature
    )


def neighbours(features: Tensor, label: Tensor) -> Tensor:
    return -neighbour_score(features, label)["score"].log()


def masked(logits: Tensor, positive: Tensor, form: str = "mean") -> Tensor:
    valid = torch.ones_like(positive)
    return masked_contrast.masked_contrast(logits, positive, valid, form=form).mean()


def like_first(first: Tensor, second: Tensor, *, temperature: float = 0.1) -> Tensor:
    return losses.clip(first, second, logit_scale=1 / temperature)


def sigmoid_pairs(first: Tensor, second: Tensor, *, temperature: float = 0.1) -> Tensor:
    return losses.siglip(first, second, logit_scale=1 / temperature, logit_bias=-10.0)


def mixed(name: str) -> Callable[..., Any]:
    def call(z1: Tensor, z2: Tensor, mixed: Tensor) -> Any:
        mix = Mix(0.3, torch.arange(len(z1)).roll(1))
        return getattr(mixed_redundancy, name)(z1, z2, mixed, mix)

    return call


MIXED = {name: online(-1, 5) for name in ("z1", "z2", "mixed")}
PIXELS = {
    "query": online(-1, 5, 2, 3),
    "key": fixed(-1, 5, 2, 3),
    "positive": lambda rows, generator: fixed(-1, 6, 6)(rows, generator) > 0.3,
}


def anchor_shares(rows: int, generator: torch.Generator) -> Tensor:
    """Between 0 and 1 for each pair."""
    return fixed(-1, -1)(rows, generator).sigmoid()


REGRESSION = {
    "features": online(-1, 5),
    "label": lambda rows, generator: (torch.arange(rows) * 3 % 5).double(),
    "prediction": lambda rows, generator: (torch.arange(rows) * 2 % 5).double(),
}
HEADS = {"z1": online(2, -1, 5), "z2": online(2, -1, 5), "temperature": constant(0.3)}
HEADED = because("its temperatures are an input of their own", "finite_at_any_temperature")

LOSSES: dict[str, Spec] = {
    "behaviour.contrastive": Spec(skip=MATRIX),
    "behaviour.hard_contrastive": Spec(skip=MATRIX),
    "behaviour.hard_simple": Spec(skip=MATRIX),
    "behaviour.simple": Spec(skip=MATRIX),
    "cacr.attraction": Spec(),
    "cacr.cacr": Spec(),
    "cacr.moco_v3_cacr": Spec(
        {"prediction": online(2, -1, 5), "key": fixed(2, -1, 5)},
        skip=CONSTANT,
    ),
    "cacr.moco_v3_key": Spec({"query": online(2, -1, 5)}, skip=CONSTANT),
    "cacr.moco_v3_key euclidean": Spec(
        {"query": online(2, -1, 5), "euclidean": constant(True)}, skip=CONSTANT
    ),
    "cacr.queue_attraction": Spec(
        {"query": online(3, -1, 5), "key": fixed(3, -1, 5)}, skip=CONSTANT
    ),
    "cacr.queue_repulsion": Spec({"query": online(3, -1, 5)}, skip=CONSTANT),
    "cacr.repulsion": Spec(),
    "cacr.repulsion kernel": Spec({"kernel_width": constant(2.0)}),
    "clustering.swav": Spec({"scores": online(4, -1, 5), "codes": share(2, -1, 5)}),
    "common_salient.alignment": Spec(exchanged=(("first", "second"),)),
    "common_salient.attribute_alignment": Spec({"latent": online(-1), "attribute": fixed(-1)}),
    "common_salient.joint_entropy": Spec({"common": online(-1, 5), "salient": online(-1, 3)}),
    "common_salient.log_uniformity": Spec(),
    "common_salient.sepclr": Spec(
        {
            **dict.fromkeys(("c1", "c2"), online(-1, 5)),
            **dict.fromkeys(("s1", "s2"), online(-1, 3)),
            "target": lambda rows, generator: torch.arange(rows) % 2 == 0,
        },
        sepclr,
        exchanged=(("c1", "c2"), ("s1", "s2")),
    ),
    "common_salient.sepclr_with_attributes": Spec(
        {
            **dict.fromkeys(("c1", "c2"), online(-1, 5)),
            "latents": online(-1, 2),
            "attributes": fixed(-1, 2),
            "target": lambda rows, generator: torch.arange(rows) % 4 != 1,
        },
        attributed,
        compiles=False,
    ),
    "contrastive.clip": Spec(
        {"first": unit_rows(-1, 5), "second": unit_rows(-1, 5)},
        like_first,
        exchanged=(("first", "second"),),
    ),
    "contrastive.info_nce": Spec({"key": online(-1, 5)}),
    "contrastive.info_nce symmetric": Spec(
        {"key": online(-1, 5), "symmetric": constant(True)}, exchanged=(("query", "key"),)
    ),
    "contrastive.moco_v3": Spec(exchanged=(("q1", "q2"), ("k1", "k2"))),
    "contrastive.nnclr": Spec(exchanged=(("p1", "p2"), ("nn1", "nn2"))),
    "contrastive.nt_xent": Spec(exchanged=VIEWS),
    "contrastive.queue_info_nce": Spec(),
    "core_tuning.focal_contrast": Spec(
        {
            "soft_label": lambda rows, generator: torch.eye(3, dtype=torch.float64)[
                torch.arange(rows) % 3
            ]
        }
    ),
    "core_tuning.soft_cross_entropy": Spec({"logits": online(-1, 4), "soft_label": share(-1, 4)}),
    "decoupled.cross_view_dcl": Spec({"key": online(-1, 5)}),
    "decoupled.dcl": Spec(exchanged=VIEWS),
    "decoupled.dclw": Spec(skip=CONSTANT, exchanged=VIEWS),
    "decoupled.nnclr_dcl": Spec(exchanged=(("p1", "p2"), ("nn1", "nn2"))),
    "decoupled.queue_dcl": Spec(),
    "direct_predictor.direct_prediction": Spec(exchanged=BOTH),
    "distillation.byol": Spec(exchanged=BOTH),
    "distillation.dino": Spec(
        {"student": online(4, -1, 5), "teacher": fixed(2, -1, 5), "centre": fixed(5)}
    ),
    "distillation.simsiam": Spec(
        {"z1": fixed(-1, 5), "z2": fixed(-1, 5)}, exchanged=(("p1", "p2"), ("z1", "z2"))
    ),
    "episodes.neighbour_score": Spec({"features": online(-1, 5)}, neighbours),
    "episodes.prototype_triplet": Spec(
        {"prototype": online(3, 5), "prototype_label": constant(torch.arange(3))}
    ),
    "feature_transformation.feature_transformation": Spec(
        {"mixing": constant(Mixing(1.3, 0.6, torch.arange(9).flip(0)))}
    ),
    "gaussianity.centre_prediction": Spec(),
    "gaussianity.sigreg": Spec({"directions": constant(torch.eye(5, dtype=torch.float64)[:4])}),
    "gated_pairs.gated_contrast": Spec(
        {
            "gate": lambda rows, generator: (
                fixed(-1, 5)(rows, generator).sigmoid().requires_grad_()
            ),
            "partner": label(2),
        }
    ),
    "groco.groco": Spec(skip=CONSTANT),
    "hard_negatives.mochi": Spec(
        {
            "draws": lambda rows, generator: draw(
                fixed(-1, 5)(rows, generator),
                fixed(9, 5)(rows, generator),
                generator=generator,
                hardest=4,
                pairs=3,
                with_query=2,
            )
        },
        skip={**DRAWN, **CONSTANT},
    ),
    "individual_temperature.bimodal_step": Spec(
        {name: unit_rows(-1, 5) for name in ("first", "second")},
        bimodal,
        skip=CONSTANT,
        exchanged=(("first", "second"),),
    ),
    "individual_temperature.robust_contrastive": Spec(
        {
            "margins": online(-1, 6),
            "temperature": lambda rows, generator: torch.linspace(
                0.2, 1.0, rows, dtype=torch.float64
            ).requires_grad_(),
        },
        skip={
            **HEADED,
            **because("a temperature may not be 0", "degenerate_embeddings_stay_finite"),
        },
    ),
    "individual_temperature.unimodal_step": Spec(
        {name: unit_rows(-1, 5) for name in ("z1", "z2")}, unimodal, skip=CONSTANT, exchanged=VIEWS
    ),
    "individual_temperature.unimodal_step hinge": Spec(
        {name: unit_rows(-1, 5) for name in ("z1", "z2")}, hinged, skip=CONSTANT, exchanged=VIEWS
    ),
    "label_augmentation.label_augmentation": Spec(
        {"joint_logits": online(-1, 3, 12), "label": label(4)}, augmented
    ),
    "label_augmentation.self_distillation": Spec(
        {"single_logits": online(-1, 4), "joint_logits": fixed(-1, 3, 12), "label": label(4)},
        distilled,
    ),
    "sketching.visreg_terms": Spec(
        {"directions": constant(torch.eye(5, dtype=torch.float64)[:4])}, skip=CONSTANT
    ),
    "patches.koleo": Spec({"z": online(-1, 5)}, skip=CONSTANT),
    "patches.masked_distillation": Spec(
        {
            "student": online(-1, 3, 4),
            "target": share(-1, 3, 4),
            "counted": lambda rows, generator: torch.tensor([True, False, True]).repeat(rows, 1),
        }
    ),
    "masked.feature_prediction": Spec(
        {"prediction": online(-1, 3, 4), "target": fixed(-1, 3, 4)}, skip=CONSTANT
    ),
    "masked.masked_reconstruction": Spec(
        {
            "prediction": online(-1, 3, 4),
            "target": fixed(-1, 3, 4),
            "mask": lambda rows, generator: torch.tensor(
                [1.0, 0.0, 1.0], dtype=torch.float64
            ).repeat(rows, 1),
        }
    ),
    "masked_contrast.grouped_clip": Spec({"group": label()}, exchanged=(("first", "second"),)),
    "masked_contrast.grouped_nt_xent": Spec({"group": label()}, exchanged=VIEWS),
    "masked_contrast.masked_contrast": Spec(
        {
            "logits": online(-1, 6),
            "positive": lambda rows, generator: fixed(-1, 6)(rows, generator) > 0.5,
        },
        masked,
    ),
    "masked_contrast.tagged_contrast": Spec({"tag": label()}),
    "mixed_redundancy.mixed_barlow_twins": Spec(MIXED, mixed("mixed_barlow_twins"), skip=DRAWN),
    "mixed_redundancy.mixed_barlow_twins_terms": Spec(
        MIXED, mixed("mixed_barlow_twins_terms"), skip=DRAWN
    ),
    "mixed_redundancy.mixing_regulariser": Spec(MIXED, mixed("mixing_regulariser"), skip=DRAWN),
    "multi_head.amcl": Spec(HEADS, skip=HEADED),
    "multi_head.amcl queue": Spec({**HEADS, "queue": fixed(2, 9, 5)}, skip=HEADED),
    "multi_head.amcl_barlow_twins": Spec(
        {
            **HEADS,
            "temperature": lambda rows, generator: fixed(2, 5, 5)(rows, generator).sigmoid() + 0.1,
        },
        skip=HEADED,
    ),
    "multi_head.amcl_info_nce": Spec(HEADS, skip=HEADED),
    "multi_head.amcl_simsiam": Spec(
        {
            **dict.fromkeys(("p1", "p2"), online(2, -1, 5)),
            **dict.fromkeys(("z1", "z2"), fixed(2, -1, 5)),
            "temperature": constant(0.3),
        },
        skip=HEADED,
        exchanged=(("p1", "p2"), ("z1", "z2")),
    ),
    "pixels.pixcontrast": Spec(PIXELS),
    "pixels.pixpro": Spec(PIXELS),
    "redundancy.barlow_twins": Spec(exchanged=VIEWS),
    "redundancy.vicreg": Spec(exchanged=VIEWS),
    "redundancy.vicreg_terms": Spec(exchanged=VIEWS),
    "regression_pairs.conr": Spec(REGRESSION),
    "regression_pairs.conr official": Spec({**REGRESSION, "official": constant(True)}),
    "regression_pairs.conr two dimensions": Spec(
        REGRESSION
        | {
            "label": lambda rows, generator: (
                (torch.arange(rows) % 3)[:, None] * torch.tensor([1.5, 0.7], dtype=torch.float64)
            ),
            "prediction": lambda rows, generator: (
                (torch.arange(rows) % 4)[:, None] * torch.tensor([0.3, 0.2], dtype=torch.float64)
            ),
        }
    ),
    "regression_pairs.conr_dense": Spec(
        {
            "features": online(-1, 5, 1, 2),
            "target": lambda rows, generator: (
                (torch.arange(rows) % 3 * 0.3).double().view(-1, 1, 1, 1)
            ),
            "prediction": lambda rows, generator: (
                (torch.arange(rows) % 4 * 0.05).double().view(-1, 1, 1, 1)
            ),
        }
    ),
    "regression_pairs.supremix": Spec(
        {"label": REGRESSION["label"], "mixing": anchor_shares},
        skip=CONSTANT,
        compiles=False,
    ),
    "regression_pairs.supremix official": Spec(
        {"label": REGRESSION["label"], "mixing": anchor_shares, "official": constant(True)},
        skip=CONSTANT,
        compiles=False,
    ),
    "regression_pairs.supremix unmixed": Spec(
        {"label": REGRESSION["label"], "mixing": constant(None), "window": constant(None)}
    ),
    "relation.queue_relation": Spec(),
    "relation.queue_relation own key": Spec({"own_key": constant(True)}),
    **{
        f"relational.{name}": Spec({"student": online(-1, 5), "teacher": fixed(-1, 3)})
        for name in ("rkd_distance", "rkd_angle")
    },
    "hints.hint": Spec({"student": online(-1, 5), "teacher": fixed(-1, 5)}),
    "hints.hint cosine of maps": Spec(
        {
            "student": online(-1, 2, 5),
            "teacher": fixed(-1, 2, 5),
            "form": constant("cosine"),
        }
    ),
    "siglip.siglip": Spec(
        {"first": unit_rows(-1, 5), "second": unit_rows(-1, 5)},
        sigmoid_pairs,
        exchanged=(("first", "second"),),
    ),
    "soft_targets.cwcl": Spec(
        {name: online(-1, 5) for name in ("trained", "frozen")}, skip=CONSTANT
    ),
    "soft_targets.mixed_clip": Spec(
        {
            **dict.fromkeys(("mixed", "other"), online(-1, 5)),
            "share": share_of_first,
            "partner": lambda rows, generator: torch.arange(rows).roll(1),
        },
        skip=DRAWN,
    ),
    "soft_targets.soft_clip": Spec(),
    "soft_targets.soft_info_nce": Spec(
        {"key": online(-1, 5), "target": share(-1, -1)}, skip=MATRIX
    ),
    "spectral.spectral_contrast": Spec(exchanged=VIEWS),
    "supervised.supcon": Spec({"features": unit_rows(-1, 2, 5)}),
    "view_quality.weighted_moco_v3": Spec(
        {"weight": share_of_first}, exchanged=(("q1", "q2"), ("k1", "k2"))
    ),
    "view_quality.weighted_simsiam": Spec(
        {"weight": share_of_first, **dict.fromkeys(("z1", "z2"), fixed(-1, 5))},
        exchanged=(("p1", "p2"), ("z1", "z2")),
    ),
    "supervised.supcon one": Spec({"features": unit_rows(-1, 2, 5), "mode": constant("one")}),
}
"""Cases by module and function, and after a blank the name of a variant."""

PARTS: dict[str, str] = {
    "behaviour.hard_threshold": "a threshold for each row",
    "behaviour.penalty_entropy": "a diagnostic",
    "behaviour.relative_penalty": "a diagnostic",
    "blocks.block_height": "a number",
    "blocks.in_row_blocks": "computes others in blocks",
    "blocks.gathered": "rows",
    "blocks.each_alone": "a rule of vmap",
    "blocks.mapped_together": "the same tensors",
    "blocks.nearest_rows": "places",
    "blocks.row_blocks": "ranges",
    "blocks.squared_distances": "a matrix",
    "blocks.with_gradients": "computes others in one pass",
    "clustering.swapped_cross_entropy": "values for each sample, behind swav and dino",
    "contrastive.log_negatives": "values for each row, behind nt_xent and dcl",
    "core_tuning.hard_pairs": "places",
    "core_tuning.mixed_pairs": "mixtures",
    "cross_entropy.row_cross_entropy": "behind info_nce and cross_view_dcl, tested in "
    "test_one_pass",
    "decoupled.coupling": "a diagnostic",
    "decoupled.positive_weights": "weights, constants",
    "direct_predictor.direct_copy": "a matrix",
    "direct_predictor.direct_predictor": "a matrix",
    "direct_predictor.direct_set": "a matrix",
    "direct_predictor.update_correlation": "a matrix",
    "episodes.distances": "a matrix",
    "episodes.prototypes": "class means",
    "feature_transformation.draw_mixing": "draws",
    "feature_transformation.mix": "mixtures",
    "feature_transformation.score_statistics": "a diagnostic",
    "gaussianity.draw_directions": "draws the unit vectors that sigreg tests along",
    "sketching.normal_quantiles": "what the sorted values of visreg_terms are compared with",
    "gated_pairs.gated_cosines": "a matrix",
    "hard_negatives.draw": "draws",
    "hard_negatives.hardest_keys": "places",
    "hard_negatives.proxy_accuracy": "a diagnostic",
    "hard_negatives.synthesise": "mixtures, constants",
    "individual_temperature.cosine_gamma": "a schedule",
    "individual_temperature.fresh_state": "a state",
    "label_augmentation.aggregated": "logits",
    "label_augmentation.joint_labels": "labels",
    "label_augmentation.single": "logits",
    "logsumexp.mutual_logsumexp": "values for each row, tested in test_logsumexp",
    "logsumexp.row_logsumexp": "values for each row, tested in test_logsumexp",
    "logsumexp.self_logsumexp": "values for each row, tested in test_logsumexp",
    "masked_contrast.masked_logsumexp": "values for each row",
    "mixed_positives.mixed_positives": "sums for each anchor, behind supremix",
    "mixed_redundancy.draw_mix": "draws",
    "sinkhorn.sinkhorn": "codes, which are constants",
    "mixed_redundancy.standardise_exactly": "standardised embeddings",
    "multi_head.gaussian_regulariser": "a value for each temperature",
    "multi_head.pair_temperature": "temperatures",
    "pixels.pixel_pairs": "a mask",
    "pixels.propagate": "a feature map",
    "similarity_blocks.block_ranges": "ranges",
    "similarity_blocks.exponentials": "sums for each row",
    "similarity_blocks.layout_of": "a layout",
    "similarity_blocks.one_pass_height": "a number",
    "similarity_blocks.similarity_blocks": "a matrix in blocks",
    "similarity.expect_no_nan": "a check",
    "similarity.expect_queue": "a check",
    "similarity.expect_rows": "a check",
    "similarity.expect_shapes": "a check",
    "similarity.expect_temperature": "a check",
    "similarity.expect_values": "a check",
    "similarity.full_precision": "a decorator",
    "similarity.own_range": "a range",
    "similarity.reduce": "a mean",
    "similarity.similarity_bound": "a number",
    "similarity.unit": "unit rows",
    "similarity.unit_and_length": "unit rows",
    "similarity.unit_gradient": "a gradient, behind unit",
    "similarity.values_can_be_read": "whether a tensor has values",
    "similarity.without_autocast": "a context",
    "regression_pairs.label_distances": "a matrix",
    "sorting.bitonic_layers": "a network",
    "sorting.odd_even_layers": "a network",
    "sorting.soft_sort": "sorted values and a matrix, behind groco",
    "spectral.feature_gains": "theory",
    "spectral.linear_minimiser": "theory",
    "view_quality.foreground_map": "attention",
    "view_quality.foreground_threshold": "a number",
    "view_quality.noise_level": "noise levels",
    "view_quality.pair_quality": "a score for each pair",
    "view_quality.pooled": "features",
    "view_quality.principal_axis": "a direction",
    "view_quality.quality_weights": "weights, constants",
    "view_quality.weights_of": "weights, constants",
}


def public_functions() -> set[str]:
    """Every function defined in a module of ``nearfar.losses`` whose name does not start with an
    underscore.
    """
    found = set()
    for module in loss_modules().values():
        for name, value in vars(module).items():
            if (
                inspect.isfunction(value)
                and value.__module__ == module.__name__
                and not name.startswith("_")
            ):
                found.add(f"{module.__name__.rpartition('.')[2]}.{name}")
    return found


FAMILIES = ("dense", "distillation", "instance", "paired", "redundancy", "supervised", "kernels")
"""Families of which every function is a loss of this list or a named part; modules of others, and
of these the ones in ``OWN``, have tests of their own beside them.
"""
OWN = frozenset(
    module.stem
    for family in FAMILIES
    for module in (Path(losses.__path__[0]) / family).glob("*.py")
    if f"nearfar.losses.{family}.{module.stem} import"
    in "".join(
        file.read_text(encoding="utf-8")
        for file in (Path(__file__).parent / family).glob("test_*.py")
    )
)


def loss_modules() -> dict[str, ModuleType]:
    """The modules of the families whose losses the battery takes, by the last part of their
    names.
    """
    found = {}
    for info in pkgutil.walk_packages(losses.__path__, "nearfar.losses."):
        family, _, name = info.name.removeprefix("nearfar.losses.").partition(".")
        if not info.ispkg and family in FAMILIES and name not in OWN:
            found[info.name.rpartition(".")[2]] = importlib.import_module(info.name)
    return found


def case_of(key: str) -> LossCase:
    """The case of one entry of ``LOSSES``."""
    spec = LOSSES[key]
    module, _, name = key.split(" ")[0].partition(".")
    function = spec.function or getattr(loss_modules()[module], name)
    makers = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is parameter.empty or parameter.name in spec.inputs:
            makers[parameter.name] = spec.inputs.get(parameter.name) or INPUTS[parameter.name]
    unknown = spec.inputs.keys() - makers.keys()
    assert not unknown, f"{key} has no parameter {', '.join(unknown)}"
    return LossCase(
        function,
        lambda rows, generator: {name: make(rows, generator) for name, make in makers.items()},
        tolerance=spec.tolerance,
        exchanged=spec.exchanged,
    )
