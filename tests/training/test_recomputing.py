"""Blocks that are computed again: the same run to the bit, with fewer tensors kept."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nearfar import collectives, modalities, networks
from nearfar.cli import main
from nearfar.methods.method import Method, Recipe
from nearfar.networks.encoder import Encoder
from nearfar.testing import on_processes
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.recomputing import Recomputed, recompute
from tests.training.test_loop_processes import same_views
from tests.training.toys import Toy, ToyEncoder, ToySource, views

PLAN = Plan(Recipe(learning_rate=0.1, batch_size=8, epochs=2), seed=3)


class Block(nn.Module):
    """A layer with running statistics and draws, beside a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(16)
        self.layer = nn.Linear(16, 16)
        self.dropout = nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.dropout(self.layer(self.norm(x)).tanh())
        return out


class Blocks(ToyEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), Block(), Block(), nn.Linear(16, 6))


def toy() -> Toy:
    torch.manual_seed(5)
    return Toy(Blocks())


def state_of(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"gradient_cache": 4}, {"precision": "bfloat16"}], ids=str
)
def test_a_run_is_the_same_to_the_bit(changes: dict[str, object]) -> None:
    kept, again = toy(), toy()
    plan = dataclasses.replace(PLAN, **changes)
    fit(kept, ToySource(), views, plan)
    fit(again, ToySource(), views, dataclasses.replace(plan, recompute=True))
    assert [isinstance(part, Recomputed) for part in again.encoder.layers] == [
        False,
        True,
        True,
        False,
    ]
    for name, value in state_of(kept).items():
        assert torch.equal(value, state_of(again)[name]), name


def bytes_kept(encoder: Encoder, x: Tensor) -> int:
    """Bytes of activations that a forward pass keeps for the backward pass."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = encoder(x)
    assert kept.requires_grad
    return sum(seen.values())


@pytest.mark.parametrize(("name", "share"), [("vit-micro", 0.25), ("resnet18", 0.5)])
def test_less_is_kept(name: str, share: float) -> None:
    spec = dataclasses.replace(modalities.get("image").toy, shape=(3, 32, 32))
    encoder = networks.build(name, spec)
    x = torch.randn(4, 3, 32, 32)
    before = bytes_kept(encoder, x)
    recompute(encoder)
    assert 0 < bytes_kept(encoder, x) < share * before


def test_a_copy_recomputes_its_own_blocks() -> None:
    method = toy()
    recompute(method.encoder)
    copied = copy.deepcopy(method.encoder)
    x = torch.randn(4, 2, 8)
    copied(x).sum().backward()
    assert all(parameter.grad is None for parameter in method.encoder.parameters())
    assert all(parameter.grad is not None for parameter in copied.parameters())


def on_several() -> list[dict[str, Tensor]]:
    """What runs give that keep, recompute, and recompute divided; called on every process."""
    found = []
    for options in ({}, {"recompute": True}, {"recompute": True, "shard": True}):
        torch.manual_seed(5)
        method = Toy(Blocks()).double()
        folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
        plan = Plan(Recipe(learning_rate=0.1, batch_size=11, epochs=2), seed=3, **options)
        fit(method, ToySource(), same_views, plan, folder)
        found.append(state_of(method))
    return found


@pytest.mark.slow
def test_several_processes_recompute_as_one() -> None:
    expected = on_several()
    for result in on_processes(on_several, counts=(2,))[2]:
        torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encoder", "perceptron"], "The encoder perceptron has no blocks whose activations"),
        (["--compile"], "Options activation_checkpointing and compile were both given"),
    ],
)
def test_what_cannot_be_recomputed_is_refused_before_anything_is_written(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["simclr", "--data", "digits", "--limit", "64", "--activation-checkpointing"]
    assert main(["pretrain", *given, *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
