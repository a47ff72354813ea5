"""A small method and a small source in memory, for tests of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.batch import Batch
from nearfar.data.spec import Spec
from nearfar.losses.kernels.similarity import own_range
from nearfar.methods.method import Method, Outputs, Paper, Recipe, Summed
from nearfar.networks.encoder import Encoder
from nearfar.views.draws import randn

SPEC = Spec(
    "toy", "series", (2, 8), 24, classes=("a", "b"), target="class", mean=(0.0, 0.0), std=(1.0, 1.0)
)


class ToySamples:
    """24 short series with two classes, held in memory."""

    def __init__(self) -> None:
        self.label: Tensor | None = torch.arange(24) % 2
        generator = torch.Generator().manual_seed(1)
        self.values = torch.randn(24, 2, 8, generator=generator) + self.label[:, None, None]
        self.ids = [str(i) for i in range(24)]
        self.group: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return 24

    def take(self, index: Tensor) -> Tensor:
        return self.values[index]

    def to(self, device: Any) -> ToySamples:
        return self


class ToySource:
    """What ``fit`` needs of a source."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.train = ToySamples()
        self.trained = self.train
        self.test = None


def views(samples: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Two noisy copies."""
    return [samples + 0.1 * randn(samples.shape, generator) for _ in range(2)]


class ToyEncoder(Encoder):
    """A linear map with optional dropout, which draws from the global random state."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dimension = 6
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Dropout(dropout))
        self.architecture = {"name": "toy"}

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features


@dataclass(frozen=True)
class ToySettings:
    """Settings of the toy."""

    scale: float = 1.0


class Toy(Method):
    """Pulls two views together and spreads the batch, through a running mean that ``after_step``
    keeps.
    """

    paper = Paper(title="Toy", authors="Nobody", year=2020)
    Settings = ToySettings
    recipes = {"paper": Recipe(), "small": Recipe()}

    def __init__(self, encoder: Encoder, settings: ToySettings | None = None) -> None:
        super().__init__(encoder, SPEC, settings)
        self.scale = nn.Parameter(torch.ones(()))
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(encoder.dimension))

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = (self.encoder(view) for view in batch.views)
        return {"z1": z1, "pair": (z2, batch.index), "sum": Summed(z1.sum(0))}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        z1 = outputs["z1"]
        (z2, _) = outputs["pair"]
        spread = torch.log_softmax(self.scale * (z1 @ z2.T), dim=1).diagonal().mean()
        drift = (outputs["sum"].value / len(z1) - self.centre).square().sum()
        return {"contrast": -spread, "drift": 0.1 * drift, "seen": torch.tensor(float(len(z1)))}

    def after_step(self, outputs: Outputs) -> None:
        self.centre.lerp_(outputs["sum"].value / len(outputs["z1"]), 0.1)


class SharedToy(Toy):
    """The same method with a loss that takes rows."""

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        z1 = outputs["z1"]
        (z2, _) = outputs["pair"]
        own = own_range(rows, len(z1))
        spread = torch.log_softmax(self.scale * (z1[own] @ z2.T), dim=1).diagonal(own.start)
        drift = (outputs["sum"].value / len(z1) - self.centre).square().sum()
        part = len(spread) / len(z1)
        return {
            "contrast": -spread.sum() / len(z1),
            "drift": 0.1 * part * drift,
            "seen": torch.tensor(float(len(z1))),
        }


class Silent:
    """A callback that does nothing; tests change what they watch."""

    def on_start(self, progress: Any) -> None: ...

    def on_log(self, progress: Any) -> None: ...

    def on_epoch(self, progress: Any, method: Method) -> None: ...

    def on_end(self, progress: Any) -> None: ...
