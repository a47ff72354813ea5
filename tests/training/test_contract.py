"""What a method may ask of the loop beside views: batches, a look at all samples between epochs,
sources of views, groups.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nearfar.batch import Batch, TrainingSet
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.methods.instance.simclr import SimCLR
from nearfar.methods.method import Grouped, Outputs, Recipe, WantedBatches
from nearfar.networks.convnet import SmallConvNet
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import make_views


class Curious(SimCLR):
    """SimCLR that looks at everything before each epoch and groups its batches by what it sees."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.groups: Tensor
        self.register_buffer("groups", torch.zeros(self.spec.length, dtype=torch.int64))
        self.seen: list[tuple[int, tuple[int, ...], bool]] = []
        self.batches: list[Batch] = []

    @property
    def wanted_batches(self) -> WantedBatches:
        return Grouped()

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        features = training_set.features(self.encode)
        self.seen.append((epoch, tuple(features.shape), self.training))
        self.groups.copy_((features[:, 0] > features[:, 0].median()).long())

    def view_sources(
        self, samples: Tensor, index: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        return [samples, 255 - samples]

    def forward(self, batch: Batch) -> Outputs:
        self.batches.append(batch)
        return super().forward(batch)


def source() -> Source:
    spec = Spec(
        "noise",
        "image",
        (1, 8, 8),
        24,
        classes=("a", "b"),
        target="class",
        groups=("who",),
        mean=(0.5,),
        std=(0.25,),
    )
    images = torch.randint(
        0, 256, (24, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    who = torch.arange(24) // 4
    return Source(
        spec, Samples(images, [str(i) for i in range(24)], torch.arange(24) % 2, {"who": who}), None
    )


def method(spec: Spec) -> Curious:
    torch.manual_seed(0)
    return Curious(SmallConvNet(spec, widths=(4, 8)), spec)


def trained(folder: Path, epochs: int, stop_after: int | None = None) -> Curious:
    given = source()
    made = method(given.spec)
    plan = Plan(Recipe(batch_size=6, epochs=epochs), log_every=1)
    views = make_views(given.spec, made.wanted_views)
    if stop_after is None:
        fit(made, given, views, plan, folder)
        return made
    steps = 0

    def stopping(samples: object, generator: torch.Generator) -> list[Tensor]:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return views(samples, generator)

    fit(made, given, stopping, plan, folder)
    return made


def test_the_loop_asks_before_each_epoch_and_batches_follow(tmp_path: Path) -> None:
    made = trained(tmp_path, epochs=2)
    assert made.seen == [
        (0, (24, 8), True),
        (1, (24, 8), True),
    ]  # and the method trains on afterwards
    for batch in made.batches[4:]:
        assert len(made.groups[batch.index].unique()) == 1
    given = source().train
    for batch in made.batches:
        assert given.label is not None
        assert batch.label is not None
        assert torch.equal(batch.label, given.label[batch.index])
        assert torch.equal(batch.extra["who"], given.group["who"][batch.index])


@pytest.mark.parametrize("stop_after", [4, 6])
def test_a_resumed_run_of_such_a_method_is_the_uninterrupted_one(
    tmp_path: Path, stop_after: int
) -> None:
    whole = trained(tmp_path / "whole", epochs=2)
    trained(tmp_path / "parts", epochs=2, stop_after=stop_after)
    resumed = trained(tmp_path / "parts", epochs=2)
    assert 0 < len(resumed.batches) < 8
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
