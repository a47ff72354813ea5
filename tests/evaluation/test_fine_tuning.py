"""Fine-tuning: what is trained and what stays, and that it repeats."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nearfar import networks
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.kernels.blocks import blocks
from nearfar.evaluation.probes.fine_tuning import (
    RATES,
    Budget,
    Labels,
    divided,
    fine_tune,
    picked_rate,
)
from nearfar.views import plain_view
from tests.networks.specs import images, series, texts

from .toys import Flatten, image_source

SHORT = Budget(steps=30, batch_size=16)


def bars(train: int = 90) -> tuple[Labels, Labels]:
    source = image_source(train=train)
    view = plain_view(source.spec)
    assert source.test is not None
    return tuple(Labels(s, s.label, 3, view) for s in (source.train, source.test))


@pytest.mark.parametrize(
    ("name", "spec", "count"),
    [
        ("small-convnet", images(1, 8, 8), 4),
        ("resnet18", images(3, 32, 32), 9),
        ("vit-micro", images(3, 32, 32), 6),
        ("series-convnet", series(2, 40), 8),
        ("text-transformer", texts(), 6),
    ],
)
def test_blocks_are_convolutions_residual_blocks_and_transformer_blocks(
    name: str, spec, count: int
) -> None:  # type: ignore[no-untyped-def]
    encoder = networks.build(name, spec)
    found = blocks(encoder)
    assert len(found) == count
    assert [p for block in found for p in block] == list(encoder.parameters())
    assert all(any(p.ndim > 1 for p in block) for block in found)


def test_only_the_last_blocks_change_and_frozen_batch_norm_keeps_its_statistics() -> None:
    train, _ = bars()
    encoder = networks.build("small-convnet", images(1, 8, 8)).eval()
    before = copy.deepcopy(encoder.state_dict())
    tuned = fine_tune(encoder, train, last=1, rate=1e-2, budget=SHORT, seed=0)
    after = tuned.model[0].state_dict()  # type: ignore[index]
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items()), (
        "the given encoder is not touched"
    )
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"11", "12"}, "the last convolution and its batch norm"
    everything = fine_tune(encoder, train, rate=1e-2, budget=SHORT, seed=0).model[0].state_dict()
    assert all(not torch.equal(before[name], everything[name]) for name in before)


def test_it_learns_repeats_and_leaves_the_global_state_alone() -> None:
    train, test = bars()
    encoder = networks.build("small-convnet", images(1, 8, 8)).eval()
    state = torch.get_rng_state()
    first, again, other = (
        fine_tune(encoder, train, rate=1e-3, budget=SHORT, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    weights = [fit.model[1].weight for fit in (first, again, other)]  # type: ignore[index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(first.right(test).double().mean()) > 0.9
    assert not first.model.training


def test_the_rate_is_picked_on_training_samples_alone() -> None:
    train, _ = bars()
    encoder = nn.Sequential(Flatten()).eval()
    assert picked_rate(encoder, train, budget=Budget(steps=8, batch_size=16)) > RATES[0], (
        "the lowest rate learns nothing in 8 steps"
    )
    alone = train[torch.tensor([0, 1, 2])]
    assert picked_rate(encoder, alone, budget=SHORT) == RATES[1]


def test_it_stops_when_held_out_samples_gain_nothing_and_keeps_the_best() -> None:
    train, test = bars()
    encoder = networks.build("small-convnet", images(1, 8, 8)).eval()
    fitted, held_out = divided(train, SHORT, seed=0)
    assert held_out is not None
    assert not set(fitted.samples.ids) & set(held_out.samples.ids)
    long = Budget(steps=200, batch_size=16)
    tuned = fine_tune(encoder, fitted, held_out=held_out, rate=1e-3, budget=long, seed=0)
    assert 20 <= tuned.steps <= 140, "bars are learned long before the budget ends"
    assert float(tuned.right(held_out).double().mean()) == 1
    whole = fine_tune(
        encoder, fitted, rate=1e-3, budget=Budget(steps=tuned.steps, batch_size=16), seed=0
    )
    assert whole.steps == tuned.steps
    wrong = Labels(held_out.samples, (held_out.labels + 1) % 3, 3, held_out.view)
    assert fine_tune(encoder, fitted, held_out=wrong, rate=1e-3, budget=long, seed=0).steps < 100
    assert float(tuned.right(test).double().mean()) > 0.9


def test_what_is_held_out_is_bounded_and_may_be_nothing() -> None:
    train, _ = bars()
    held_out = divided(train, Budget(held_out=5), seed=0)[1]
    assert held_out is not None
    assert len(held_out) == 5
    alone = train[torch.tensor([0, 1, 2])]
    assert divided(alone, SHORT, seed=0) == (alone, None)


def test_bfloat16_learns_as_well() -> None:
    train, test = bars()
    encoder = networks.build("small-convnet", images(1, 8, 8)).eval()
    tuned = fine_tune(encoder, train, rate=1e-3, budget=SHORT, seed=0, precision="bfloat16")
    assert float(tuned.right(test).double().mean()) > 0.9
    assert all(p.dtype == torch.float32 for p in tuned.model.parameters())


def test_errors() -> None:
    train, _ = bars()
    with pytest.raises(UserError, match="last blocks to fine-tune is 0"):
        fine_tune(Flatten(), train, last=0, rate=1e-3, budget=SHORT, seed=0)
    with pytest.raises(UserError, match="two classes or more; found one"):
        fine_tune(Flatten(), train[train.labels == 1], rate=1e-3, budget=SHORT, seed=0)


def test_the_protocol_judges_encoders_not_the_raw_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.evaluation.protocols.tuning._BUDGET", SHORT)
    source = image_source()
    found = evaluate(
        Flatten().eval(),
        source,
        plain_view(source.spec),
        baselines={"random encoder": Flatten(8).eval()},
        wanted=Wanted(("fine-tune",), seeds=2),
    )
    assert found.rows() == ["trained", "random encoder"]
    assert found.metrics() == ["fine-tuned accuracy", "fine-tuned accuracy, last block"]
    assert found.value("fine-tuned accuracy") > 0.9
    assert found.score("fine-tuned accuracy").setting.startswith("learning rate 0.0")
