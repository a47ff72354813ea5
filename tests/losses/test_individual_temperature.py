"""SogCLR and iSogCLR: the authors' and LibAUC's steps with all state, loops, and what the
temperatures converge to.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.individual_temperature import (
    BIMODAL,
    LIBAUC,
    Rule,
    SampleState,
    bimodal_step,
    cosine_gamma,
    fresh_state,
    robust_contrastive,
    unimodal_step,
)
from nearfar.losses.kernels.similarity import unit
from nearfar.targets.sample_table import SampleTable
from tests.losses.cases import close, degenerate, finite_with_gradient, named
from tests.losses.precision import agrees_in_lower_precision, saved_sizes


def table(samples: int, temperature: float) -> SampleTable:
    columns = SampleTable(
        samples, estimate=0.0, temperature=0.0, momentum=0.0, shift=0.0, seen=False
    ).double()
    columns.temperature.fill_(temperature)
    return columns


def rows(columns: SampleTable, index: Tensor, *, seen: bool) -> SampleState:
    return SampleState(**columns(index))._replace(seen=torch.full(index.shape, seen))


@pytest.mark.parametrize("name", named("a-isogclr-unimodal-case*"))
def test_unimodal_steps_equal_the_reference(golden: Any, name: str) -> None:
    """The authors' code takes a sample as seen from epoch 1 on, whether it was or not."""
    case = golden(name)
    hp = {key[3:]: float(value) for key, value in case.items() if key.startswith("hp_")}
    rule = Rule(
        hp["gamma"],
        hp["rho"],
        hp["eta"],
        hp["beta_u"],
        (hp["tau_min"], hp["tau_max"]),
        hp["grad_clip"],
    )
    columns = table(int(hp["N"]), hp["tau_init"])
    for step, (index, features) in enumerate(
        zip(case["in_index"], case["in_features"], strict=True)
    ):
        features.requires_grad_()
        state = rows(columns, index, seen=int(hp["first_epoch"]) + step > 0)
        loss, state = unimodal_step(features[:, 0], features[:, 1], state, rule=rule)
        columns.update(index, state._asdict())
        close(loss, case["out_loss_steps"][step])
        close(torch.autograd.grad(loss, features)[0], case["out_grad_features"][step])
        for column, part in (("estimate", "s"), ("momentum", "u"), ("temperature", "tau")):
            close(columns.get_buffer(column), case[f"out_{part}"][step])


@pytest.mark.parametrize("name", named("a-*sogclr-libauc-case*"))
def test_libauc_steps_equal_the_reference(golden: Any, name: str) -> None:
    """Its gamma is 1 for a batch whose estimates are all 0, until ``adjust_gamma(1)``, which the
    constant case calls after step 1.
    """
    case = golden(name)
    hp = {key[3:]: float(value) for key, value in case.items() if key.startswith("hp_")}
    individual = "rho" in hp
    rule = dataclasses.replace(LIBAUC, gamma=hp["gamma"], rho=None)
    if individual:
        bounds = (hp["tau_min"], hp["tau_max"])
        rule = dataclasses.replace(
            rule, rho=hp["rho"], rate=hp["eta"], beta=hp["beta"], bounds=bounds
        )
    columns = table(case["out_u"].shape[1], hp["tau"])
    for step, (index, features) in enumerate(zip(case["in_index"], case["in_hidden"], strict=True)):
        features.requires_grad_()
        adjusted = step > 0 and not individual
        state = rows(columns, index, seen=adjusted or bool(columns.estimate[index].sum() != 0))
        loss, state = unimodal_step(*unit(features), state, rule=rule)
        columns.update(index, state._asdict())
        close(loss, case["out_loss_steps"][step])
        close(torch.autograd.grad(loss, features)[0], case["out_grad_hidden"][step])
        close(columns.estimate, case["out_u"][step])
        if individual:
            close(columns.temperature, case["out_tau"][step])


