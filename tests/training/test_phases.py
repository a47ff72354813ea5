"""Phases: what is due, that each moves its own parameters alone, two optimisers, exact resume, and
several processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, mse_loss

from nearfar.batch import Batch
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Phase, Recipe
from nearfar.networks.encoder import Encoder
from nearfar.testing import METHOD_CHECKS, Case, check_method
from nearfar.testing.toys import toy
from nearfar.training.gradients import gradients
from nearfar.training.loop import fit
from nearfar.training.phases import Optimizers, due, moving
from nearfar.training.plan import Plan

from . import toys
from .toys import SPEC, ToyEncoder, ToySource, views


class Adversary(Method):
    """An encoder makes features that a critic cannot tell from noise, and a decoder-less pull keeps
    two views together.
    """

    def __init__(self, encoder: Encoder, spec: Spec, settings: Any = None) -> None:
        super().__init__(encoder, spec, settings)
        self.critic = nn.Sequential(nn.Linear(encoder.dimension, 5), nn.Tanh(), nn.Linear(5, 1))
        self.told: list[set[str]] = []

    def phases(self) -> list[Phase]:
        return [
            Phase(
                "critic",
                tuple(self.critic.parameters()),
                "judge",
                "critic_loss",
                recipe={"learning_rate": 0.2},
            ),
            Phase("encoder", tuple(self.encoder.parameters()), "pull", "encoder_loss"),
        ]

    def judge(self, batch: Batch) -> Outputs:
        z = self.encoder(batch.views[0])
        target = torch.linspace(-1, 1, z.shape[1], dtype=z.dtype, device=z.device).expand_as(z)
        return {"real": self.critic(target)[:, 0], "made": self.critic(z)[:, 0]}

    def critic_loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"judged": -(logsigmoid(outputs["real"]) + logsigmoid(-outputs["made"])).mean()}

    def pull(self, batch: Batch) -> Outputs:
        z1, z2 = (self.encoder(view) for view in batch.views)
        return {"z1": z1, "z2": z2, "made": self.critic(z1)[:, 0]}

    def encoder_loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {
            "pulled": mse_loss(outputs["z1"], outputs["z2"]),
            "deceives": -logsigmoid(outputs["made"]).mean(),
        }

    def after_step(self, outputs: Outputs) -> None:
        self.told.append(set(outputs))


RECIPE = Recipe(optimizer="adamw", learning_rate=0.3, batch_size=8, epochs=3)
PLAN = Plan(RECIPE, seed=3)


def adversary() -> Adversary:
    torch.manual_seed(5)
    return Adversary(ToyEncoder(), SPEC)


def _weights(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def _moved(before: list[Tensor], module: nn.Module) -> bool:
    return not all(
        torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)
    )


def test_a_phase_moves_its_own_parameters_and_no_others() -> None:
    method = adversary()
    optimizers = Optimizers(method, RECIPE)
    batch = Batch(
        views(ToySource().train.values[:8], torch.Generator().manual_seed(0)), torch.arange(8)
    )
    for phase, own, other in zip(
        method.phases(),
        (method.critic, method.encoder),
        (method.encoder, method.critic),
        strict=True,
    ):
        before_own = _weights(own)
        before_other = _weights(other)
        optimizers.of(phase).zero_grad()
        with moving(method, phase.parameters):
            gradients(method, method, phase, batch, PLAN)
        optimizers.of(phase).step()
        assert _moved(before_own, own)
        assert not _moved(before_other, other)
        assert all(parameter.requires_grad for parameter in method.parameters())


def test_what_stands_still_passes_gradients_on() -> None:
    """The critic's weights take no gradient while the encoder learns to deceive it, but the
    encoder's do, through it.
    """
    method = adversary()
    batch = Batch(
        views(ToySource().train.values[:8], torch.Generator().manual_seed(0)), torch.arange(8)
    )
    encoder_phase = method.phases()[1]
    with moving(method, encoder_phase.parameters):
        outputs = method.pull(batch)
        method.encoder_loss(outputs)["deceives"].backward()
    assert all(parameter.grad is None for parameter in method.critic.parameters())
    assert all(parameter.grad is not None for parameter in method.encoder.parameters())


def test_the_loop_takes_every_phase_and_logs_each_under_its_name(tmp_path: Path) -> None:
    method = adversary()
    seen: list[dict[str, float]] = []

    class Log(toys.Silent):
        def on_log(self, progress: Any) -> None:
            seen.append(dict(progress.terms))

    fit(method, ToySource(), views, dataclasses.replace(PLAN, log_every=1), tmp_path, [Log()])
    assert set(seen[0]) == {"critic", "judged", "encoder", "pulled", "deceives", "loss"}
    assert seen[0]["loss"] == pytest.approx(seen[0]["critic"] + seen[0]["encoder"])
    assert method.told[0] == {"real", "made", "z1", "z2"}


def test_two_optimisers_resume_to_the_bit(tmp_path: Path) -> None:
    whole = adversary()
    parts = adversary()
    resumed = adversary()
    plan = dataclasses.replace(PLAN, steps=9, checkpoint_minutes=0.0)
    fit(whole, ToySource(), views, plan, tmp_path / "whole")

    class Stop(toys.Silent):
        def on_log(self, progress: Any) -> None:
            if progress.step == 5:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(
            parts,
            ToySource(),
            views,
            dataclasses.replace(plan, log_every=1),
            tmp_path / "parts",
            [Stop()],
        )
    fit(resumed, ToySource(), views, plan, tmp_path / "parts")
    expected = whole.state_dict()
    found = resumed.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_each_phase_has_its_optimiser_and_recipe() -> None:
    method = adversary()
    optimizers = Optimizers(method, RECIPE)
    critic, encoder = (optimizers.of(phase) for phase in method.phases())
    assert critic is not encoder
    assert critic.param_groups[0]["lr"] == pytest.approx(0.2 * 8 / 256)
    assert encoder.param_groups[0]["lr"] == pytest.approx(0.3 * 8 / 256)
    assert list(optimizers.state_dict()) == ["critic", "encoder"]


class Shared(Adversary):
    """Three updates, of which the first and the last share an optimiser."""

    def phases(self) -> list[Phase]:
        encoder = tuple(self.encoder.parameters())
        return [
            Phase("pull", encoder, "pull", "encoder_loss", optimizer="encoder"),
            Phase(
                "critic", tuple(self.critic.parameters()), "judge", "critic_loss", times=2, every=3
            ),
            Phase("again", encoder, "pull", "encoder_loss", optimizer="encoder", since=0.5),
        ]


def test_phases_may_share_an_optimiser() -> None:
    torch.manual_seed(5)
    method = Shared(ToyEncoder(), SPEC)
    optimizers = Optimizers(method, RECIPE)
    first, critic, last = (optimizers.of(phase) for phase in method.phases())
    assert first is last
    assert critic is not first
    fit(method, ToySource(), views, dataclasses.replace(PLAN, steps=4))


@pytest.mark.parametrize(
    ("step", "progress", "expected"),
    [
        (0, 0.0, ["pull", "critic", "critic"]),
        (1, 0.25, ["pull"]),
        (3, 0.5, ["pull", "critic", "critic", "again"]),
        (5, 1.0, ["pull", "again"]),
    ],
)
def test_what_is_due(step: int, progress: float, expected: list[str]) -> None:
    assert [
        phase.name for phase in due(Shared(ToyEncoder(), SPEC).phases(), step, progress)
    ] == expected


def test_a_phase_ends_where_it_says() -> None:
    phase = Phase("warm-up", (), until=0.2)
    assert list(due([phase], 0, 0.19)) == [phase]
    assert list(due([phase], 0, 0.2)) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"times": 0}, "times of the phase x is 0; expected a whole number from 1"),
        ({"since": 1.5}, "since of the phase x is 1.5; expected a number from 0 to 1"),
        ({"until": 0.0}, "until of the phase x is 0.0; expected a number above 0"),
        (
            {"recipe": {"learning_rat": 1}},
            "Unknown name in the recipe of the phase x 'learning_rat': did you mean learning_rate",
        ),
    ],
)
def test_wrong_phases_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Phase("x", (), **values)


def test_what_no_phase_moves_is_named() -> None:
    class Forgets(Adversary):
        def phases(self) -> list[Phase]:
            return super().phases()[:1]

    with pytest.raises(
        UserError, match=r"The parameter encoder\..* learns but is in none of the phases of Forgets"
    ):
        Optimizers(Forgets(ToyEncoder(), SPEC), RECIPE)


class Refuses(Adversary):
    cannot: ClassVar[Mapping[str, str]] = {
        "shard": "its inner step needs whole parameters",
        "cache": "it differentiates inside forward",
        "accumulate": "of the same",
        "ahead": "its views change with every step",
    }


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"shard": True}, "--shard"),
        ({"gradient_cache": 4}, "--gradient-cache"),
        ({"accumulate": 2}, "--accumulate"),
    ],
)
def test_what_a_method_cannot_is_refused_with_its_reason(
    change: dict[str, Any], option: str
) -> None:
    method = Refuses(ToyEncoder(), SPEC)
    with pytest.raises(UserError, match=f"Refuses cannot be trained with {option}, because "):
        fit(method, ToySource(), views, dataclasses.replace(PLAN, **change))
    fit(method, ToySource(), views, dataclasses.replace(PLAN, steps=2))


def test_the_battery_takes_methods_of_several_phases_on_several_processes() -> None:
    check_method(Adversary, modality="image")


class MovesAll(Adversary):
    """Declares all parameters for its first phase, whose loss should move the critic alone."""

    def phases(self) -> list[Phase]:
        return [
            Phase("critic", tuple(self.critic.parameters()), "judge", "critic_loss"),
            Phase("encoder", (), "pull", "encoder_loss"),
        ]


def test_the_battery_notices_a_phase_that_moves_nothing() -> None:
    with pytest.raises((AssertionError, UserError), match="encoder"):
        METHOD_CHECKS["phases_move_their_own"](Case(MovesAll, "image"))


def test_every_toy_is_covered() -> None:
    method, _ = toy(Adversary, "image")
    assert len(Optimizers(method, RECIPE).each()) == 2
