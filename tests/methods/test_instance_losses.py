"""DCL, CACR, GroCo, FT and the hard contrastive losses: reference numbers through the methods, and
what changes after a step.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.losses.instance.behaviour import (
    contrastive,
    hard_contrastive,
    hard_simple,
    penalty_entropy,
    simple,
)
from nearfar.losses.instance.contrastive import moco_v3
from nearfar.losses.instance.feature_transformation import Mixing, mix
from nearfar.methods.instance.cacr import CACR
from nearfar.methods.instance.dcl import DCL
from nearfar.methods.instance.groco import GroCo
from nearfar.methods.instance.hard_contrastive import HardContrastive
from nearfar.methods.method import Method
from nearfar.methods.momentum.cacr_moco_v3 import CACRMoCoV3
from nearfar.methods.momentum.cacr_queue import CACRQueue
from nearfar.methods.momentum.feature_transformation import FeatureTransformation
from nearfar.targets.momentum import cosine_momentum
from tests.losses.cases import close, leaves, named

from .toys import batch_for, build

SMALL = {"hidden": 16, "projection": 8}


def online(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def moved(method: Method, name: str = "projector") -> None:
    """As if the optimiser had made a step."""
    with torch.no_grad():
        method.get_submodule(name)[0].weight.add_(1.0)


@pytest.mark.parametrize("name", named("a-dcl-case*"))
@pytest.mark.parametrize("weighted", [False, True])
def test_dcl_reference_loss(golden: Any, name: str, weighted: bool) -> None:
    case = golden(name)
    key = "dclw" if weighted else "dcl"
    options = {
        "temperature": float(case["hp_temperature"]),
        "sigma": float(case["hp_sigma"]),
        "weighted": weighted,
    }
    z1, z2 = leaves(case, "z1", "z2")
    loss = build(DCL, SMALL | options).loss({"z1": z1, "z2": z2})["dcl"]
    close(loss, case[f"out_loss_{key}"])
    for gradient, view in zip(torch.autograd.grad(loss, (z1, z2)), ("z1", "z2"), strict=True):
        close(gradient, case[f"out_grad_{view}_{key}"])


def test_dcl_logs_how_much_nt_xent_would_weaken_the_gradient() -> None:
    z1 = online(6, 8)
    z2 = online(6, 8)
    terms = build(DCL, SMALL).loss({"z1": z1, "z2": z2})
    assert not terms["coupling"].requires_grad
    angle = torch.full((6,), 1e-3, dtype=torch.float64)
    easy = torch.eye(6, 8, dtype=torch.float64)
    near = easy + angle[:, None] * easy.roll(1, dims=1)
    assert build(DCL, SMALL).loss({"z1": easy, "z2": near})["coupling"] < 1e-3
    assert 0.5 < float(terms["coupling"]) < 1


def looped_similarity(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack(
        [torch.stack([a @ b / (a.norm() * b.norm()) for b in second]) for a in first]
    )


LOSSES: dict[str, Any] = {
    "contrastive": lambda s, **p: contrastive(s, temperature=0.5, **p),
    "hard-contrastive": lambda s, **p: hard_contrastive(s, temperature=0.5, alpha=0.3, **p),
    "simple": lambda s, **p: simple(s, weight=0.2, **p),
    "hard-simple": lambda s, **p: hard_simple(s, weight=0.2, alpha=0.3, **p),
}
CHOSEN = SMALL | {"temperature": 0.5, "alpha": 0.3, "weight": 0.2}


@pytest.mark.parametrize("loss", LOSSES)
def test_hard_contrastive_compares_with_the_other_views_both_ways(loss: str) -> None:
    method = build(HardContrastive, CHOSEN | {"loss": loss, "bank": False})
    views = online(5, 2, 8)
    terms = method.loss({"views": views, "index": torch.arange(5)})
    s = looped_similarity(views[:, 0], views[:, 1])
    torch.testing.assert_close(
        terms[loss.replace("-", "_")], (LOSSES[loss](s) + LOSSES[loss](s.T)) / 2
    )
    torch.testing.assert_close(
        terms["penalty_entropy"], penalty_entropy(s.detach(), temperature=0.5).mean()
    )
    assert not terms["penalty_entropy"].requires_grad
    assert method.wanted_views.whole == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_hard_contrastive_compares_with_the_bank_and_moves_it_afterwards(loss: str) -> None:
    method = build(
        HardContrastive, CHOSEN | {"loss": loss, "bank": True, "bank_momentum": 0.25}, length=12
    ).double()
    views = online(4, 1, 8)
    index = torch.tensor([7, 0, 11, 3])
    before = method.bank.rows.clone()
    value = method.loss({"views": views, "index": index})[loss.replace("-", "_")]
    torch.testing.assert_close(
        value, LOSSES[loss](looped_similarity(views[:, 0], before), positive=index)
    )
    assert torch.equal(method.bank.rows, before), "the loss changes nothing"
    method.after_step({"views": views.detach(), "index": index})
    expected = 0.25 * before[index] + 0.75 * normalize(views[:, 0].detach(), dim=1)
    torch.testing.assert_close(method.bank.rows[index], normalize(expected, dim=1))
    others = [row for row in range(12) if row not in index.tolist()]
    assert torch.equal(method.bank.rows[others], before[others])
    assert method.wanted_views.whole == 1


@pytest.mark.parametrize("name", named("a-cacr-small-case*"))
def test_cacr_reference_loss(golden: Any, name: str) -> None:
    case = golden(name)
    uniform = bool(case["hp_uniform_weights"])
    settings = {
        "positive_temperature": float(case["hp_tau_pos"]),
        "negative_temperature": float(case["hp_tau_neg"]),
        "attraction": float(case["hp_alpha"]),
        "repulsion": float(case["hp_beta"]),
        "uniform_attraction": uniform,
        "uniform_repulsion": uniform,
        "debias": float(case["hp_tau_plus"]) * int(case["hp_debiased"]),
    }
    terms = build(CACR, SMALL | settings).loss({"views": case["in_z"].transpose(0, 1)})
    close(terms["attraction"], case["out_loss_attract"])
    close(terms["repulsion"], case["out_loss_repel"])


def test_cacr_takes_as_many_views_as_it_is_told_and_their_lengths_do_not_matter() -> None:
    method = build(CACR, SMALL | {"views": 3}).train()
    outputs = method(batch_for(method))
    assert outputs["views"].shape == (8, 3, 8)
    terms = method.loss(outputs)
    longer = method.loss({"views": 5 * outputs["views"]})
    torch.testing.assert_close(terms, longer)
    assert set(terms) == {"attraction", "repulsion"}


@pytest.mark.parametrize("name", named("a-cacr-queue-case*"))
def test_cacr_queue_reference_step(golden: Any, name: str) -> None:
    case = golden(name)
    queue = case["in_queue"].T
    views = case["in_views"].transpose(0, 1)
    settings = {
        "positive_temperature": float(case["hp_tau_pos"]),
        "negative_temperature": float(case["hp_tau_neg"]),
        "within_batch": bool(case["hp_intra_batch"]),
        "queue": len(queue),
        "hidden": 16,
        "projection": queue.shape[1],
    }
    method = build(CACRQueue, settings).double()
    method.queue.rows.copy_(queue)
    terms = method.loss({"query": views, "key": views})
    close(terms["attraction"], case["out_loss_attract"])
    close(terms["repulsion"], case["out_loss_repel_intended"])
    method.after_step({"query": views, "key": views})
    close(method.queue.rows.T, case["out_queue_after"])


def test_cacr_queue_takes_queries_and_keys_of_all_views_and_moves_its_copy_last() -> None:
    method = build(CACRQueue, SMALL | {"views": 3, "queue": 20, "momentum": 0.7}).train()
    outputs = method(batch_for(method))
    assert outputs["query"].shape == outputs["key"].shape == (8, 3, 8)
    assert not outputs["key"].requires_grad
    moved(method)
    before = method.target.module[1][0].weight.clone()
    method.after_step(outputs)
    torch.testing.assert_close(
        method.target.module[1][0].weight, 0.7 * before + 0.3 * method.projector[0].weight.detach()
    )
    torch.testing.assert_close(method.queue.rows[:8], normalize(outputs["key"][:, 2], dim=1))


def test_cacr_on_moco_v3_without_small_crops_is_moco_v3() -> None:
    method = build(CACRMoCoV3, SMALL | {"temperature": 0.4, "local": 0}).train()
    outputs = method(batch_for(method))
    (q1, q2) = outputs["prediction"].unbind(1)
    (k1, k2) = outputs["key"].unbind(1)
    torch.testing.assert_close(
        2 * method.loss(outputs)["cacr"], moco_v3(q1, q2, k1, k2, temperature=0.4)
    )


@pytest.mark.parametrize("name", named("a-cacr-mocov3-case*"))
@pytest.mark.parametrize("euclidean", [False, True])
def test_cacr_on_moco_v3_reference_loss(golden: Any, name: str, euclidean: bool) -> None:
    """The reference has one key and the predictions that seek it; here its own crop's prediction
    stands before them.
    """
    case = golden(name)
    (q,) = leaves(case, "q")
    settings = {"temperature": float(case["hp_temperature"]), "euclidean": euclidean}
    unseen = torch.randn(1, *q.shape[1:], dtype=torch.float64)
    outputs = {"prediction": torch.cat([unseen, q]).transpose(0, 1), "key": case["in_k"][:, None]}
    loss = build(CACRMoCoV3, SMALL | settings).loss(outputs)["cacr"]
    scale, form = (len(case["in_k"]), "euclidean") if euclidean else (1, "rbf")
    close(scale * loss, case[f"out_loss_{form}"])
    close(scale * torch.autograd.grad(loss, q)[0], case[f"out_grad_q_{form}"])


@pytest.mark.parametrize("full", [False, True])
def test_cacr_on_moco_v3_has_keys_of_whole_crops_or_of_all(full: bool) -> None:
    method = build(CACRMoCoV3, SMALL | {"local": 3, "full": full, "momentum": 0.6}).train()
    outputs = method(batch_for(method))
    assert outputs["prediction"].shape == (8, 5, 8)
    assert outputs["key"].shape == (8, 5 if full else 2, 8)
    moved(method)
    before = method.target.module[1][0].weight.clone()
    method.progress = 0.5
    method.after_step(outputs)
    momentum = cosine_momentum(0.6, 0.5)
    expected = momentum * before + (1 - momentum) * method.projector[0].weight.detach()
    torch.testing.assert_close(method.target.module[1][0].weight, expected)


@pytest.mark.parametrize("name", named("a-groco-case*"))
def test_groco_reference_loss(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    whole = int(case["hp_n_pos_views"])
    settings = {
        "views": whole,
        "local": len(z) - whole,
        "negatives": int(case["hp_topk_neg"]),
        "steepness": float(case["hp_steepness"]),
    }
    loss = build(GroCo, SMALL | settings).loss({"views": z.transpose(0, 1)})["groco"]
    close(loss, case["out_loss"])
    close(torch.autograd.grad(loss, z)[0], case["out_grad_z"])


def test_groco_sorts_by_either_network() -> None:
    """Both find ordered groups in order; in between their soft sorts differ."""
    views = torch.randn(9, 2, 8, dtype=torch.float64)
    odd_even, bitonic = (
        build(GroCo, SMALL | {"network": name}).loss({"views": views})["groco"]
        for name in ("odd_even", "bitonic")
    )
    assert abs(float(odd_even - bitonic)) > 1e-4
    apart = torch.eye(8, dtype=torch.float64)[:, None].expand(8, 2, 8)
    for name in ("odd_even", "bitonic"):
        assert (
            build(GroCo, SMALL | {"network": name, "steepness": 1e6}).loss({"views": apart})[
                "groco"
            ]
            < 1e-4
        )
    soft = build(GroCo, SMALL | {"distribution": "gaussian"}).loss({"views": views})["groco"]
    assert not torch.allclose(soft, odd_even)


def ft(**settings: Any) -> FeatureTransformation:
    made = build(FeatureTransformation, SMALL | {"queue": 10} | settings)
    assert isinstance(made, FeatureTransformation)
    return made


@pytest.mark.parametrize("name", named("a-ft-case*"))
def test_ft_reference_step(golden: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden(name)
    (query,) = leaves(case, "q")
    method = ft(
        queue=len(case["in_queue"]),
        projection=query.shape[1],
        temperature=float(case["hp_temperature"]),
    ).double()
    method.queue.rows.copy_(case["in_queue"])
    positive = bool(case["hp_mix_positive"])
    negative = bool(case["hp_mix_negative"])
    drawn = Mixing(
        1 + case["in_beta_pos"] if positive else 1.0,
        case["in_beta_neg"],
        case["in_perm"] if negative else None,
    )
    monkeypatch.setattr(method, "_mixing", lambda query, queue: drawn)
    loss = method.loss({"query": query, "key": case["in_k"]})["info_nce"]
    close(loss, case["out_loss"])
    method.after_step({"query": query.detach(), "key": case["in_k"]})
    close(method.queue.rows, case["out_queue_after"])


def test_ft_shows_the_scores_that_enter_the_loss() -> None:
    method = ft().double()
    query = online(6, 8)
    key = torch.randn(6, 8, dtype=torch.float64)
    terms = method.loss({"query": query, "key": key})
    unit_query = normalize(query.detach(), dim=1)
    unit_key = normalize(key, dim=1)
    q, k, queue = mix(
        unit_query, unit_key, method.queue.rows, method._mixing(unit_query, method.queue.rows)
    )
    positive = (q * k).sum(dim=1)
    negative = q @ queue.T
    expected = {
        "positive_score": positive.mean(),
        "positive_variance": positive.var(correction=0),
        "positive_exponential": (positive / 0.2).exp().mean(),
        "negative_score": negative.mean(),
        "negative_variance": negative.var(dim=1).mean(),
        "negative_exponential": (negative / 0.2).exp().mean(),
    }
    assert terms.keys() == {"info_nce", *expected}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
        assert not terms[name].requires_grad
    assert terms["positive_score"] < (unit_query * unit_key).sum(dim=1).mean(), (
        "pushed apart on purpose"
    )


def test_ft_draws_once_a_step_and_the_same_after_resuming() -> None:
    method = ft(elementwise="both").double()
    query = torch.randn(6, 8).double()
    queue = method.queue.rows
    first = method._mixing(query, queue)
    again = method._mixing(query, queue)
    assert torch.equal(first.extrapolation, again.extrapolation)
    assert torch.equal(first.partner, again.partner)
    method.after_step({"key": torch.randn(6, 8).double()})
    second = method._mixing(query, queue)
    assert not torch.equal(first.extrapolation, second.extrapolation)
    resumed = ft(elementwise="both").double()
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(resumed._mixing(query, queue).interpolation, second.interpolation)


@pytest.mark.parametrize(
    ("elementwise", "positive", "negative"),
    [
        ("none", (), ()),
        ("positive", (6, 8), ()),
        ("negative", (), (10, 8)),
        ("both", (6, 8), (10, 8)),
    ],
)
def test_ft_draws_one_weight_or_one_for_each_element(
    elementwise: str, positive: tuple[int, ...], negative: tuple[int, ...]
) -> None:
    method = ft(elementwise=elementwise)
    drawn = method._mixing(torch.randn(6, 8), method.queue.rows)
    assert drawn.extrapolation.shape == positive
    assert drawn.interpolation.shape == negative


def test_ft_mixes_what_it_is_told_to_from_when_it_is_told() -> None:
    query = torch.randn(6, 8)
    late = ft(mix_start=0.5)
    late.progress = 0.4
    assert late._mixing(query, late.queue.rows) == Mixing()
    late.progress = 0.5
    assert late._mixing(query, late.queue.rows).partner is not None
    assert ft(interpolate=False)._mixing(query, late.queue.rows).partner is None
    assert ft(extrapolate=False)._mixing(query, late.queue.rows).extrapolation == 1.0


def test_ft_without_mixing_is_moco_v2() -> None:
    method = ft(extrapolate=False, interpolate=False).double()
    query = online(6, 8)
    key = torch.randn(6, 8, dtype=torch.float64)
    queue = method.queue.rows
    scores = torch.cat(
        [
            (normalize(query, dim=1) * normalize(key, dim=1)).sum(1, keepdim=True),
            normalize(query, dim=1) @ queue.T,
        ],
        dim=1,
    )
    expected = nn.functional.cross_entropy(scores / 0.2, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(method.loss({"query": query, "key": key})["info_nce"], expected)


def test_ft_enqueues_unmixed_keys_and_moves_its_copy() -> None:
    method = ft(queue=20, momentum=0.7).train()
    outputs = method(batch_for(method))
    moved(method)
    before = method.target.module[1][0].weight.clone()
    method.after_step(outputs)
    torch.testing.assert_close(method.queue.rows[:8], normalize(outputs["key"], dim=1))
    torch.testing.assert_close(
        method.target.module[1][0].weight, 0.7 * before + 0.3 * method.projector[0].weight.detach()
    )