@pytest.mark.parametrize("name", named("a-*sogclr-bimodal-case*"))
def test_bimodal_steps_equal_the_reference(golden: Any, name: str) -> None:
    """The authors' code sums over the positive too, and lets every estimate grow from 0."""
    case = golden(name)
    hp = {key[3:]: float(value) for key, value in case.items() if key.startswith("hp_")}
    individual = "rho_init" in hp
    rule = dataclasses.replace(BIMODAL, gamma=hp["gamma"], rho=None)
    if individual:
        rule = dataclasses.replace(rule, rho=hp["rho_init"], rate=hp["eta_init"], beta=hp["beta_u"])
    samples = case["out_s_I"].shape[1]
    tables = [table(samples, hp["tau_init" if individual else "temperature"]) for _ in range(2)]
    for step, (index, features) in enumerate(
        zip(case["in_index"], case["in_image_text"], strict=True)
    ):
        features.requires_grad_()
        states = [rows(columns, index, seen=True) for columns in tables]
        loss, *states = bimodal_step(*features, *states, rule=rule, with_positive=True)
        close(loss, case["out_loss_steps"][step])
        close(torch.autograd.grad(loss, features)[0], case["out_grad_image_text"][step])
        parts = {"estimate": "s", "shift": "b"} | (
            {"momentum": "u", "temperature": "tau"} if individual else {}
        )
        for columns, state, modality in zip(tables, states, "IT", strict=True):
            columns.update(index, state._asdict())
            for column, part in parts.items():
                close(columns.get_buffer(column), case[f"out_{part}_{modality}"][step])


def random_state(samples: int) -> SampleState:
    """States of which every second sample is new."""
    seen = torch.arange(samples) % 2 == 0
    estimate = 1 + torch.rand(samples).double()
    momentum = torch.randn(samples).double()
    return SampleState(
        estimate * seen,
        0.2 + torch.rand(samples).double(),
        momentum,
        torch.zeros(samples).double(),
        seen,
    )


def stepped(
    scores: list[Tensor], state: SampleState, i: int, rule: Rule, count: int, new_shift: float
) -> tuple[Tensor, float, float]:
    """One row in plain numbers: weights, estimate and temperature gradient."""
    tau = state.temperature[i].item()
    shift = state.shift[i].item()
    terms = [math.exp(s.item() / tau - new_shift) for s in scores]
    share = rule.gamma if state.seen[i] else 1.0
    estimate = (1 - share) * state.estimate[i].item() * math.exp(shift - new_shift) + share * sum(
        terms
    ) / count
    weights = [t / (max(estimate, rule.floor) + rule.epsilon) / count for t in terms]
    assert rule.rho is not None
    mean = sum(w * s.item() / tau for w, s in zip(weights, scores, strict=True))
    return (
        torch.tensor(weights, dtype=torch.float64),
        estimate,
        math.log(estimate) + new_shift + rule.rho - mean,
    )


@pytest.mark.parametrize("samples", [2, 5])
@pytest.mark.parametrize("hinge", [None, 0.8])
def test_unimodal_step_equals_its_loop(samples: int, hinge: float | None) -> None:
    z1, z2 = unit(torch.randn(2, samples, 4, dtype=torch.float64)).requires_grad_()
    state = random_state(samples)
    rule = Rule(clip=0.5, floor=1e-3, epsilon=0.1)
    z = torch.cat([z1, z2])
    losses = []
    estimate = torch.zeros(samples).double()
    momentum = torch.zeros(samples).double()
    for i in range(samples):
        slopes = []
        for row, partner in ((i, i + samples), (i + samples, i)):
            positive = z[row] @ z[partner]
            if hinge is None:
                scores = [z[row] @ z[j] for j in range(2 * samples) if j not in (row, partner)]
            else:
                scores = [
                    (z[row] @ z[j] - positive + hinge).clamp(min=0) ** 2
                    for j in range(2 * samples)
                    if j != row
                ]
            weights, value, slope = stepped(scores, state, i, rule, len(scores), 0.0)
            losses.append(
                (weights * torch.stack(scores)).sum() - (positive if hinge is None else 0.0)
            )
            estimate[i] += value / 2
            slopes.append(slope)
        slope = max(-0.5, min(0.5, sum(slopes) / 2))
        momentum[i] = 0.5 * state.momentum[i] + 0.5 * slope
    expected = torch.stack(losses).sum() / samples
    found, new = unimodal_step(z1, z2, state, rule=rule, hinge=hinge)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(new.estimate, estimate)
    torch.testing.assert_close(new.momentum, momentum)
    torch.testing.assert_close(
        new.temperature, (state.temperature - 0.03 * momentum).clamp(0.05, 1.0)
    )
    assert new.seen.all()
    for x, y in zip(
        *(torch.autograd.grad(loss, (z1, z2)) for loss in (found, expected)), strict=True
    ):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("samples", [2, 5])
