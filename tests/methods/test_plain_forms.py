"""Every method's loss and gradient equal its paper's plain formula written from the method's own
modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from nearfar.batch import Batch
from nearfar.methods import registry
from nearfar.methods.method import Method, Phase
from nearfar.testing.toys import toy
from nearfar.training.phases import moving

from .plain import FORMS

VARIANTS: Mapping[str, list[dict[str, Any]]] = {
    "dcl": [{"weighted": True}],
    "moco-v2": [{"decoupled": True}],
    "nnclr": [{"decoupled": True}],
    "mcl": [{"batches": "mixed"}],
    "mcl-clip": [{"batches": "mixed"}],
    "fixed-head": [{"loss": "supcon"}, {"loss": "cross-entropy"}, {"head": "mlp"}],
    "hard-contrastive": [
        {"loss": name, "bank": bank}
        for name in ("contrastive", "simple", "hard-simple")
        for bank in (True, False)
    ],
    "scatsimclr": [{"pretext": "jigsaw"}, {"pretext": "none"}],
    "feature-transformation": [
        {"elementwise": "both", "normalise": True},
        {"extrapolate": False},
        {"interpolate": False},
    ],
    "cacr": [{"views": 2}, {"attraction": 0.5, "repulsion": 2.0}],
    "cacr-queue": [{"within_batch": False}],
    "cacr-moco-v3": [{"euclidean": True}, {"full": True, "local": 1}, {"local": 0}],
    "directpred": [{"normalise": False}],
    "dino": [
        {"sinkhorn": False},
        {"sinkhorn": False, "local": 3},
        {"temperature_warmup": 0.9, "first_teacher_temperature": 0.06},
    ],
    "swav": [{"local": 3}],
    "mae": [{"normalise": False}, {"removed": 0.5}],
    "pixpro": [{"form": "pixcontrast"}, {"instance": 0.5}],
    "mixed-barlow-twins": [{"unit_rows": False}, {"ramp": 0.8}],
    "monodepth2": [{"neighbours": "mean"}, {"still": False, "smooth": 1.0}],
    "srresnet": [{"distance": "absolute"}],
    "srgan": [{"crop": 4, "adversarial": 0.5}],
    "supcon": [{"base_temperature": 0.3}],
    "sla": [
        {"distillation": True, "temperature": 2.0},
        {"objective": "augmentation"},
        {"objective": "multi-task"},
        {"expansion": "colour", "total": True},
    ],
    "hydra": [{"probe_gradient": True}],
    "core-tuning": [{"detach": True, "least": 0.3}],
    "conr": [{"density": "inverse"}],
    "protein-rpn": [
        {"proposals": False},
        {"activation": True, "hops": 1, "threshold": 0.2, "coverage": 0.7, "own": True},
    ],
    "genecis": [{"tune": True}, {"dropout": 0.0, "scale": 20.0}],
    "classifier": [{"smoothing": 0.3}],
    "laf": [{"align": False}, {"output": "linear", "temperature": 0.5}],
    "storm": [{"applied": False}, {"passes": 1, "inner_rate": 0.7}],
    "susana-distancia": [{"terms": ("triplet",)}],
}
"""Settings under which the form is compared again."""

CASES = [
    (name, settings) for name in registry.names() for settings in ({}, *VARIANTS.get(name, []))
]


def test_every_method_has_a_plain_form() -> None:
    assert sorted(FORMS) == registry.names()


def _remember(method: Method) -> None:
    """Fill what a run would have filled: running estimates of some samples, a centre, density
    weights, matrices that start at 0, and a teacher that is not the student.
    """
    generator = torch.Generator().manual_seed(5)
    for parameter in method.parameters():
        if parameter.ndim == 2 and not bool(parameter.any()):
            drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data.copy_(drawn)
    for name, parameter in method.named_parameters():
        if name.startswith("teacher.") and not parameter.requires_grad:
            drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data.add_(0.2 * drawn)
    for name, buffer in method.named_buffers():
        if name.rpartition(".")[2] == "estimate":
            seen = method.get_buffer(name.replace("estimate", "seen"))
            seen.copy_(torch.arange(len(seen)) % 2 == 0)
            buffer.copy_(torch.where(seen, 0.5 + torch.rand(len(buffer), generator=generator), 0.0))
        if name == "centre":
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        if name.endswith("groups"):
            buffer.copy_(torch.arange(len(buffer)) % 2)


@pytest.mark.parametrize(
    ("name", "settings"),
    CASES,
    ids=[f"{n}-{'-'.join(map(str, s.values())) or 'small'}" for n, s in CASES],
)
def test_the_loss_and_its_gradient_equal_the_plain_form(
    name: str, settings: dict[str, Any]
) -> None:
    found, gradient = _computed(name, settings, _own_terms)
    of_phase = {phase: set(terms) for phase, terms in found.items()}
    expected, expected_gradient = _computed(
        name,
        settings,
        lambda method, batch, phase: {
            term: value
            for term, value in FORMS[name](method, batch).items()
            if len(of_phase) == 1 or term in of_phase[phase.name]
        },
    )
    _compare(_joined(found), _joined(expected), gradient, expected_gradient)


def _own_terms(method: Method, batch: Batch, phase: Phase) -> dict[str, torch.Tensor]:
    terms: dict[str, torch.Tensor] = getattr(method, phase.loss)(
        getattr(method, phase.forward)(batch)
    )
    return terms


def _joined(by_phase: Mapping[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: value for terms in by_phase.values() for name, value in terms.items()}


def _compare(
    found: dict[str, torch.Tensor],
    expected: dict[str, torch.Tensor],
    gradient: dict[str, torch.Tensor],
    expected_gradient: dict[str, torch.Tensor],
) -> None:
    for term, value in expected.items():
        assert_close(found[term], value, rtol=1e-10, atol=1e-12, msg=f"{term}: ".__add__)
    assert {term for term, value in found.items() if value.requires_grad} == set(expected)
    largest = max(float(value.abs().max()) for value in expected_gradient.values())
    assert gradient.keys() == expected_gradient.keys()
    for parameter, value in expected_gradient.items():
        assert_close(
            gradient[parameter],
            value,
            rtol=1e-8,
            atol=1e-10 * max(largest, 1.0),
            msg=f"gradient of {parameter}: ".__add__,
        )


def _computed(
    name: str, settings: dict[str, Any], compute: Any
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """By phase the terms of a fresh method on its batch, and the gradient of their sum by every
    parameter of the phase that it reaches.
    """
    method, batch = toy(name, settings=settings)
    if batch.label is not None and batch.label.is_floating_point():
        batch.label = batch.label.double()
    method.progress = 0.5
    _remember(method)
    terms = {}
    for phase in method.phases():
        torch.manual_seed(3)
        with moving(method, phase.parameters):
            terms[phase.name] = compute(method, batch, phase)
            total = sum(term for term in terms[phase.name].values() if term.requires_grad)
            total.backward()
    gradients = {
        key: p.grad
        for key, p in method.named_parameters()
        if p.grad is not None and bool(p.grad.any())
    }
    return terms, gradients
