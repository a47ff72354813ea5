"""ColloSSL, COMET and frame projections: golden values and gradients, loops, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses import nt_xent
from nearfar.losses.kernels.similarity import unit
from nearfar.losses.series.devices import (
    acceleration_distance,
    choose_devices,
    device_contrast,
    kernel_distance,
)
from nearfar.losses.series.levels import (
    hierarchical,
    identity_contrast,
    observation_contrast,
    sample_contrast,
)
from nearfar.losses.series.projections import mapping_error, three_way_contrast
from nearfar.networks.series.mapper import LatentMapper
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("d-collossl-loss-*"))
def test_devices_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (anchor,) = leaves(case, "anchor")
    others = (case["in_pos"], case["in_neg"], case["in_pos_weights"], case["in_neg_weights"])
    temperature = case["hp_temperature"].item()
    loss = device_contrast(anchor, *others, temperature=temperature)
    loss.backward()
    close(loss, case["out_loss"])
    close(anchor.grad, case["out_grad_anchor"])
    shipped = device_contrast(-anchor, *others, temperature=temperature)
    close(shipped, case["out_loss_shipped"])


@pytest.mark.parametrize("name", named("d-collossl-mmd-*"))
def test_device_distance_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    sigmas = case["hp_sigmas"].tolist()
    for by_axis, key in ((False, "norm"), (True, "per_channel")):
        found = [
            acceleration_distance(case["in_anchor"], other, by_axis=by_axis, sigmas=sigmas)
            for other in case["in_others"]
        ]
        close(torch.stack(found), case[f"out_mmd_{key}"])


@pytest.mark.parametrize("name", named("d-comet-losses-*"))
def test_levels_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    factor = case["hp_factor"].item()
    for key, short, loss in (
        ("sample", "sample", sample_contrast),
        ("observation", "obs", observation_contrast),
    ):
        value = loss(z1, z2)
        close(value, case[f"out_{key}"])
        close(torch.autograd.grad(value, z1)[0], case[f"out_grad_{short}_z1"])
        close(factor * hierarchical(loss, z1, z2), case[f"out_hier_{key}"])
    label, temperature = case["in_ids"], case["hp_temperature_id"].item()
    value = identity_contrast(z1, z2, label, temperature=temperature)
    close(value, case["out_id"])
    slopes = torch.autograd.grad(value, (z1, z2))
    close(slopes[0], case["out_grad_id_z1"])
    close(slopes[1], case["out_grad_id_z2"])


@pytest.mark.parametrize("name", named("d-frames-loss-*"))
def test_projections_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    e1, e2, e3 = leaves(case, "e1", "e2", "e3")
    temperature = case["hp_temperature"].item()
    for pair, (a, b) in {"12": (e1, e2), "13": (e1, e3), "23": (e2, e3)}.items():
        close(nt_xent(a, b, temperature=temperature), case[f"out_ntxent_{pair}"])
    mappers = {}
    for key in "FG":
        mapper = LatentMapper(len(case[f"in_map{key}_conv1_bias"])).double()
        for ours, theirs in (("inward", "conv1"), ("outward", "deconv")):
            layer = getattr(mapper, ours)
            layer.weight.data = case[f"in_map{key}_{theirs}_weight"]
            layer.bias.data = case[f"in_map{key}_{theirs}_bias"]
        mappers[key] = mapper
    loss = three_way_contrast(e1, e2, e3, temperature=temperature)
    loss = loss + mapping_error(mappers["F"](unit(e1)), e3)
    loss = loss + mapping_error(mappers["G"](unit(e1)), e2)
    loss.backward()
    close(loss, case["out_loss"])
    for key, given in (("e1", e1), ("e2", e2), ("e3", e3)):
        close(given.grad, case[f"out_grad_{key}"])


def test_one_window_one_step_and_no_shared_id_are_nought() -> None:
    z = torch.randn(1, 5, 3, dtype=F64, requires_grad=True)
    assert sample_contrast(z, z).item() == 0
    assert observation_contrast(z[:, :1], z[:, :1]).item() == 0
    assert hierarchical(sample_contrast, z[:, :1], z[:, :1]).item() == 0
    pair = torch.randn(2, 5, 3, dtype=F64)
    assert identity_contrast(pair, pair, torch.tensor([0, 1])).item() == 0


def test_levels_pool_an_odd_length_down() -> None:
    z1, z2 = torch.randn(3, 7, 2, dtype=F64), torch.randn(3, 7, 2, dtype=F64)
    levels = [(z1, z2)]
    for _ in range(1):
        a, b = (torch.maximum(z[:, 0:6:2], z[:, 1:6:2]) for z in levels[-1])
        levels.append((a, b))
    expected = torch.stack([sample_contrast(a, b) for a, b in levels]).mean()
    close(hierarchical(sample_contrast, z1, z2), expected)


def test_devices_are_chosen_by_their_distance() -> None:
    distance = torch.tensor([0.5, 0.1, 0.9])
    assert choose_devices(distance, rule="closest_only") == ([1], [1])
    assert choose_devices(distance, rule="hard_negative") == ([1], [0, 2])
    assert choose_devices(distance, rule="closest_two") == ([0, 1], [0, 1, 2])
    drawn = choose_devices(distance, rule="random", generator=torch.Generator().manual_seed(0))
    assert drawn == choose_devices(
        distance, rule="random", generator=torch.Generator().manual_seed(0)
    )
    with pytest.raises(UserError, match="rule of devices"):
        choose_devices(distance, rule="farthest")
    with pytest.raises(ValueError, match="at least one other"):
        choose_devices(distance[:0])


def test_wrong_inputs_get_one_sentence() -> None:
    z = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match=r"label \(B\)"):
        identity_contrast(z, z, torch.zeros(3))
    with pytest.raises(ValueError, match=r"z2 \(B, T, D\)"):
        sample_contrast(z, z[:1])
    with pytest.raises(ValueError, match=r"second \(M, D\)"):
        kernel_distance(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="3 channels"):
        acceleration_distance(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2))
    with pytest.raises(ValueError, match=r"weight \(K, B\)"):
        device_contrast(z[0], z, z, torch.ones(1), torch.ones(2))
    with pytest.raises(UserError, match="even width"):
        LatentMapper()(torch.zeros(2, 3))
