"""SupReMix and ConR: reference losses through the method, what their switches leave, and labels
they refuse.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.supervised.supervised import supcon
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
    with pytest.raises(
        UserError,
        match=f"{name} needs real numbers to regress; the labels of toy are classes: take another "
        "method",
    ):
        kind(ToyEncoder(), spec)


@pytest.mark.parametrize("form", ["exact", "official"])
@pytest.mark.parametrize("name", named("b-supremix-loss-*"))
def test_supremix_equals_the_reference(
    golden: Any, name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden(name)
    monkeypatch.setattr("nearfar.methods.supervised.supremix.beta", lambda *_: case["in_lambda"])
    settings = {
        "temperature": case["hp_temperature"].item(),
        "window": float(case["hp_window"]),
        "official": form == "official",
    }
    method = build(
        SupReMix,
        settings
        | SMALL
        | {"distance_weight": "l1-inverse" if case["hp_use_distance_weight"] else "none"},
    )
    views = case["in_raw"].clone().requires_grad_()
    loss = method.loss({"views": views, "label": case["in_labels"]})["supremix"]
    loss.backward()
    close(loss, case[f"out_loss_{form}"])
    close(views.grad, case[f"out_grad_{form}"])


def test_without_mixtures_and_weights_supremix_is_supcon() -> None:
    settings = {"mix_negatives": False, "window": 0.0, "distance_weight": "none"} | SMALL
    method = build(SupReMix, settings)
    z1 = torch.randn(8, 6)
    z2 = torch.randn(8, 6)
    label = torch.arange(8) % 3
    found = method.loss({"views": torch.stack([z1, z2], dim=1), "label": label.float()})["supremix"]
    unit = torch.nn.functional.normalize(torch.stack([z1, z2], dim=1), dim=-1)
    torch.testing.assert_close(found, supcon(unit, label, temperature=0.5, base_temperature=0.5))


def test_supremix_draws_other_shares_at_each_step_and_the_same_within_one() -> None:
    method = build(SupReMix, SMALL)
    outputs = {"views": torch.randn(8, 2, 6), "label": torch.arange(8.0)}
    first, again = (method.loss(outputs)["supremix"] for _ in range(2))
    method.after_step(outputs)
    assert torch.equal(first, again)
    assert not torch.equal(first, method.loss(outputs)["supremix"])


def test_a_pool_contrasts_each_part_of_the_batch_by_itself() -> None:
    outputs = {"views": torch.randn(9, 2, 6), "label": (torch.arange(9) % 4).float()}
    settings = SMALL | {"mix_negatives": False}
    whole = build(SupReMix, settings)
    pooled = build(SupReMix, settings | {"pool": 2})
    parts = [
        {name: value[rows] for name, value in outputs.items()}
        for rows in (slice(0, 5), slice(5, 9))
    ]
    expected = torch.stack([whole.loss(part)["supremix"] for part in parts]).mean()
    torch.testing.assert_close(pooled.loss(outputs)["supremix"], expected)
    assert torch.equal(
        build(SupReMix, settings | {"pool": 50}).loss(outputs)["supremix"], torch.zeros(())
    )  # one sample has no company


def test_supremix_takes_one_view_where_samples_share_labels() -> None:
    method = build(SupReMix, SMALL | {"views": 1}).train()
    batch = batch_for(method)
    assert len(batch.views) == 1
    batch = dataclasses.replace(batch, label=(torch.arange(8) % 3).float())
    loss = method.loss(method(batch))["supremix"]
    loss.backward()
    assert next(method.encoder.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["views", "pool"])
def test_supremix_refuses_no_views_and_no_parts(name: str) -> None:
    with pytest.raises(UserError, match=f"Setting {name} is 0; expected a whole number from 1"):
        build(SupReMix, SMALL | {name: 0})


@pytest.mark.parametrize("name", named("b-conr-uni-*"))
@pytest.mark.parametrize("official", [False, True])
def test_conr_equals_the_reference(golden: Any, name: str, official: bool) -> None:
    case = golden(name)
    window, temperature, push = (case[f"hp_{key}"].item() for key in ("w", "temperature", "e"))
    method = build(
        ConR,
        {
            "contrast": 2.0,
            "window": window,
            "temperature": temperature,
            "push": push,
            "official": official,
        },
    )
    rows = len(case["in_labels"]) // 2

    def views(key: str) -> torch.Tensor:
        return torch.stack(case[key].split(rows), dim=1)

    features = views("in_features").clone().requires_grad_()
    prediction = torch.cat([views("in_preds"), views("in_labels")[:, :1] + 3], dim=1)
    weight = views("in_weights")[:, 0, 0] if "in_weights" in case else torch.ones(rows)
    terms = method.loss(
        {
            "features": features,
            "prediction": prediction,
            "label": case["in_labels"][:rows, 0],
            "weight": weight,
        }
    )
    close(terms["contrast"], 2 * case["out_loss" if official else "out_loss_exact"])
    torch.testing.assert_close(terms["regression"], 3 * weight.double().mean())


def test_conr_reaches_encoder_and_regressor_and_predicts() -> None:
    method = build(ConR, {}).train()
    batch = batch_for(method)
    torch.stack(list(method.loss(method(batch)).values())).sum().backward()
    assert method.regressor.weight.grad.abs().sum() > 0
    assert next(method.encoder.parameters()).grad.abs().sum() > 0
    assert method.eval().predict(batch.views[2]).values.shape == (8,)


def test_conr_regresses_labels_of_several_numbers() -> None:
    spec = dataclasses.replace(spec_of(ConR, length=8), values=2)
    method = ConR(ToyEncoder(), spec, ConR.Settings(window=1.0, temperature=0.5)).train()
    label = torch.tensor(
        [
            [0.0, 0.0],
            [0.0, 0.5],
            [3.0, 4.0],
            [3.0, 4.5],
            [9.0, 0.0],
            [9.0, 0.5],
            [0.0, 9.0],
            [0.5, 9.0],
        ]
    )

    class Training:
        pass

    Training.label = label  # type: ignore[attr-defined]
    method.before_epoch(0, Training())
    assert torch.equal(method.regressor.bias, label.median(dim=0).values)
    batch = dataclasses.replace(batch_for(method), label=label)
    torch.stack(list(method.loss(method(batch)).values())).sum().backward()
    assert (method.regressor.weight.grad.abs().sum(dim=1) > 0).all()
    assert method.eval().predict(batch.views[2]).values.shape == (8, 2)


def test_supremix_refuses_labels_of_several_numbers() -> None:
    with pytest.raises(
        UserError,
        match="supremix orders samples by one number; the labels of toy are 2 numbers: choose one",
    ):
        SupReMix(ToyEncoder(), dataclasses.replace(spec_of(SupReMix), values=2))


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
