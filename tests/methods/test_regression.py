"""SupReMix and ConR: reference losses through the method, what their switches leave, and labels they refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.supervised import supcon
from nearfar.methods.method import Method
from nearfar.methods.supervised.conr import ConR
from nearfar.methods.supervised.supremix import SupReMix
from tests.losses.cases import close, named

from .toys import ToyEncoder, batch_for, build, spec_of

SMALL = {"hidden": 8, "projection": 6}


@pytest.mark.parametrize("kind", [SupReMix, ConR])
def test_classes_are_refused(kind: type[Method]) -> None:
    spec = dataclasses.replace(spec_of(kind), target="class", classes=("a", "b"))
    name = kind.__name__.lower()
    with pytest.raises(UserError, match=f"{name} needs real numbers to regress; the labels of toy are classes: take another method"):
        kind(ToyEncoder(), spec)


@pytest.mark.parametrize("name", named("b-supremix-loss-*"))
def test_supremix_equals_the_reference(golden: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden(name)
    monkeypatch.setattr("nearfar.methods.supervised.supremix.beta", lambda *_: case["in_lambda"])
    method = build(SupReMix, {"temperature": case["hp_temperature"].item(), "window": float(case["hp_window"])} | SMALL)
    z1, z2 = (case["in_raw"][:, view].clone().requires_grad_() for view in (0, 1))
    loss = method.loss({"z1": z1, "z2": z2, "label": case["in_labels"]})["supremix"]
    loss.backward()
    close(loss, case["out_loss_exact"])
    close(torch.stack([z1.grad, z2.grad], dim=1), case["out_grad_exact"])


def test_without_mixtures_and_weights_supremix_is_supcon() -> None:
    settings = {"mix_negatives": False, "window": 0.0, "distance_weight": "none"} | SMALL
    method = build(SupReMix, settings)
    z1, z2, label = torch.randn(8, 6), torch.randn(8, 6), torch.arange(8) % 3
    found = method.loss({"z1": z1, "z2": z2, "label": label.float()})["supremix"]
    unit = torch.nn.functional.normalize(torch.stack([z1, z2], dim=1), dim=-1)
    torch.testing.assert_close(found, supcon(unit, label, temperature=0.5, base_temperature=0.5))


def test_supremix_draws_other_shares_at_each_step_and_the_same_within_one() -> None:
    method = build(SupReMix, SMALL)
    outputs = {"z1": torch.randn(8, 6), "z2": torch.randn(8, 6), "label": torch.arange(8.0)}
    first, again = (method.loss(outputs)["supremix"] for _ in range(2))
    method.after_step(outputs)
    assert torch.equal(first, again)
    assert not torch.equal(first, method.loss(outputs)["supremix"])


@pytest.mark.parametrize("name", named("b-conr-uni-*"))
@pytest.mark.parametrize("official", [False, True])
def test_conr_equals_the_reference(golden: Any, name: str, official: bool) -> None:
    case = golden(name)
    window, temperature, push = (case[f"hp_{key}"].item() for key in ("w", "temperature", "e"))
    method = build(ConR, {"contrast": 2.0, "window": window, "temperature": temperature, "push": push, "official": official})
    rows = len(case["in_labels"]) // 2

    def views(key: str) -> torch.Tensor:
        return torch.stack(case[key].split(rows), dim=1)

    features = views("in_features").clone().requires_grad_()
    prediction = torch.cat([views("in_preds").squeeze(2), views("in_labels")[:, 0] + 3], dim=1)
    weight = views("in_weights")[:, 0, 0] if "in_weights" in case else torch.ones(rows)
    terms = method.loss({"features": features, "prediction": prediction, "label": case["in_labels"][:rows, 0], "weight": weight})
    close(terms["contrast"], 2 * case["out_loss" if official else "out_loss_exact"])
    torch.testing.assert_close(terms["regression"], 3 * weight.double().mean())


def test_conr_reaches_encoder_and_regressor_and_predicts() -> None:
    method = build(ConR, {}).train()
    batch = batch_for(method)
    torch.stack(list(method.loss(method(batch)).values())).sum().backward()
    assert method.regressor.weight.grad.abs().sum() > 0
    assert next(method.encoder.parameters()).grad.abs().sum() > 0
    assert method.eval().predict(batch.views[2]).shape == (8,)


def test_conr_weighs_rare_labels_once_it_has_seen_them_all() -> None:
    class Training:
        label = torch.cat([torch.full((990,), 30.0), torch.full((10,), 80.0)])

    method = build(ConR, {"density": "inverse"})
    assert torch.equal(method.weight, torch.ones(1000))
    method.before_epoch(0, Training())
    assert (method.weight[-1] / method.weight[0]).item() == pytest.approx(99, rel=1e-5)
    assert method.regressor.bias.item() == 30
    outputs = method.train()(batch_for(method))
    torch.testing.assert_close(outputs["weight"], method.weight[:8])
