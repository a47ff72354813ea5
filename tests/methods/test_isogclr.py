"""iSogCLR: the authors' steps through the method, and states that belong to samples, change once a
step and are saved.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.errors import UserError
from nearfar.losses.instance.individual_temperature import (
    BIMODAL,
    Rule,
    SampleState,
    bimodal_step,
    fresh_state,
    unimodal_step,
)
from nearfar.methods.instance.isogclr import ISogCLR
from nearfar.methods.paired.isogclr_pairs import ISogCLRPairs
from tests.losses.cases import close, named

from .toys import SAMPLES, batch_for, build

SMALL = {"hidden": 16, "projection": 6}


@pytest.mark.parametrize("name", named("a-isogclr-unimodal-case*"))
def test_reference_steps(golden: Any, name: str) -> None:
    """The authors' code takes every sample as seen after the first epoch, whether it was or not."""
    case = golden(name)
    hp = {key[3:]: float(value) for key, value in case.items() if key.startswith("hp_")}
    settings = {"rho": hp["rho"], "gamma": hp["gamma"], "rate": hp["eta"], "beta": hp["beta_u"]}
    settings |= {"temperature": hp["tau_init"], "bounds": (hp["tau_min"], hp["tau_max"])}
    method = build(ISogCLR, SMALL | settings, length=int(hp["N"])).double()
    method.table.temperature.fill_(hp["tau_init"])
    for step, (index, features) in enumerate(
        zip(case["in_index"], case["in_features"], strict=True)
    ):
        if int(hp["first_epoch"]) + step > 0:
            method.table.seen.fill_(True)
        features.requires_grad_()
        outputs = {"z1": features[:, 0], "z2": features[:, 1], "index": index}
        loss = method.loss(outputs)["isogclr"]
        close(loss, case["out_loss_steps"][step])
        close(torch.autograd.grad(loss, features)[0], case["out_grad_features"][step])
        method.progress = (step + 1) / 10
        with torch.no_grad():
            method.after_step(outputs)
        for column, part in (("estimate", "s"), ("momentum", "u"), ("temperature", "tau")):
            close(method.table.get_buffer(column), case[f"out_{part}"][step])


@pytest.mark.parametrize(
    ("kind", "tables"), [(ISogCLR, ["table"]), (ISogCLRPairs, ["first_table", "second_table"])]
)
def test_states_change_after_the_step_and_for_its_samples_only(
    kind: Any, tables: list[str]
) -> None:
    method = build(kind, {"projection": 6}).train()
    batch = batch_for(method)
    batch.index = torch.arange(SAMPLES) * 7
    before = {
        name: value.clone()
        for name, value in method.state_dict().items()
        if name.split(".")[0] in tables
    }
    assert len(before) == 5 * len(tables), "checkpoints carry the states"
    outputs = method(batch)
    method.loss(outputs)
    assert all(torch.equal(method.state_dict()[name], value) for name, value in before.items())
    with torch.no_grad():
        method.after_step(outputs)
    others = torch.ones(1000, dtype=torch.bool)
    others[batch.index] = False
    for name in tables:
        table = getattr(method, name)
        assert table.seen[batch.index].all()
        assert not table.seen[others].any()
        start = before[f"{name}.temperature"]
        assert torch.equal(table.temperature[others], start[others])
        assert (table.temperature[batch.index] != start[batch.index]).all()


@pytest.mark.parametrize(
    ("kind", "tables"), [(ISogCLR, ["table"]), (ISogCLRPairs, ["first_table", "second_table"])]
)
def test_sogclr_keeps_its_temperatures(kind: Any, tables: list[str]) -> None:
    method = build(kind, {"projection": 6, "individual": False, "temperature": 0.37}).train()
    outputs = method(batch_for(method))
    for _ in range(2):
        method.loss(outputs)
        with torch.no_grad():
            method.after_step(outputs)
    for name in tables:
        table = getattr(method, name)
        assert (table.temperature == 0.37).all()
        assert (table.estimate[:SAMPLES] > 0).all()


def test_gamma_falls_from_one_and_is_the_same_before_and_after_the_step() -> None:
    method = build(ISogCLR, SMALL | {"gamma": 0.3, "descent": 0.5, "individual": False}).train()
    outputs = method(batch_for(method))
    for progress, gamma in ((0.0, 1.0), (0.25, 0.65), (0.8, 0.3)):
        method.progress = progress
        method.loss(outputs)
        state = SampleState(**method.table(outputs["index"]))
        _, expected = unimodal_step(outputs["z1"], outputs["z2"], state, rule=Rule(gamma, rho=None))
        method.progress = 1.0
        with torch.no_grad():
            method.after_step(outputs)
        torch.testing.assert_close(method.table.estimate[:SAMPLES], expected.estimate)
        method.table.estimate.mul_(2.0)


def test_hinges_are_the_losses_variant() -> None:
    method = build(ISogCLR, SMALL | {"hinge": 0.8}).train()
    outputs = method(batch_for(method))
    state = fresh_state(torch.full((SAMPLES,), 0.1))
    expected, _ = unimodal_step(outputs["z1"], outputs["z2"], state, hinge=0.8)
    torch.testing.assert_close(method.loss(outputs)["isogclr"], expected)


def test_pairs_take_the_two_modal_step_of_unit_rows() -> None:
    method = build(ISogCLRPairs, {"projection": 6}).train()
    batch = batch_for(method)
    outputs = method(batch)
    (pair,) = batch.views
    image, text = (method.embed_part(name, pair[name]) for name in ("image", "text"))
    torch.testing.assert_close(outputs["first"], normalize(image, dim=1))
    state = fresh_state(torch.full((SAMPLES,), 0.01))
    expected, first, second = bimodal_step(image, text, state, state, rule=BIMODAL)
    torch.testing.assert_close(method.loss(outputs)["isogclr"], expected)
    with torch.no_grad():
        method.after_step(outputs)
    for table, new in ((method.first_table, first), (method.second_table, second)):
        torch.testing.assert_close(table(batch.index), new._asdict())


def test_a_start_outside_the_bounds_is_refused() -> None:
    for temperature in (0.02, 1.5):
        with pytest.raises(UserError, match=r"outside bounds, which is 0\.05 to 1"):
            build(ISogCLR, {"temperature": temperature})
    build(ISogCLR, {"temperature": 0.02, "individual": False})
