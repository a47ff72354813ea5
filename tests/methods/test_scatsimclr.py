"""ScatSimCLR: its loss, what its pretext heads see, its encoder by default, and the battery on
every pretext.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nearfar import networks
from nearfar.assembly.assemble import assemble
from nearfar.data import load
from nearfar.errors import UserError
from nearfar.methods.instance.scatsimclr import ScatSimCLR
from nearfar.networks.pretext_heads import jigsaw_head, rotation_head
from nearfar.options import Config, PretrainOptions
from nearfar.testing import METHOD_CHECKS, Case
from nearfar.views.image.jigsaw import ORDERS
from tests.losses.cases import close, leaves, named

from .toys import batch_for, build, spec_of

SMALL = {"hidden": 16, "projection": 8, "dropout": 0.0}


@pytest.mark.parametrize("name", named("b-scatsimclr-ntxent-*"))
def test_contrast_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    z1, z2 = leaves(case, "z1", "z2")
    method = build(ScatSimCLR, SMALL | {"temperature": case["hp_temperature"].item()})
    loss = method.loss({"z1": z1, "z2": z2})["nt_xent"]
    loss.backward()
    close(loss, case["out_loss"])
    close(z1.grad, case["out_grad_z1"])
    close(z2.grad, case["out_grad_z2"])


def test_each_further_view_is_made_of_the_sample_turned_once_more() -> None:
    method = build(ScatSimCLR, SMALL)
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    sources = method.view_sources(images, torch.arange(5), torch.Generator())
    assert len(sources) == 6 == method.wanted_views.whole + len(method.wanted_views.further)
    for turn, source in enumerate(sources[2:]):
        assert torch.equal(source, torch.rot90(images, turn, dims=(2, 3)))
    assert torch.equal(sources[0], images)
    answer = method(batch_for(method))["answer"]
    assert answer.tolist() == [[0, 1, 2, 3]] * 8


def test_the_pretext_adds_its_weighted_cross_entropy() -> None:
    method = build(ScatSimCLR, SMALL | {"pretext_weight": 0.25}).train()
    outputs = method(batch_for(method))
    logs = outputs["logits"].log_softmax(-1)
    expected = -sum(logs[n, turn, turn] for n in range(8) for turn in range(4)) / 32
    torch.testing.assert_close(method.loss(outputs)["pretext"], 0.25 * expected)
    plain = build(ScatSimCLR, SMALL | {"pretext": "none"}).train()
    assert set(plain.loss(plain(batch_for(plain)))) == {"nt_xent"}


def test_jigsaw_orders_change_by_step_not_by_process() -> None:
    method = build(ScatSimCLR, SMALL | {"pretext": "jigsaw"})
    index = torch.tensor([5, 900, 17, 3])
    method.progress = 0.25
    first = method._orders(index)
    assert torch.equal(method._orders(index[1:3]), first[1:3])
    method.progress = 0.5
    assert not torch.equal(
        method._orders(torch.arange(1000)), method._orders(torch.arange(1000)).flip(0)
    )
    assert method._orders(torch.arange(1000)).bincount(minlength=len(ORDERS)).min() > 5
    later = method._orders(index)
    assert not torch.equal(first, later)


@pytest.mark.parametrize(
    "head", [rotation_head(24, 4), jigsaw_head(24, 9, 35)], ids=["rotation", "jigsaw"]
)
def test_heads_drop_half(head: nn.Module) -> None:
    assert {m.p for m in head.modules() if isinstance(m, nn.Dropout)} == {0.5}
    assert head(torch.randn(9, 24)).shape in {(9, 4), (1, 35)}


@pytest.mark.parametrize("pretext", ["jigsaw", "none"])
@pytest.mark.parametrize(
    "check", ["runs", "gradient_reaches_parameters", "shares_add_up", "resumes"]
)
def test_other_pretexts_pass_the_battery(pretext: str, check: str) -> None:
    METHOD_CHECKS[check](Case(ScatSimCLR, settings={"pretext": pretext}))


def test_the_scattering_gets_no_gradient_and_is_the_encoder_by_default() -> None:
    source = load("cluttered-digits", limit=32)
    method = assemble(Config("scatsimclr", PretrainOptions(batch_size=8)), source).method
    assert method.encoder.architecture["name"] == "scatnet8"
    assert not list(method.encoder.scattering.parameters())
    spec = spec_of(ScatSimCLR)
    method = ScatSimCLR(
        networks.build("scatnet8", spec), spec, ScatSimCLR.Settings(**SMALL)
    ).train()
    terms = method.loss(method(batch_for(method)))
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in method.parameters())
    assert all(not b.requires_grad for b in method.encoder.scattering.buffers())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(
        UserError, match="Unknown setting pretext 'rotations': did you mean rotation"
    ):
        build(ScatSimCLR, {"pretext": "rotations"})
