"""Wrong inputs of every loss get one sentence: number types, shapes, missing samples, temperatures,
and numbers that are none.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.testing.inputs import ROWS, cast
from nearfar.testing.loss_case import Inputs, LossCase
from tests.losses.catalogue import LOSSES, case_of


def moving(inputs: Inputs) -> list[str]:
    return [
        name for name, given in inputs.items() if isinstance(given, Tensor) and given.requires_grad
    ]


def floats(inputs: Inputs) -> list[str]:
    return [
        name
        for name, given in inputs.items()
        if isinstance(given, Tensor) and given.is_floating_point()
    ]


def value_or_refusal(case: LossCase, inputs: Inputs) -> Tensor | str:
    """The value; or, where it is refused, the sentence."""
    try:
        return case.value(inputs)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said, f"more than a sentence: {said}"
    assert len(said) < 300, f"too long: {said}"
    assert said.endswith("."), f"not a sentence: {said}"
    return said


def refused(case: LossCase, inputs: Inputs, what: str) -> None:
    found = value_or_refusal(case, inputs)
    assert isinstance(found, str), f"{what} gives {found}"


@pytest.mark.parametrize("key", LOSSES)
def test_integers_are_refused(key: str) -> None:
    case = case_of(key)
    for name in moving(case.make()):
        inputs = case.make()
        inputs[name] = (10 * inputs[name].detach()).long()
        refused(case, inputs, f"int64 as {name}")


@pytest.mark.parametrize("key", LOSSES)
def test_mixed_number_types_are_refused_or_right(key: str) -> None:
    case = case_of(key)
    expected = case.value(case.make()).detach()
    names = floats(case.make())
    for name in names if len(names) > 1 else ():
        inputs = case.make()
        inputs[name] = cast(inputs[name], torch.float32)
        found = value_or_refusal(case, inputs)
        if isinstance(found, str):
            assert "float32" in found, found
        elif not (
            key == "regression_pairs.conr_dense" and name == "target"
        ):  # whose distances fall on the window's edge
            torch.testing.assert_close(found.detach().double(), expected, rtol=1e-4, atol=1e-4)


def wrong_shapes(case: LossCase, name: str) -> Iterator[tuple[str, Tensor]]:
    given = case.make()[name].detach()
    yield "an axis too many", given[None]
    yield "an axis too few", given.select(0, 0) if given.ndim else given


@pytest.mark.parametrize("key", LOSSES)
def test_wrong_numbers_of_axes_are_refused(key: str) -> None:
    case = case_of(key)
    for name in moving(case.make()):
        for what, wrong in wrong_shapes(case, name):
            refused(case, {**case.make(), name: wrong}, f"{what} of {name}")


@pytest.mark.parametrize("key", LOSSES)
def test_other_numbers_of_samples_are_refused(key: str) -> None:
    case = case_of(key)
    tensors = {
        name: given
        for name, given in case.make().items()
        if isinstance(given, Tensor) and ROWS in given.shape
    }
    for name, given in tensors.items() if len(tensors) > 1 else ():
        axis = given.shape.index(ROWS)
        refused(
            case,
            {**case.make(), name: given.detach().narrow(axis, 0, ROWS - 2)},
            f"two samples fewer in {name}",
        )


@pytest.mark.parametrize("key", LOSSES)
def test_no_samples_are_refused(key: str) -> None:
    case = case_of(key)
    if key == "common_salient.alignment":
        assert case.value(case.make(0)) == 0  # as its docstring says: a batch may lack background
        return
    refused(case, case.make(0), "no samples")


@pytest.mark.parametrize(
    "key", [key for key in LOSSES if isinstance(case_of(key).make().get("queue"), Tensor)]
)
def test_an_empty_queue_is_refused(key: str) -> None:
    case = case_of(key)
    inputs = case.make()
    queue = inputs["queue"]
    refused(case, {**inputs, "queue": queue.narrow(queue.ndim - 2, 0, 0)}, "an empty queue")
    refused(case, {**inputs, "queue": queue[..., :-1]}, "a narrower queue")


def temperatures(key: str) -> list[str]:
    """The temperatures of a loss that are numbers or scalars by their meaning."""
    given = LOSSES[key].inputs
    names = inspect.signature(case_of(key).function).parameters
    return [name for name in names if name.endswith("temperature") and name not in given]


HEATED = [(key, name) for key in LOSSES for name in temperatures(key)]
TENSORS = [(key, name) for key, name in HEATED if not key.startswith("individual_temperature")]
"""Those that a scalar tensor may stand for; samples' temperatures are tensors anyway."""


