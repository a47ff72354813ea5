"""Soft-target InfoNCE: reference values and gradients, loops, and what it becomes when the targets
are hard.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses import clip, info_nce
from nearfar.losses.kernels.similarity import unit
from nearfar.losses.paired.soft_targets import cwcl, mixed_clip, soft_clip, soft_info_nce
from tests.losses.cases import close, leaves, named

F64 = torch.float64


def cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    """By a loop: of each row."""
    losses = []
    for row, weights in zip(scores, target, strict=True):
        total = row.exp().sum().log()
        losses.append(sum(w * (total - s) for s, w in zip(row, weights, strict=True)))
    return torch.stack(losses)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape, dtype=F64), torch.randn(*shape, dtype=F64)


@pytest.mark.parametrize("name", named("c-cwcl-*"))
def test_cwcl_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z_trainable")
    log_scale = (-case["hp_temperature"].log()).requires_grad_()
    loss = cwcl(z, case["in_z_frozen"], temperature=(-log_scale).exp())
    loss.backward()
    close(loss, case["out_loss"])
    back = info_nce(z, case["in_z_frozen"], temperature=case["hp_temperature"].item())
    close(back, case["out_loss_cl"])
    close(loss - back, case["out_loss_cwcl"])
    close(z.grad, case["out_grad_z_trainable"])
    close(log_scale.grad, case["out_grad_log_scale"])


@pytest.mark.parametrize("name", named("c-m3col-softclip-*"))
def test_soft_clip_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    first, second = leaves(case, "preds", "targets")
    loss = soft_clip(first, second, temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(first.grad, case["out_grad_preds"])
    close(second.grad, case["out_grad_targets"])


@pytest.mark.parametrize("name", named("c-m3col-mixco-*"))
def test_mixed_clip_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    mixed, other = leaves(case, "x_mixed", "fixed")
    loss = mixed_clip(
        mixed, other, case["in_betas"], case["in_perm"], temperature=case["hp_temperature"].item()
    )
    loss.backward()
    close(loss, case["out_loss_accumulate"])
    if (
        case["out_loss_accumulate"] == case["out_loss"]
    ):  # no sample is its own partner: the released code is right too
        close(mixed.grad, case["out_grad_x_mixed"])
        close(other.grad, case["out_grad_fixed"])


def test_soft_info_nce_equals_its_loop_and_is_info_nce_for_hard_targets() -> None:
    (query, key) = pair(6, 4)
    target = torch.rand(6, 6, dtype=F64)
    expected = cross_entropy(unit(query) @ unit(key).T / 0.2, target)
    torch.testing.assert_close(
        soft_info_nce(query, key, target, temperature=0.2, reduction="none"), expected
    )
    torch.testing.assert_close(
        soft_info_nce(query, key, torch.eye(6, dtype=F64)), info_nce(query, key)
    )
    few = soft_info_nce(query[:2], key, target[:2], temperature=0.2)
    torch.testing.assert_close(few, expected[:2].mean())


def test_cwcl_equals_its_loop_also_with_other_features_to_trust() -> None:
    z, f = (rows.requires_grad_() for rows in pair(6, 4))
    for trusted in (None, torch.randn(6, 3, dtype=F64)):
        alike = unit(f if trusted is None else trusted).detach()
        weight = (alike @ alike.T + 1) / 2
        scores = unit(f) @ unit(z).T / 0.3
        expected = (cross_entropy(scores, weight) / weight.sum(1)).mean() + info_nce(
            z, f, temperature=0.3
        )
        found = cwcl(z, f, temperature=0.3, trusted=trusted)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(
            torch.autograd.grad(found, (z, f)), torch.autograd.grad(expected, (z, f))
        )


def test_opposite_samples_make_cwcl_the_plain_loss() -> None:
    """Two samples that the trusted features hold for opposite have no share in one another."""
    z, f = pair(2, 4)
    trusted = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=F64)
    torch.testing.assert_close(
        cwcl(z, f, trusted=trusted), 2 * clip(unit(z), unit(f), logit_scale=1 / 0.07)
    )


def test_mixed_clip_equals_its_loop_and_is_clip_without_mixing() -> None:
    (mixed, other) = pair(5, 3)
    share = torch.rand(5, dtype=F64)
    partner = torch.tensor([1, 1, 4, 0, 2])
    target = torch.diag(share)
    for i in range(5):
        target[i, partner[i]] += 1 - share[i]
    scores = unit(mixed) @ unit(other).T / 0.1
    expected = (cross_entropy(scores, target).mean() + cross_entropy(scores.T, target.T).mean()) / 2
    torch.testing.assert_close(mixed_clip(mixed, other, share, partner), expected)
    plain = clip(unit(mixed), unit(other), logit_scale=10.0)
    torch.testing.assert_close(mixed_clip(mixed, other, torch.ones(5), partner), plain)
    torch.testing.assert_close(mixed_clip(mixed, other, share, torch.arange(5)), plain)


def test_soft_clip_is_least_where_both_modalities_agree() -> None:
    first, second = pair(6, 4)
    alike = soft_clip(second, second)
    target = (unit(second) @ unit(second).T / 0.125).softmax(1)
    torch.testing.assert_close(alike, -(target * target.log()).sum(1).mean())
    assert alike < soft_clip(first, second)
    assert soft_clip(torch.ones(4, 3), torch.ones(4, 3)).item() == pytest.approx(math.log(4))


def test_wrong_shapes_are_named() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(
        ValueError,
        match=r"Expected query \(N, D\), key \(M, D\) and target \(N, M\); found \(3, 4\), \(3, "
        r"4\), \(3, 2\)",
    ):
        soft_info_nce(x, x, torch.rand(3, 2))
    with pytest.raises(ValueError, match="trained, frozen must be matrices of one shape"):
        cwcl(x, x[:2])
