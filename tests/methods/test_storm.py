"""STORM: what the step ahead touches, and what its settings do."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError
from nearfar.methods.labels.storm import STORM
from nearfar.methods.method import Recipe
from nearfar.testing.toys import spec_for, toy, toy_samples
from nearfar.training.loop import fit
from nearfar.training.plan import Plan


def source() -> Source:
    spec = spec_for(STORM)
    content = torch.cat([toy_samples(spec).content] * 4)
    count = len(content)
    label = torch.arange(count) % len(spec.classes)
    samples = Samples(content, [str(number) for number in range(count)], label)
    return Source(dataclasses.replace(spec, length=count), samples, None)


def test_the_step_ahead_leaves_running_statistics_alone() -> None:
    method, batch = toy(STORM)
    before = {name: value.clone() for name, value in method.named_buffers()}
    method.ahead(batch)
    assert_close(dict(method.named_buffers()), before, rtol=0, atol=0)
    method(batch)
    changed = [n for n, value in method.named_buffers() if not torch.equal(value, before[n])]
    assert changed


def test_all_scales_are_1_at_first_and_after_a_step_no_longer() -> None:
    method, batch = toy(STORM)
    assert_close(method(batch)["scale"], torch.ones(len(batch) // 2, dtype=torch.float64))
    optimizer = torch.optim.SGD(method.rescaler.parameters(), lr=1.0)
    sum(method.outer(method.ahead(batch)).values()).backward()
    optimizer.step()
    scale = method(batch)["scale"]
    assert float(scale.std()) > 1e-4
    assert_close(scale.mean(), torch.ones((), dtype=torch.float64))


def test_without_applying_scales_the_model_learns_as_by_cross_entropy() -> None:
    method, batch = toy(STORM, settings={"applied": False})
    method.rescaler[-1].weight.data.normal_()
    outputs = method(batch)
    assert float(outputs["scale"].std()) > 0
    assert_close(method.loss(outputs)["inner"], outputs["loss"].mean())


def test_trust_is_the_same_each_time_and_for_every_order() -> None:
    method, batch = toy(STORM)
    method.rescaler[-1].weight.data.normal_()
    method.eval()
    x, label = batch.views[0], batch.label
    found = method.trust(x, label)
    assert_close(method.trust(x, label), found, rtol=0, atol=0)
    assert_close(method.trust(x.flip(0), label.flip(0)), found.flip(0))


@pytest.mark.parametrize(
    ("plan", "option"),
    [({"gradient_cache": 4}, "--gradient-cache"), ({"accumulate": 2}, "--accumulate")],
)
def test_what_it_cannot_is_refused(plan: dict[str, int], option: str) -> None:
    method, _ = toy(STORM)
    with pytest.raises(UserError, match=option):
        fit(
            method.float(),
            source(),
            method.views(),
            Plan(Recipe(batch_size=12), steps=1, **plan),  # type: ignore[arg-type]
        )


def test_a_batch_without_held_samples_is_refused() -> None:
    method, batch = toy(STORM)
    with pytest.raises(UserError, match="no sample of stream 1"):
        method.ahead(batch[:1])
