"""CLIP: the learned scale starts, learns and stops as stated; both modalities land in one space."""

from __future__ import annotations

import math

import pytest
import torch

from nearfar.methods.paired.clip import CLIP

from .toys import SAMPLES, batch_for, build

SMALL = {"projection": 16}


@pytest.mark.parametrize("name", ["c-clip-a", "c-clip-n2"])
def test_reference_loss_and_gradient_of_the_scale(golden, name: str) -> None:
    case = golden(name)
    method = build(CLIP, SMALL).double()
    with torch.no_grad():
        method.log_scale.copy_(case["hp_log_scale"])
    loss = method.loss({"first": case["in_image"], "second": case["in_text"]})["clip"]
    loss.backward()
    torch.testing.assert_close(loss.detach(), case["out_loss"], rtol=1e-8, atol=0)
    torch.testing.assert_close(method.log_scale.grad, case["out_grad_log_scale"], rtol=1e-8, atol=0)


def test_scale_starts_at_the_papers_value_and_stays_within_its_bounds() -> None:
    method = build(CLIP, {})
    assert method.log_scale.item() == pytest.approx(math.log(1 / 0.07))
    for value, clamped in ((-1.0, 0.0), (2.0, 2.0), (9.0, math.log(100))):
        with torch.no_grad():
            method.log_scale.fill_(value)
        method.after_step({})
        assert method.log_scale.item() == pytest.approx(clamped)


def test_embeds_both_modalities_as_the_loss_sees_them() -> None:
    method = build(CLIP, SMALL).eval()
    batch = batch_for(method)
    outputs = method(batch)
    (pair,) = batch.views
    for name, part in (("first", "image"), ("second", "text")):
        embedded = method.embed_part(part, pair[part])
        assert embedded.shape == (SAMPLES, 16)
        torch.testing.assert_close(embedded, torch.nn.functional.normalize(outputs[name], dim=1))
    assert method.encode(pair).shape == (SAMPLES, method.encoder.part("image").dimension)
