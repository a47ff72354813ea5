"""``--compile``: a run whose encoder is compiled takes the steps of one whose encoder is not, and
its weights keep their names.
"""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from torch import Tensor

from nearfar.methods.method import Recipe
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from tests.training.toys import Toy, ToyEncoder, ToySource, views


def state_after_a_run(*, compiled: bool) -> dict[str, Tensor]:
    torch.manual_seed(5)
    method = Toy(ToyEncoder())
    plan = Plan(Recipe(learning_rate=0.3, batch_size=12, epochs=2), seed=3)
    fit(method, ToySource(), views, dataclasses.replace(plan, compile=compiled))
    return method.state_dict()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on CPUs"
)
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_encoder_takes_the_same_steps() -> None:
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["frames"]["ok"]
    found = state_after_a_run(compiled=True)
    assert torch._dynamo.utils.counters["frames"]["ok"] > before, "nothing was compiled"
    torch.testing.assert_close(found, state_after_a_run(compiled=False), rtol=1e-5, atol=1e-6)
