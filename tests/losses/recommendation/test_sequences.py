"""MCLRec: golden values and gradients, the loop, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.losses.recommendation.sequences import (
    margin_regulariser,
    meta_contrast,
    product_contrast,
)
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase


@pytest.mark.parametrize("name", named("d-mclrec-meta-*"))
def test_reference(golden: Callable[[str], ReferenceCase], name: str) -> None:
    case = golden(name)
    views = leaves(case, "s0", "s1", "s2", "s3")
    tau = case["hp_tau"].item()
    for pair in ("03", "12", "23", "01"):
        a, b = (views[int(one)] for one in pair)
        close(product_contrast(a, b, temperature=tau), case[f"out_nce_{pair}"])
    pairs = [(views[int(a)], views[int(b)]) for a, b in ("03", "12", "23")]
    margins = torch.stack([margin_regulariser(a, b, temperature=tau) for a, b in pairs]).sum()
    assert 0.1 * margins.item() == pytest.approx(case["out_reg"].item(), 1e-8)
    loss = meta_contrast(*views, temperature=tau)
    loss.backward()
    close(loss, case["out_total"])
    for place, view in enumerate(views):
        close(view.grad, case[f"out_grad_s{place}"])


def test_it_equals_the_loop() -> None:
    a, b = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    rows = torch.cat([a, b])
    contrast, pulled, pushed = [], [], []
    for i in range(6):
        p = rows[i] @ rows[(i + 3) % 6]
        n = torch.stack([rows[i] @ rows[j] for j in range(6) if j % 3 != i % 3])
        contrast.append(torch.logsumexp(torch.cat([p[None], n]), 0) - p)
        pulled.append((p - torch.minimum(p, n.max())).clamp(min=0))
        pushed.append((torch.maximum(p, n.max()) - n).clamp(min=0))
    close(product_contrast(a, b), torch.stack(contrast).mean())
    close(margin_regulariser(a, b), torch.stack(pulled).mean() + torch.stack(pushed).mean())


def test_one_sample_has_neither_contrast_nor_margin() -> None:
    a = torch.randn(1, 4, requires_grad=True)
    assert product_contrast(a, a).item() == 0
    assert margin_regulariser(a, a).item() == 0


def test_wrong_inputs_get_one_sentence() -> None:
    z = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="one shape"):
        product_contrast(z, z[:1])
    with pytest.raises(ValueError, match="temperature"):
        margin_regulariser(z, z, temperature=0.0)
    with pytest.raises(ValueError, match="at least 0"):
        meta_contrast(z, z, z, z, weight=-1.0)
