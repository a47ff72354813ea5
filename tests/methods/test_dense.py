"""PixPro: the copy's schedule, what the loss compares, its instance branch, PixContrast, and the
battery on every form.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar import networks
from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.losses.dense.pixels import pixel_pairs, propagate
from nearfar.methods.dense.pixpro import PixPro
from nearfar.networks.encoder import Encoder
from nearfar.networks.pixels import PixelPropagation
from nearfar.testing import check_method
from tests.losses.cases import close, leaves, named

from .toys import batch_for, build, spec_of

SMALL = {"hidden": 12, "projection": 6}


class _MapIdentity(Encoder):
    """The view is the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dimension = channels

    def feature_map(self, x: Tensor) -> Tensor:
        return x


def test_the_copy_is_the_one_that_moves_before_each_target() -> None:
    """The authors' order (move, then take the target) and ours (move after the step, for the next
    one) give the same copies.
    """
    method = build(PixPro, SMALL | {"momentum": 0.5}).double().train()
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.3)
    copy = [p.clone() for p in method.target.parameters()]
    steps = 4
    for step in range(steps):
        online = [*method.encoder.parameters(), *method.projectors.parameters()]
        momentum = 1 - (1 - 0.5) * (math.cos(math.pi * step / steps) + 1) / 2
        copy = [
            momentum * old + (1 - momentum) * new.detach()
            for old, new in zip(copy, online, strict=True)
        ]
        for found, expected in zip(method.target.parameters(), copy, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
        batch = batch_for(method)
        batch.views = [view.double() for view in batch.views]
        batch.extra["boxes"] = batch.extra["boxes"].double()
        outputs = method(batch)
        optimizer.zero_grad()
        sum(method.loss(outputs).values()).backward()
        optimizer.step()
        method.progress = (step + 1) / steps
        with torch.no_grad():
            method.after_step(outputs)


@pytest.mark.parametrize("form", ["pixpro", "pixcontrast"])
def test_loss_compares_the_pixels_of_one_place_by_a_loop(form: str) -> None:
    channels = 5
    side = 3
    method = PixPro(
        _MapIdentity(channels),
        spec_of(PixPro),
        PixPro.Settings(form=form, projection=channels, hidden=4, layers=0),
    )
    method = method.double().train()
    method.projectors[0] = method.target.module.projectors[0] = nn.Identity()
    views = list(torch.randn(2, 4, channels, side, side, dtype=torch.float64))
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]) + 0.4 * torch.rand(4, 2, 4, dtype=torch.float64)
    boxes[3, 1] += 5  # no overlap
    boxes[0, 0] = boxes[0, 0, [2, 1, 0, 3]]  # mirrored
    loss = method.loss(method(Batch(views, torch.arange(4), extra={"boxes": boxes})))[form]
    expected = torch.zeros((), dtype=torch.float64)
    for a, b in ((0, 1), (1, 0)):
        pairs = pixel_pairs(boxes[:, a], boxes[:, b], side, side)
        source = propagate(views[a], views[a]) if form == "pixpro" else views[a]
        query = normalize(source, dim=1).flatten(2)
        key = normalize(views[b], dim=1).flatten(2)
        values = []
        for n in range(4):
            cosine = query[n].T @ key[n]
            if form == "pixpro":
                values.append(-2 * cosine[pairs[n]].sum() / (pairs[n].sum() + 1e-6))
                continue
            for i in range(side**2):
                if pairs[n, i].any():
                    power = torch.exp(cosine[i] / 0.3)
                    values.append(-torch.log(power[pairs[n, i]].sum() / power.sum()))
        expected += torch.stack(values).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_perfect_maps_reach_minus_four() -> None:
    method = PixPro(
        _MapIdentity(9),
        spec_of(PixPro),
        PixPro.Settings(projection=9, hidden=4, layers=0, sharpness=200.0),
    )
    method.projectors[0] = method.target.module.projectors[0] = nn.Identity()
    maps = torch.eye(9).view(1, 9, 3, 3).repeat(2, 1, 1, 1)
    boxes = torch.tensor([0.1, 0.1, 0.7, 0.7]).expand(2, 2, 4)
    loss = method.loss(method(Batch([maps, maps], torch.arange(2), extra={"boxes": boxes})))[
        "pixpro"
    ]
    assert loss.item() == pytest.approx(-4.0, abs=1e-5)


def test_instance_branch_has_heads_of_its_own_and_adds_its_weight() -> None:
    method = build(PixPro, SMALL | {"instance": 0.5}).train()
    outputs = method(batch_for(method))
    terms = method.loss(outputs)
    assert set(terms) == {"pixpro", "instance"}
    torch.testing.assert_close(terms["instance"], 0.5 * outputs["instance"].mean())
    assert len(method.target.module.projectors) == 2
    assert not any(
        "propagation" in name or "predictor" in name for name, _ in method.target.named_parameters()
    )


@pytest.mark.parametrize("name", named("b-pixpro-ppm-*"))
def test_propagation_of_any_depth_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    layers = int(case["hp_value_layers"])
    if layers > 1:
        pytest.skip("the reference does not hold the weights of two layers under known names")
    (x,) = leaves(case, "x")
    module = PixelPropagation(x.shape[1], layers=layers, sharpness=case["hp_gamma"].item()).double()
    if layers:
        with torch.no_grad():
            module.value[0].weight.copy_(case["in_value_weight"][:, :, None, None])
            module.value[0].bias.copy_(case["in_value_bias"])
    found = normalize(module(x), dim=1)
    (found * case["in_cotangent"]).sum().backward()
    close(found, case["out_y_norm"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize(
    "settings",
    [{}, {"form": "pixcontrast"}, {"instance": 1.0, "layers": 2}, {"layers": 0, "sharpness": 0.5}],
    ids=str,
)
def test_every_form_passes_the_battery(settings: dict[str, Any]) -> None:
    check_method(PixPro, settings=settings, skip=["processes_equal_one"] if settings else [])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(
        UserError, match="Unknown setting form 'pixcontrst': did you mean pixcontrast"
    ):
        build(PixPro, {"form": "pixcontrst"})
    spec = spec_of(PixPro)
    method = PixPro(networks.build("vit-micro", spec), spec, PixPro.Settings(**SMALL))
    with pytest.raises(UserError, match="has no feature map; choose a convolutional encoder"):
        method(batch_for(method))
