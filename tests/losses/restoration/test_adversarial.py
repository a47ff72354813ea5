"""Adversarial losses: reference values, the table of kinds in plain form, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.restoration.adversarial import KINDS, critic, generator
from tests.losses.cases import close, leaves, named

DRAW = torch.Generator().manual_seed(5)
REAL = torch.randn(4, 1, 2, 3, generator=DRAW, dtype=torch.float64)
MADE = torch.randn(4, 1, 2, 3, generator=DRAW, dtype=torch.float64)


@pytest.mark.parametrize("name", named("g-srgan-loss-*"))
def test_srgan_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    real, made = leaves(case, "logits_real", "logits_fake")
    loss = critic(real, made, kind="bce")
    loss.backward()
    close(loss, case["out_d_loss"])
    close(real.grad, case["out_d_grad_real"])
    close(made.grad, case["out_d_grad_fake"])
    (made,) = leaves(case, "logits_fake")
    loss = generator(made, kind="bce")
    loss.backward()
    close(loss, case["out_g_adv"])
    close(made.grad, case["out_g_grad_fake"])


@pytest.mark.parametrize("name", named("g-pclsr-dualcontrast-*"))
def test_dual_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    real, made = leaves(case, "logits_real", "logits_fake")
    loss = critic(real, made, kind="dual-contrast")
    loss.backward()
    close(loss, case["out_loss"])
    close(real.grad, case["out_grad_real"])
    close(made.grad, case["out_grad_fake"])
    real, made = leaves(case, "logits_real", "logits_fake")
    loss = generator(made, real, kind="dual-contrast")
    loss.backward()
    close(loss, case["out_loss_g"])
    close(made.grad, case["out_grad_fake_g"])


@pytest.mark.parametrize("name", named("g-rrformer-gan-*"))
@pytest.mark.parametrize(
    ("short", "kind", "share"), [("ra", "rasgan", 1.0), ("r", "rsgan", 1.0), ("s", "bce", 0.5)]
)
def test_relativistic_losses_equal_the_reference(
    golden: Any, name: str, short: str, kind: str, share: float
) -> None:
    case = golden(name)
    real, made = leaves(case, "logits_real", "logits_fake")
    loss = share * critic(real, made.detach(), kind=kind)
    loss.backward()
    close(loss, case[f"out_d_{short}"])
    close(real.grad, case[f"out_d_grad_real_{short}"])
    real, made = leaves(case, "logits_real", "logits_fake")
    loss = generator(made, real, kind=kind)
    loss.backward()
    close(loss, case[f"out_g_{short}"])
    close(made.grad, case[f"out_g_grad_fake_{short}"])
    expected = case[f"out_g_grad_real_{short}"]
    close(torch.zeros_like(real) if real.grad is None else real.grad, expected)


def plain(kind: str, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Both losses as the table writes them."""
    log, s = torch.log, torch.sigmoid
    if kind == "bce":
        return -log(s(real)).mean() - log(1 - s(made)).mean(), -log(s(made)).mean()
    if kind == "lsgan":
        return ((real - 1) ** 2).mean() / 2 + (made**2).mean() / 2, ((made - 1) ** 2).mean() / 2
    if kind == "hinge":
        return (1 - real).clamp(min=0).mean() + (1 + made).clamp(min=0).mean(), -made.mean()
    if kind == "hinge-of-mean":
        return max(0 * real.mean(), 1 - real.mean()) + max(
            0 * real.mean(), 1 + made.mean()
        ), -made.mean()
    if kind == "wgan":
        return made.mean() - real.mean(), -made.mean()
    if kind == "rsgan":
        return -log(s(real - made)).mean(), -log(s(made - real)).mean()
    if kind == "rasgan":

        def half(a: Tensor, b: Tensor) -> Tensor:
            return (-log(s(a - b.mean(0))).mean() - log(1 - s(b - a.mean(0))).mean()) / 2

        return half(real, made), half(made, real)

    def h(u: Tensor, v: Tensor) -> Tensor:
        return torch.stack([-log(x.exp() / (x.exp() + v.exp().sum())) for x in u.flatten()]).mean()

    return h(real, made) + h(-made, -real), h(made, real) + h(-real, -made)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_equals_its_row_of_the_table(kind: str) -> None:
    judge, deceive = plain(kind, REAL, MADE)
    torch.testing.assert_close(critic(REAL, MADE, kind=kind), judge, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(generator(MADE, REAL, kind=kind), deceive, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_stay_finite_with_gradient(kind: str, size: float) -> None:
    real = torch.full((3, 1), size, requires_grad=True)
    made = torch.full((3, 1), -size, requires_grad=True)
    for loss in (critic(real, made, kind=kind), generator(made, real, kind=kind)):
        assert torch.isfinite(loss)
        slopes = torch.autograd.grad(loss, (real, made), allow_unused=True)
        assert all(slope is None or bool(torch.isfinite(slope).all()) for slope in slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_pull_against_each_other(kind: str) -> None:
    """The generator raises made logits; the critic lowers them."""
    made = MADE.clone().requires_grad_()
    (lowers,) = torch.autograd.grad(critic(REAL, made, kind=kind), made)
    (raises,) = torch.autograd.grad(generator(made, REAL, kind=kind), made)
    if kind != "lsgan":
        assert float(lowers.sum()) > 0
    assert float(raises.sum()) < 0


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="kind is 'vae'; valid are 'bce'"):
        critic(REAL, MADE, kind="vae")
    with pytest.raises(UserError, match="needs the logits of real images"):
        generator(MADE, kind="rasgan")
    with pytest.raises(UserError, match="real must hold floating-point numbers; found int64"):
        critic(torch.ones(2).long(), torch.ones(2))
    with pytest.raises(UserError, match="must be of one type"):
        critic(REAL, MADE.float())
    with pytest.raises(UserError, match="compares logits of one shape"):
        critic(REAL, MADE[:2], kind="rsgan")
    with pytest.raises(ValueError, match="none of them empty"):
        critic(REAL[:0], MADE)
