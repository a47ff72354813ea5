"""Every public loss keeps every promise of the battery; a new one without a case fails here."""

from __future__ import annotations

import pytest
import torch

from nearfar.losses.kernels import blocks, similarity_blocks
from nearfar.testing import LOSS_CHECKS
from tests.losses.catalogue import LOSSES, PARTS, case_of, public_functions


def test_every_public_function_is_a_loss_with_a_case_or_a_named_part() -> None:
    losses = {key.split(" ")[0] for key in LOSSES}
    assert not losses & PARTS.keys()
    assert losses | PARTS.keys() == public_functions()


@pytest.mark.parametrize("check", LOSS_CHECKS)
@pytest.mark.parametrize("key", LOSSES)
def test_loss(key: str, check: str) -> None:
    if check in LOSSES[key].skip:
        pytest.skip(LOSSES[key].skip[check])
    LOSS_CHECKS[check](case_of(key))


def value_and_gradients(key: str) -> list[torch.Tensor]:
    case = case_of(key)
    inputs = case.make()
    value = case.value(inputs)
    moving = [
        given
        for given in inputs.values()
        if isinstance(given, torch.Tensor) and given.requires_grad
    ]
    return [value.detach(), *torch.autograd.grad(value, moving)]


@pytest.mark.parametrize("key", LOSSES)
def test_no_case_is_empty(key: str) -> None:
    """A case whose loss is nought with every gradient would pass all checks of the battery."""
    _, *slopes = value_and_gradients(key)
    assert all(float(slope.abs().max()) > 1e-9 for slope in slopes)


@pytest.mark.parametrize("key", LOSSES)
def test_blocks_change_nothing(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = value_and_gradients(key)
    for module in (blocks, similarity_blocks):
        monkeypatch.setattr(module, "block_height", lambda columns, device: 3)
    for found, expected in zip(value_and_gradients(key), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("key", LOSSES)
def test_compile_traces_the_loss_without_a_break(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not LOSSES[key].compiles:
        pytest.skip("the docstring says where the graph breaks")
    for module in (blocks, similarity_blocks):
        monkeypatch.setattr(module, "block_height", lambda columns, device: 4)
    case = case_of(key)
    inputs = case.make()
    moving = [
        given
        for given in inputs.values()
        if isinstance(given, torch.Tensor) and given.requires_grad
    ]
    torch._dynamo.reset()
    value = torch.compile(lambda: case.value(inputs), backend="eager", fullgraph=True)()
    for found, expected in zip(
        [value, *torch.autograd.grad(value, moving)], value_and_gradients(key), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
