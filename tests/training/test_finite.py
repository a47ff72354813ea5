"""What is no longer finite is found, whatever holds it and whichever of NaN and infinity it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nearfar.errors import UserError
from nearfar.training.care.finite import bad_terms, check_state


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_term_that_is_not_finite_is_named(value: float) -> None:
    terms = {"good": torch.tensor(1.0), "bad": torch.tensor(value), "other": torch.tensor(math.nan)}
    assert bad_terms(terms) == f"The loss term bad became {value}"
    assert bad_terms({"good": torch.tensor(-1e38)}) == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "name", ["0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"]
)
def test_no_weight_and_no_buffer_is_saved_that_is_not_finite(name: str, value: float) -> None:
    state = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).state_dict()
    check_state(state, 7)
    state[name].view(-1)[-1] = value
    with pytest.raises(UserError, match=f"The weights {name} are not finite after step 7"):
        check_state(state, 7)
