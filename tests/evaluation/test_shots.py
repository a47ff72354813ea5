"""Errors by shots: a loop twin, the borders, and empty groups."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from nearfar.errors import UserError
from nearfar.evaluation import evaluate
from nearfar.evaluation.kernels.shots import shot_errors
from nearfar.evaluation.protocol import Wanted
from nearfar.views import plain_view

from .toys import Flatten, image_source


def test_equals_its_loop() -> None:
    random = torch.Generator().manual_seed(0)
    train = torch.cat(
        [torch.full((n,), float(label)) for label, n in enumerate((150, 101, 100, 20, 19, 0))]
    )
    targets = torch.randint(0, 6, (80,), generator=random).float()
    errors = torch.randn(80, generator=random)
    groups: dict[str, list[float]] = {}
    for error, target in zip(errors.tolist(), targets.tolist(), strict=True):
        seen = sum(label == target for label in train.tolist())
        name = "many" if seen > 100 else "medium" if seen >= 20 else "few"
        groups.setdefault(name, []).append(abs(error))
    groups["all"] = errors.abs().tolist()
    found = shot_errors(errors, targets, train)
    assert set(found) == set(groups)
    for name, sizes in groups.items():
        geometric = math.prod(sizes) ** (1 / len(sizes))
        assert found[name] == pytest.approx(
            (sum(sizes) / len(sizes), geometric, len(sizes)), rel=1e-5
        )


def test_a_group_without_samples_is_left_out_and_a_wider_bin_holds_more() -> None:
    errors = torch.tensor([1.0, -4.0])
    targets = torch.tensor([30.0, 31.0])
    train = torch.full((150,), 30.0)
    assert set(shot_errors(errors, targets, train)) == {"all", "many", "few"}
    assert shot_errors(errors, targets, train)["few"] == (4.0, pytest.approx(4.0), 1)
    wide = shot_errors(errors, targets, train, width=10)
    assert wide["many"] == wide["all"] == (2.5, pytest.approx(2.0), 2)


def test_the_protocol_judges_whole_targets_alone() -> None:
    source = image_source(target="value", train=240, test=60)
    with pytest.raises(
        UserError,
        match="The protocol 'shots' needs targets that are whole numbers, which bars has not",
    ):
        evaluate(Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(("shots",)))
    parts = []
    for samples in (source.train, source.test):
        label = samples.label.round()  # type: ignore[union-attr]
        label[-4:] = 7
        parts.append(dataclasses.replace(samples, label=label))
    rare = dataclasses.replace(source, train=parts[0], test=parts[1])
    found = evaluate(
        Flatten().eval(), rare, plain_view(rare.spec), wanted=Wanted(("shots", "ridge"), seeds=1)
    )
    metrics = [metric for metric in found.metrics() if "shots" in metric]
    assert metrics == [
        "geometric mean error, all shots",
        "mean absolute error, medium shots",
        "geometric mean error, medium shots",
        "mean absolute error, few shots",
        "geometric mean error, few shots",
    ]
    common, seldom = (
        found.value(f"mean absolute error, {group} shots") for group in ("medium", "few")
    )
    assert 0 < common < seldom
    assert (56 * common + 4 * seldom) / 60 == pytest.approx(found.value("mean absolute error"))
    assert found.score("mean absolute error, few shots").setting == "4 test samples"


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"Errors have shape \(2,\), targets \(3,\), the width is 1"
    ):
        shot_errors(torch.zeros(2), torch.zeros(3), torch.zeros(4))