@pytest.mark.parametrize("with_positive", [False, True])
def test_bimodal_step_equals_its_loop(samples: int, with_positive: bool) -> None:
    first, second = unit(torch.randn(2, samples, 4, dtype=torch.float64)).requires_grad_()
    states = [random_state(samples)._replace(shift=torch.rand(samples).double()) for _ in range(2)]
    losses = []
    estimates = torch.zeros(2, samples).double()
    for side, (a, b) in enumerate(((first, second), (second, first))):
        for i in range(samples):
            margins = [a[i] @ b[j] - a[i] @ b[i] for j in range(samples) if with_positive or j != i]
            tau = states[side].temperature[i].item()
            shift = states[side].shift[i].item()
            new_shift = max([shift, *(m.item() / tau for m in margins)])
            weights, estimates[side, i], _ = stepped(
                margins, states[side], i, BIMODAL, samples - 1, new_shift
            )
            losses.append((weights * torch.stack(margins)).sum())
    expected = torch.stack(losses).sum() / samples
    found, *new = bimodal_step(first, second, *states, with_positive=with_positive)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.stack([state.estimate for state in new]), estimates)
    for x, y in zip(
        *(torch.autograd.grad(loss, (first, second)) for loss in (found, expected)), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_bimodal_modalities_are_interchangeable() -> None:
    first, second = unit(torch.randn(2, 4, 3, dtype=torch.float64))
    states = random_state(4), random_state(4)
    forth = bimodal_step(first, second, *states)
    back = bimodal_step(second, first, *states[::-1])
    torch.testing.assert_close(forth[0], back[0])
    torch.testing.assert_close(forth[1].temperature, back[2].temperature)


def test_exact_estimates_give_the_gradient_of_the_objective() -> None:
    """With gamma = 1 and one temperature, tau times the objective's own gradient with respect to
    margins is the step's.
    """
    z1, z2 = unit(torch.randn(2, 6, 4, dtype=torch.float64)).requires_grad_()
    state = fresh_state(torch.full((6,), 0.3, dtype=torch.float64))
    loss, _ = unimodal_step(z1, z2, state, rule=Rule(gamma=1.0, rho=None))
    z = torch.cat([z1, z2])
    total = []
    for row in range(12):
        partner = (row + 6) % 12
        margins = torch.stack(
            [z[row] @ z[j] - z[row] @ z[partner] for j in range(12) if j % 6 != row % 6]
        )
        total.append(robust_contrastive(margins[None], torch.full((1,), 0.3).double(), rho=0.0))
    objective = torch.stack(total).sum() / 6
    for x, y in zip(
        *(torch.autograd.grad(value, (z1, z2)) for value in (loss, objective)), strict=True
    ):
        torch.testing.assert_close(x, y)


def divergence(margins: Tensor, temperature: Tensor) -> Tensor:
    """KL divergence of the worst case over negatives from uniform."""
    share = torch.softmax(margins / temperature[:, None], dim=1)
    return (share * (share * margins.shape[1]).log()).sum(dim=1)


def test_slope_of_the_objective_is_rho_less_the_divergence() -> None:
    margins = torch.randn(5, 8, dtype=torch.float64)
    tau = (0.1 + torch.rand(5)).double().requires_grad_()
    (slope,) = torch.autograd.grad(
        robust_contrastive(margins, tau, rho=0.4, reduction="none").sum(), tau
    )
    torch.testing.assert_close(slope, 0.4 - divergence(margins, tau))


def test_stationary_temperatures_spread_the_negatives_by_rho() -> None:
    first, second = unit(torch.randn(2, 12, 3, dtype=torch.float64))
    states = [fresh_state(torch.full((12,), 0.3, dtype=torch.float64)) for _ in range(2)]
    rule = Rule(gamma=1.0, rho=0.3, rate=0.05, beta=0.5, bounds=(1e-3, 100.0))
    for _ in range(800):
        _, *states = bimodal_step(first, second, *states, rule=rule)
    similarity = first @ second.T
    for scores, state in zip((similarity, similarity.T), states, strict=True):
        others = scores[~torch.eye(12, dtype=torch.bool)].view(12, 11)
        torch.testing.assert_close(
            divergence(others, state.temperature),
            torch.full((12,), 0.3).double(),
            rtol=1e-4,
            atol=0,
        )


def test_constant_temperatures_stay_even_outside_the_bounds() -> None:
    z1, z2 = unit(torch.randn(2, 4, 3, dtype=torch.float64))
    state = fresh_state(torch.full((4,), 5.0, dtype=torch.float64))
    _, new = unimodal_step(z1, z2, state, rule=Rule(rho=None))
    assert torch.equal(new.temperature, state.temperature)
    assert torch.equal(new.momentum, state.momentum)


def test_bounds_and_clip_hold() -> None:
    z1, z2 = unit(torch.randn(2, 6, 3, dtype=torch.float64))
    state = fresh_state(torch.full((6,), 0.5, dtype=torch.float64))
    _, low = unimodal_step(z1, z2, state, rule=Rule(rho=100.0, rate=10.0))
    assert low.temperature.tolist() == [0.05] * 6
    assert low.momentum.tolist() == pytest.approx([0.5 * 3.0] * 6)
    _, high = unimodal_step(z1, z2, state, rule=Rule(rho=0.0, rate=1e9))
    assert high.temperature.tolist() == [1.0] * 6


def test_a_running_shift_keeps_tiny_temperatures_finite() -> None:
    first, second = unit(torch.randn(2, 6, 3)).requires_grad_()
    states = [fresh_state(torch.full((6,), 1e-3)) for _ in range(2)]
    for _ in range(3):
        loss, *states = bimodal_step(
            first, second, *states, rule=dataclasses.replace(BIMODAL, bounds=(1e-3, 1.0))
        )
        finite_with_gradient(loss, first, second)
    assert all(part.isfinite().all() for state in states for part in state)


def test_gamma_falls_along_half_a_cosine() -> None:
    assert [cosine_gamma(0.8, p) for p in (0.0, 0.5, 1.0, 3.0)] == pytest.approx(
        [1.0, 0.9, 0.8, 0.8]
    )


def test_states_carry_no_gradient_and_no_matrix_is_kept() -> None:
    z1, z2 = unit(torch.randn(2, 200, 3)).requires_grad_()
    with saved_sizes() as sizes:
        loss, state = unimodal_step(z1, z2, fresh_state(torch.full((200,), 0.1)))
        both, *_ = bimodal_step(z1, z2, state, state)
    assert loss.requires_grad
    assert both.requires_grad
    assert max(sizes) <= 400 * 3
    assert not any(part.requires_grad for part in state)


@pytest.mark.parametrize("z", degenerate())
@pytest.mark.parametrize("hinge", [None, 0.8])
def test_degenerate_embeddings_stay_finite(z: Tensor, hinge: float | None) -> None:
    for part in (unit(z), unit(z[1:3])):
        first = part.clone().requires_grad_()
        second = part.flip(0).clone().requires_grad_()
        state = fresh_state(torch.full((len(part),), 0.1, dtype=torch.float64))
        loss, new = unimodal_step(first, second, state, hinge=hinge)
        both, *_ = bimodal_step(first, second, new, new)
        finite_with_gradient(loss, first, second)
        finite_with_gradient(both, first, second)
        assert all(column.isfinite().all() for column in new)


@pytest.mark.parametrize("hinge", [None, 0.8])
def test_lower_precision(hinge: float | None) -> None:
    z = unit(torch.randn(2, 16, 8))
    state = fresh_state(torch.full((16,), 0.2))
    agrees_in_lower_precision(lambda a, b: unimodal_step(a, b, state, hinge=hinge)[0], *z)
    agrees_in_lower_precision(lambda a, b: bimodal_step(a, b, state, state)[0], *z)


@pytest.mark.parametrize("step", [unimodal_step, bimodal_step])
def test_one_sample_has_no_negatives(step: Any) -> None:
    states = [fresh_state(torch.ones(1))] * (1 if step is unimodal_step else 2)
    with pytest.raises(ValueError, match="at least 2 rows"):
        step(torch.ones(1, 3), torch.ones(1, 3), *states)


@pytest.mark.parametrize("hinge", [None, 0.8])
@pytest.mark.parametrize("temperature", [0.02, 0.01, 0.005, 0.001])
def test_small_temperatures_give_in_float32_what_float64_gives(
    temperature: float, hinge: float | None
) -> None:
    """Two steps, since the second one meets an estimate that only a shift could hold."""
    exact = [unit(torch.randn(8, 4, dtype=torch.float64)) for _ in range(2)]
    rule = Rule(bounds=(temperature, 1.0), rate=temperature / 100)
    results = []
    for dtype in (torch.float64, torch.float32):
        z1, z2 = (z.to(dtype).requires_grad_() for z in exact)
        state = fresh_state(torch.full((8,), temperature, dtype=dtype))
        for _ in range(2):
            loss, state = unimodal_step(z1, z2, state, rule=rule, hinge=hinge)
        logs = state.estimate.log() + state.shift
        results.append(
            [loss.detach(), *torch.autograd.grad(loss, (z1, z2)), logs, state.temperature]
        )
    for found, expected in zip(results[1], results[0], strict=True):
        assert found.isfinite().all()
        scale = expected.abs().max().item()
        torch.testing.assert_close(
            found.double(), expected, rtol=0, atol=2e-6 / temperature * scale
        )


def test_an_estimate_that_fits_is_kept_without_a_shift() -> None:
    z1, z2 = (unit(torch.randn(6, 4)) for _ in range(2))
    _, state = unimodal_step(z1, z2, fresh_state(torch.full((6,), 0.05)))
    assert not state.shift.any()


def test_the_past_fits_when_the_temperature_has_risen() -> None:
    z1, z2 = (unit(torch.randn(6, 4)) for _ in range(2))
    none = torch.zeros(6)
    past = SampleState(torch.full((6,), 1e-3), torch.full((6,), 0.5), none, none + 400.0, none == 0)
    loss, state = unimodal_step(z1, z2, past)
    assert loss.isfinite()
    logs = state.estimate.log() + state.shift
    torch.testing.assert_close(
        logs, torch.full((6,), 400.0 + math.log(1e-3) + math.log(0.2)), rtol=1e-5, atol=0
    )


def test_temperatures_below_their_bounds_are_refused_where_they_learn() -> None:
    z1, z2 = (unit(torch.randn(6, 4)) for _ in range(2))
    state = fresh_state(torch.tensor([0.02, 0.1, 0.1, 0.1, 0.1, 0.1]))
    with pytest.raises(
        ValueError,
        match=r"may not lie below the rule's least, 0.05; found 0.02: start within its bounds",
    ):
        unimodal_step(z1, z2, state)
    with pytest.raises(ValueError, match=r"may not lie below the rule's least, 0.005; found 0.001"):
        bimodal_step(z1, z2, state, fresh_state(torch.full((6,), 1e-3)))
    assert unimodal_step(z1, z2, state, rule=Rule(rho=None))[0].isfinite()