WITHOUT_TEMPERATURE = {
    "behaviour.hard_simple",
    "behaviour.simple",
    "common_salient.attribute_alignment",
    "core_tuning.soft_cross_entropy",
    "direct_predictor.direct_prediction",
    "distillation.byol",
    "distillation.simsiam",
    "episodes.neighbour_score",
    "episodes.prototype_triplet",
    "gaussianity.centre_prediction",
    "gaussianity.sigreg",
    "groco.groco",
    "hints.hint",
    "hints.hint cosine of maps",
    "label_augmentation.label_augmentation",
    "masked.feature_prediction",
    "masked.masked_reconstruction",
    "masked_contrast.masked_contrast",
    "mixed_redundancy.mixed_barlow_twins",
    "mixed_redundancy.mixed_barlow_twins_terms",
    "mixed_redundancy.mixing_regulariser",
    "patches.koleo",
    "pixels.pixpro",
    "redundancy.barlow_twins",
    "redundancy.vicreg",
    "redundancy.vicreg_terms",
    "sketching.visreg_terms",
    "spectral.spectral_contrast",
    "view_quality.weighted_simsiam",
    "relational.rkd_angle",
    "relational.rkd_distance",
}


def test_every_loss_has_a_temperature_or_is_known_to_have_none() -> None:
    without = {
        key for key in LOSSES if key not in dict(HEATED) and "temperature" not in LOSSES[key].inputs
    }
    assert without == WITHOUT_TEMPERATURE


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, "warm", None])
@pytest.mark.parametrize(("key", "name"), HEATED)
def test_wrong_temperatures_are_refused(key: str, name: str, wrong: Any) -> None:
    if LOSSES[key].function is not None and not isinstance(wrong, float):
        pytest.skip("a stand-in divides by the temperature before the loss sees it")
    case = case_of(key)
    refused(case, {**case.make(), name: wrong}, f"{name} = {wrong}")


@pytest.mark.parametrize(("key", "name"), TENSORS)
def test_a_tensor_temperature_keeps_shape_and_type(key: str, name: str) -> None:
    """A scalar in another type changes nothing; a tensor with an axis is refused."""
    case = case_of(key)
    inputs = {given: cast(value, torch.float32) for given, value in case.make().items()}
    refused(case, {**inputs, name: torch.full((1,), 0.3)}, f"{name} of the shape (1,)")
    value = value_or_refusal(case, {**inputs, name: torch.tensor(0.3, dtype=torch.float64)})
    assert isinstance(value, Tensor), value
    assert value.shape == ()
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, case.value({**inputs, name: 0.3}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", LOSSES)
def test_nan_is_never_silent(key: str) -> None:
    """A NaN in any input makes the loss NaN, so that the alarm of the training loop sees it, or is
    refused.
    """
    case = case_of(key)
    for name in floats(case.make()):
        inputs = case.make()
        wrong = inputs[name].detach().clone()
        wrong.view(-1)[0] = math.nan
        inputs[name] = wrong.requires_grad_(inputs[name].requires_grad)
        value = value_or_refusal(case, inputs)
        unread = (key, name) in UNREAD
        assert isinstance(value, str) or value.isnan() or unread, f"NaN in {name} gives {value}"


UNREAD = {
    ("masked_contrast.masked_contrast", "logits"),
    ("regression_pairs.conr two dimensions", "features"),
    ("regression_pairs.conr_dense", "features"),
}
"""Losses in which the first row has no pair here, and counts as 0 whatever it holds."""
