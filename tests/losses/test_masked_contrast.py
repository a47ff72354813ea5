"""Contrast with arbitrary masks: reference values, loop twins, and what an empty mask gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses.instance.masked_contrast import (
    grouped_clip,
    grouped_nt_xent,
    masked_contrast,
    tagged_contrast,
)
from tests.losses.cases import close, degenerate, finite_with_gradient, leaves, named


@pytest.mark.parametrize("name", named("b-adainf-simclr-*"))
def test_tagged_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (z,) = leaves(case, "z")
    loss = tagged_contrast(z, case["in_index"], temperature=case["hp_temperature"].item())
    loss.backward()
    close(loss, case["out_loss"])
    close(z.grad, case["out_grad"])


@pytest.mark.parametrize("name", named("b-mcl-masked-*"))
@pytest.mark.parametrize(
    ("loss", "key", "prefix"), [(grouped_nt_xent, "ntxent", ""), (grouped_clip, "clip", "clip_")]
)
def test_grouped_losses_equal_the_reference(
    golden: Any, name: str, loss: Any, key: str, prefix: str
) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    value = loss(z1, z2, case["in_pseudo_labels"], temperature=case["hp_temperature"].item())
    value.backward()
    close(value, case[f"out_loss_{key}"])
    close(z1.grad, case[f"out_grad_{prefix}z1"])
    close(z2.grad, case[f"out_grad_{prefix}z2"])


@pytest.mark.parametrize("form", ["mean", "joint", "single"])
def test_masked_contrast_equals_its_loop(form: str) -> None:
    logits = torch.randn(5, 7, dtype=torch.float64)
    positive = torch.rand(5, 7) < 0.3
    positive[0] = False
    valid = positive | (torch.rand(5, 7) < 0.5)
    weight = torch.rand(5, 7, dtype=torch.float64) + 0.5
    found = masked_contrast(
        logits, positive, valid, log_weight=torch.where(positive, 0.0, weight.log()), form=form
    )
    for i in range(5):
        p = [logits[i, j].exp() for j in range(7) if positive[i, j]]
        n = sum(
            (
                weight[i, j] * logits[i, j].exp()
                for j in range(7)
                if valid[i, j] and not positive[i, j]
            ),
            torch.zeros(()).double(),
        )
        expected = torch.zeros(()).double()
        if p and form == "mean":
            expected = -sum((e / (sum(p) + n)).log() for e in p) / len(p)
        elif p and form == "joint":
            expected = -(sum(p) / (sum(p) + n)).log()
        elif p:
            expected = -sum((e / (e + n)).log() for e in p)
        torch.testing.assert_close(found[i], expected)


def test_gradients_agree_with_finite_differences_also_for_empty_rows() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    positive = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    valid = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]).bool()
    for form in ("mean", "joint", "single"):
        assert torch.autograd.gradcheck(
            lambda x, form=form: masked_contrast(x, positive, valid, form=form), (logits,)
        )


def test_one_group_is_plain_nt_xent_and_a_pure_batch_is_too() -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64)
    whole = grouped_nt_xent(z1, z2, torch.zeros(6).long(), temperature=0.5)
    torch.testing.assert_close(
        whole, tagged_contrast(torch.cat([z1, z2]), torch.arange(6).repeat(2), temperature=0.5)
    )
    alone = grouped_nt_xent(z1, z2, torch.arange(6), temperature=0.5)
    torch.testing.assert_close(alone, torch.zeros_like(alone))


def test_scale_of_the_embeddings_does_not_matter() -> None:
    z = torch.randn(8, 4, dtype=torch.float64)
    tag = torch.arange(4).repeat(2)
    torch.testing.assert_close(
        tagged_contrast(z, tag), tagged_contrast(3 * normalize(z, dim=1), tag)
    )


@pytest.mark.parametrize("z", degenerate())
def test_degenerate_embeddings_stay_finite(z: torch.Tensor) -> None:
    z = z.clone().requires_grad_()
    finite_with_gradient(tagged_contrast(z, torch.arange(3).repeat(2), temperature=1e-3), z)
    finite_with_gradient(grouped_clip(z[:3], z[3:], torch.tensor([0, 0, 1])), z)
