"""SigLIP's loss: the published code's values and gradients, a loop, and its behaviour at the start
and at the end.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from nearfar.losses import siglip
from nearfar.losses.kernels.similarity import unit
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("c-siglip-*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    image, text = leaves(case, "image", "text")
    log_scale, bias = (case[f"hp_{key}"].clone().requires_grad_() for key in ("log_scale", "bias"))
    loss = siglip(image, text, logit_scale=log_scale.exp(), logit_bias=bias)
    loss.backward()
    close(loss, case["out_loss"])
    for leaf, key in ((image, "image"), (text, "text"), (log_scale, "log_scale"), (bias, "bias")):
        close(leaf.grad, case[f"out_grad_{key}"])


def test_equals_its_loop() -> None:
    first, second = (unit(torch.randn(6, 4, dtype=torch.float64)) for _ in range(2))
    losses = []
    for i in range(6):
        terms = []
        for j in range(6):
            logit = 5.0 * float(first[i] @ second[j]) - 2.0
            terms.append(math.log1p(math.exp(-logit if i == j else logit)))
        losses.append(sum(terms))
    found = siglip(first, second, logit_scale=5.0, logit_bias=-2.0, reduction="none")
    torch.testing.assert_close(found, torch.tensor(losses, dtype=torch.float64))
    torch.testing.assert_close(
        siglip(first, second, logit_scale=5.0, logit_bias=-2.0), found.mean()
    )


def test_the_loss_starts_near_minus_the_bias_and_can_reach_zero() -> None:
    """At the start nearly all pairs are rightly taken for wrong; the N partners cost about 10 each,
    whatever N.
    """
    for samples in (8, 64):
        first, second = (unit(torch.randn(samples, 512)) for _ in range(2))
        assert siglip(first, second, logit_scale=10.0, logit_bias=-10.0).item() == pytest.approx(
            10.0, abs=0.5
        )
    apart = torch.eye(8, dtype=torch.float64)
    assert siglip(apart, apart, logit_scale=80.0, logit_bias=-40.0).item() == pytest.approx(
        8 * math.exp(-40), rel=1e-6
    )


def test_pairs_do_not_see_one_another() -> None:
    """Unlike in a softmax, a sample more changes no other pair's term."""
    first, second = (unit(torch.randn(5, 4, dtype=torch.float64)) for _ in range(2))
    whole = 5 * siglip(first, second, logit_scale=3.0)
    fewer = 4 * siglip(first[:4], second[:4], logit_scale=3.0)
    logits = 3.0 * torch.cat([first[4] @ second.T, second[4] @ first[:4].T])
    logits[4] = -logits[4]
    torch.testing.assert_close(whole - fewer, torch.nn.functional.softplus(logits).sum())
