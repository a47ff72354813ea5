"""Under Lightning's Trainer a method takes the steps that it takes in nearfar's own loop."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nearfar import data, networks
from nearfar.data.batches.samplers import EpochSampler
from nearfar.errors import UserError
from nearfar.methods.distillation.byol import BYOL
from nearfar.methods.method import Grouped, Method, Recipe, WantedBatches
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import make_views

lightning = pytest.importorskip("lightning")
RECIPE = Recipe(batch_size=32, epochs=2, learning_rate=1e-3, warmup=0.25)


def method() -> Method:
    source = data.load("digits", limit=96)
    torch.manual_seed(0)
    return BYOL(
        networks.build("perceptron", source.spec),
        source.spec,
        BYOL.Settings(hidden=16, projection=8),
    )


class InOrder(torch.utils.data.Sampler[list[int]]):
    """The batches of nearfar's own loop."""

    def __init__(self, epochs: int) -> None:
        sampler = EpochSampler(96, 32, seed=0)
        self.batches = [
            sampler.batch(epoch, place).tolist()
            for epoch in range(epochs)
            for place in range(len(sampler))
        ]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def test_the_steps_are_those_of_the_own_loop(tmp_path: Path) -> None:
    from nearfar.integrations.lightning import LightningMethod

    source = data.load("digits", limit=96)
    own = method()
    fit(own, source, make_views(source.spec, own.wanted_views), Plan(RECIPE))
    index = torch.arange(96)
    loader = DataLoader(TensorDataset(source.train.take(index), index), batch_sampler=InOrder(2))
    module = LightningMethod(method(), RECIPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning's own: few workers, a short log interval
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, loader)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(
            module.method.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name
        )


def test_what_a_loader_cannot_give_is_refused() -> None:
    from nearfar.integrations.lightning import LightningMethod

    class GroupedBYOL(BYOL):
        @property
        def wanted_batches(self) -> WantedBatches:
            return Grouped()

    made = method()
    made.__class__ = GroupedBYOL
    with pytest.raises(UserError, match="GroupedBYOL needs nearfar's own loop"):
        LightningMethod(made, RECIPE)
