"""What ``end_to_end`` and ``to_accuracy`` run: nearfar's loop, lightly's documented one and the
bound, with the same encoder and images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar import data
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.methods import registry
from nearfar.methods.method import Method, Recipe
from nearfar.networks.encoder import Encoder
from nearfar.training.care.bound import encoder_alone
from nearfar.training.care.memory import freed_memory_kept
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.training.progress import Progress

BATCH = 256
WIDTHS = (32, 64, 128, 256)
Now = Callable[[Encoder], float]
"""The time after a step; who asks may look at the encoder."""

RECIPE = Recipe(optimizer="sgd", learning_rate=0.06, batch_size=BATCH, epochs=1)


class FullResolution(Encoder):
    """Four convolutions with batch norm and ReLU, a halving after each but the last, an average
    over the last map.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.layers = nn.Sequential(*layers[:-1])
        self.dimension = WIDTHS[-1]
        self.architecture = {"name": "full-resolution"}

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x).mean(dim=(2, 3))
        return found


class Clock:
    """A callback that notes the time after each step."""

    def __init__(self, now: Now, encoder: Encoder) -> None:
        self.now = now
        self.encoder = encoder
        self.ticks: list[float] = []

    def on_start(self, progress: Progress) -> None:
        pass

    def on_log(self, progress: Progress) -> None:
        self.ticks.append(self.now(self.encoder))

    def on_epoch(self, progress: Progress, method: Method) -> None:
        pass

    def on_end(self, progress: Progress) -> None:
        pass


def source_of(folder: Path | None, count: int) -> Source:
    """CIFAR-10's first images, or random ones of its size."""
    if folder is not None:
        return data.load(folder, limit=count)
    images = torch.randint(
        0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    spec = Spec("random", "image", (3, 32, 32), count, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Source(spec, Samples(images, [str(i) for i in range(count)], None), None)


def simclr(spec: Spec) -> Method:
    torch.manual_seed(0)
    kind = registry.get("simclr")
    return kind(FullResolution(), spec, kind.Settings(hidden=512, temperature=0.5))


def with_nearfar(
    source: Source, precision: str, now: Now, workers: int = 0, recipe: Recipe = RECIPE
) -> Callable[[int], list[float]]:
    method = simclr(source.spec)
    views = method.views()

    def run(steps: int) -> list[float]:
        clock = Clock(now, method.encoder)
        fit(
            method,
            source,
            views,
            Plan(recipe, steps=steps, precision=precision, log_every=1),
            callbacks=[clock],
        )
        return np.diff(clock.ticks).tolist()

    return run


class Pictures(torch.utils.data.Dataset[Any]):
    """Images as torchvision's CIFAR-10 hands them out: a PIL image made from an array,
    transformed.
    """

    def __init__(self, images: Tensor, transform: Callable[[Any], Any]) -> None:
        self.arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[index])), 0


def with_lightly(
    source: Source, precision: str, now: Now, workers: int = 0
) -> Callable[[int], list[float]]:
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    torch.manual_seed(0)
    encoder = FullResolution()
    model = nn.Sequential(encoder, SimCLRProjectionHead(WIDTHS[-1], 512, 128))
    transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)
    pictures = Pictures(source.train.take(torch.arange(len(source.train))), transform)
    loader = torch.utils.data.DataLoader(
        pictures, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers
    )
    criterion = NTXentLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.06)

    def run(steps: int) -> list[float]:
        ticks: list[float] = []
        while len(ticks) < steps:
            for (x0, x1), _ in loader:
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    z0 = model(x0)
                    z1 = model(x1)
                    loss = criterion(z0, z1)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                ticks.append(now(encoder))
                if len(ticks) == steps:
                    break
        return np.diff(ticks).tolist()

    return run


def with_bound(
    source: Source, precision: str, now: Now, workers: int = 0
) -> Callable[[int], list[float]]:
    method = simclr(source.spec).to(memory_format=torch.channels_last)
    made = method.views()(source.train.take(torch.arange(BATCH)), torch.Generator().manual_seed(0))
    made = [view.contiguous(memory_format=torch.channels_last) for view in made]
    step = encoder_alone(method, made, Plan(RECIPE, precision=precision))
    assert step is not None

    def run(steps: int) -> list[float]:
        ticks = []
        with freed_memory_kept(torch.device("cpu")):  # as in the loop, so that the bound is one
            for _ in range(steps):
                step()
                ticks.append(now(method.encoder))
        return np.diff(ticks).tolist()

    return run
