"""What holds for every method: it builds, its loss is finite, and its gradient reaches what should
learn and nothing else.
"""

from __future__ import annotations

import pytest
import torch

from nearfar.methods import registry
from nearfar.methods.method import Method, Outputs, Streams, Summed
from nearfar.targets.momentum import MomentumEncoder
from nearfar.training.phases import moving

from .toys import SAMPLES, batch_for, build

METHODS = registry.names()


def _step(method: Method) -> tuple[dict[str, torch.Tensor], Outputs]:
    """Forward, loss and backward of every phase."""
    batch = batch_for(method)
    outputs: Outputs = {}
    terms: dict[str, torch.Tensor] = {}
    for phase in method.phases():
        with moving(method, phase.parameters):
            found = getattr(method, phase.forward)(batch)
            own = getattr(method, phase.loss)(found)
            torch.stack([term for term in own.values() if term.requires_grad]).sum().backward()
        outputs |= found
        terms |= own
    return terms, outputs


@pytest.mark.parametrize("name", METHODS)
def test_builds_with_the_papers_settings_on_large_data(name: str) -> None:
    kind = registry.get(name)
    with torch.device("meta"):
        method = build(kind, dict(kind.recipes["paper"].settings), length=1_300_000)
    assert all(p.is_meta for p in method.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_loss_is_finite_and_gradient_reaches_exactly_what_learns(name: str) -> None:
    kind = registry.get(name)
    method = build(kind, dict(kind.recipes["small"].settings)).train()
    terms, _ = _step(method)
    assert all(value.isfinite() and value.ndim == 0 for value in terms.values())
    copies = {
        id(p) for m in method.modules() if isinstance(m, MomentumEncoder) for p in m.parameters()
    }
    for label, parameter in method.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), label
        if id(parameter) in copies:
            assert not parameter.requires_grad, label
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped})
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}


@pytest.mark.parametrize("name", METHODS)
def test_outputs_have_a_row_for_each_sample(name: str) -> None:
    kind = registry.get(name)
    method = build(kind, dict(kind.recipes["small"].settings)).train()
    for label, value in _step(method)[1].items():
        if not isinstance(value, Summed):
            wanted = method.wanted_batches
            parts = len(wanted.sizes) if isinstance(wanted, Streams) else 1
            assert len(value) in (SAMPLES, SAMPLES // parts), label


@pytest.mark.parametrize("name", METHODS)
def test_the_step_ends_without_touching_learned_parameters_or_building_a_graph(name: str) -> None:
    kind = registry.get(name)
    method = build(kind, dict(kind.recipes["small"].settings)).train()
    _, outputs = _step(method)
    method.progress = 0.5
    for phase in method.phases():
        method.after_backward(phase.name)
    before = {
        label: p.detach().clone() for label, p in method.named_parameters() if p.requires_grad
    }
    with torch.no_grad():
        method.after_step(outputs)
    for label, parameter in method.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.detach(), before[label])
    assert not any(buffer.requires_grad for buffer in method.buffers())


@pytest.mark.parametrize("name", METHODS)
def test_encode_gives_the_encoders_features(name: str) -> None:
    kind = registry.get(name)
    method = build(kind, dict(kind.recipes["small"].settings)).eval()
    features = method.encode(batch_for(method).views[0])
    assert features.shape == (SAMPLES, method.encoder.dimension)
