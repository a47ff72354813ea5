"""The battery finds each kind of defect in a method, and says what it found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.batch import Batch
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Paper, Recipe
from nearfar.networks.encoder import Encoder
from nearfar.testing import METHOD_CHECKS, Case, check_method, toy
from nearfar.testing.toys import ROWS


class Sound(Method):
    """Alignment and uniformity: passes everything."""

    @dataclass(frozen=True)
    class Settings:
        """Attributes:
        width: of the projector.
        """

        width: int = 512

    paper = Paper(title="Sound", authors="Nobody", year=2020)
    recipes = {"paper": Recipe(), "small": Recipe()}

    def __init__(self, encoder: Encoder, spec: Spec, settings: Any = None) -> None:
        super().__init__(encoder, spec, settings)
        self.projector = nn.Linear(encoder.dimension, self.settings.width)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(self.settings.width))

    def forward(self, batch: Batch) -> Outputs:
        return {
            name: self.projector(self.encoder(view))
            for name, view in zip(("z1", "z2"), batch.views, strict=True)
        }

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        z1, z2 = (normalize(z - self.centre, dim=1) for z in outputs.values())
        spread = torch.logsumexp(2 * z1 @ z2.T, dim=(0, 1))
        return {"alignment": (z1 - z2).square().mean(), "spread": spread}

    def after_step(self, outputs: Outputs) -> None:
        self.centre.lerp_(outputs["z1"].mean(0), 0.5)


class WithoutRows(Sound):
    def forward(self, batch: Batch) -> Outputs:
        return {**super().forward(batch), "mean": self.projector.weight.mean(0)}


class OwnStatistics(Sound):
    """Standardises by the statistics of its own process."""

    def forward(self, batch: Batch) -> Outputs:
        return {name: z - z.mean(0) for name, z in super().forward(batch).items()}


class Unused(Sound):
    def __init__(self, encoder: Encoder, spec: Spec, settings: Any = None) -> None:
        super().__init__(encoder, spec, settings)
        self.idle = nn.Linear(2, 2, bias=False)


class WrongGradient(Sound):
    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        value = super().loss(outputs)["spread"]
        return {"spread": value + value.detach()}


class Random(Sound):
    """Draws from a source of its own, that nobody seeds."""

    generator = torch.Generator()

    def forward(self, batch: Batch) -> Outputs:
        return {
            name: z + torch.randn(z.shape, generator=self.generator)
            for name, z in super().forward(batch).items()
        }


class Forgetful(Sound):
    """Keeps its centre where no checkpoint sees it."""

    def __init__(self, encoder: Encoder, spec: Spec, settings: Any = None) -> None:
        super().__init__(encoder, spec, settings)
        del self.centre
        self.centre = torch.zeros(self.settings.width, dtype=torch.float64)


class Meddling(Sound):
    def forward(self, batch: Batch) -> Outputs:
        batch.views[0].mul_(2)
        return super().forward(batch)


class NotANumber(Sound):
    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {
            "deviation": outputs["z1"].std(0, correction=0).log().mean(),
            "rest": outputs["z2"].sum(),
        }


DEFECTS = {
    "runs": [
        (WithoutRows, r"an output is \(8,\); expected 11 rows or Summed"),
        (Meddling, "forward changes a view in place"),
    ],
    "gradient_reaches_parameters": [(Unused, r"no gradient reaches ['idle.weight']")],
    "gradient_matches_differences": [(WrongGradient, "by its gradient the loss changes by")],
    "repeats": [(Random, "the same seed gives other steps")],
    "resumes": [(Forgetful, "the step after resuming is another")],
    "gradient_cache_equals_plain": [(OwnStatistics, "the gradient cache takes another step")],
    "few_samples_are_right_or_refused": [
        (NotANumber, "with one sample the loss term deviation is not finite")
    ],
    "processes_equal_one": [(OwnStatistics, "process 0 of 2 differs from one process")],
}


@pytest.mark.parametrize("check", METHOD_CHECKS)
def test_a_sound_method_passes(check: str) -> None:
    METHOD_CHECKS[check](Case(Sound))


@pytest.mark.parametrize(
    ("check", "method", "message"),
    [(c, *found) for c, defects in DEFECTS.items() for found in defects],
)
def test_a_defect_is_found(check: str, method: type[Method], message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message) if "[" in message else message):
        METHOD_CHECKS[check](Case(method))


def test_check_method_names_the_method_and_the_check() -> None:
    with pytest.raises(
        AssertionError,
        match=r"tests.testing.test_methods:Unused fails gradient_reaches_parameters: no gradient",
    ):
        check_method(Unused, modality="series")


def test_what_is_known_can_be_left_out() -> None:
    """Not the processes again: they take seconds."""
    check_method(Unused, skip=["processes_equal_one"], without_gradient=["idle.weight"])
    with pytest.raises(UserError, match=r"Unknown check 'repeat': did you mean repeats"):
        check_method(Sound, skip=["repeat"])


def test_a_method_of_the_main_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sound, "__module__", "__main__")
    with pytest.raises(
        UserError,
        match="Other processes cannot import Sound from the main script; move it into a file",
    ):
        METHOD_CHECKS["processes_equal_one"](Case(Sound))


def test_a_toy_is_small_seeded_and_of_its_modality() -> None:
    first, batch = toy(Sound)
    second, again = toy(Sound, seed=1)
    assert first.settings.width == 24
    assert toy(Sound, settings={"width": 100})[0].settings.width == 100
    assert len(batch) == ROWS
    assert not torch.equal(first.projector.weight, second.projector.weight)
    assert torch.equal(batch.views[0], again.views[0])
    assert toy(Sound, "series")[1].views[0].shape[:2] == (ROWS, 2)
    with pytest.raises(UserError, match=r"Unknown modality 'images': did you mean image"):
        toy(Sound, "images")


def test_a_toys_labels_are_of_the_kind_that_the_method_needs() -> None:
    assert toy("supcon")[1].label.dtype == torch.int64  # type: ignore[union-attr]
    assert toy("conr")[1].label.dtype == torch.float32  # type: ignore[union-attr]
    _, episode = toy("susana-distancia")
    assert torch.equal(episode.label.view(3, 3), episode.label[::3, None].expand(3, 3))


def test_making_a_toy_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    toy("simclr")
    assert torch.equal(torch.get_rng_state(), before)
