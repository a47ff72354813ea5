"""A method of the user's own: what it need not define has a default, and what it lacks is said in
one sentence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nearfar
from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Paper, Recipe
from nearfar.testing import check_method

SMALL = {
    "data": "digits",
    "limit": 60,
    "encoder": "perceptron",
    "steps": 2,
    "batch_size": 16,
    "evaluate": False,
    "quiet": True,
}


class Bare(Method):
    """Neither paper, settings nor recipes."""

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = (self.encoder(view) for view in batch.views)
        return {"z1": z1, "z2": z2}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"pulled": (outputs["z1"] - outputs["z2"]).square().mean()}


class PaperRecipeAlone(Bare):
    paper = Paper(title="Mine", authors="Me", year=2026)
    recipes = {"paper": Recipe(batch_size=8)}


class LossIsATensor(Bare):
    def loss(self, outputs: Outputs) -> Any:
        return outputs["z1"].square().mean()


class TermIsANumber(Bare):
    def loss(self, outputs: Outputs) -> Any:
        return {"pulled": 1.0}


class NothingToLearn(Bare):
    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"pulled": outputs["z1"].detach().mean()}


class OutputIsATensor(Bare):
    def forward(self, batch: Batch) -> Any:
        return self.encoder(batch.views[0])


class NoForward(Method):
    pass


@pytest.mark.parametrize("kind", [Bare, PaperRecipeAlone])
def test_what_is_not_defined_has_a_default(kind: type[Method], tmp_path: Path) -> None:
    made = nearfar.pretrain(kind, output=tmp_path / "run", **SMALL)
    assert type(made.method()) is kind
    check_method(kind, skip=["processes_equal_one"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (LossIsATensor, "LossIsATensor.loss returned a Tensor; expected a dict of named terms"),
        (
            TermIsANumber,
            "TermIsANumber.loss gives 'pulled' as a float; expected a tensor of no axis",
        ),
        (NothingToLearn, "None of the terms of NothingToLearn.loss has a gradient"),
        (OutputIsATensor, "forward returned a Tensor; expected a dict of named outputs"),
        (NoForward, r"NoForward defines no forward\(batch\)"),
    ],
)
def test_what_is_lacking_is_one_sentence_and_leaves_no_folder(
    kind: type[Method], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        nearfar.pretrain(kind, output=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()
    with pytest.raises((AssertionError, UserError)):
        check_method(kind, skip=["processes_equal_one"])


def test_the_estimator_takes_a_class_and_images_as_they_come() -> None:
    from nearfar.sklearn import SelfSupervisedEncoder

    images = torch.randint(0, 256, (40, 8, 8), dtype=torch.uint8).numpy()
    encoder = SelfSupervisedEncoder(Bare, epochs=1, batch_size=16, encoder="perceptron").fit(images)
    assert encoder.spec_.modality == "image"
    assert encoder.spec_.shape == (1, 8, 8)
    colours = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8).numpy()
    assert SelfSupervisedEncoder(Bare, epochs=1, batch_size=16, encoder="perceptron").fit(
        colours
    ).spec_.shape == (3, 8, 8)
