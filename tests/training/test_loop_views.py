"""Random views, what hooks draw and dropout are the same on one process and on several, also for
batches in parts.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import collectives
from nearfar.batch import Batch, Place
from nearfar.data.batches.samplers import parts_of, place_of
from nearfar.data.spec import Spec
from nearfar.methods import registry
from nearfar.methods.method import Method, Recipe
from nearfar.networks.convnet import SmallConvNet
from nearfar.testing import on_processes
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import WantedViews, make_views
from nearfar.views.draws import PartGenerator, randn
from tests.training.toys import Toy, ToyEncoder, ToySource

RECIPE = Recipe(learning_rate=0.3, batch_size=11, epochs=2)
PLANS = {
    "whole": Plan(RECIPE, seed=3),
    "in parts": Plan(RECIPE, seed=3, accumulate=3),
    "cached": Plan(RECIPE, seed=3, gradient_cache=2),
}


def noisy(samples: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Two noisy copies, drawn as views are to be drawn."""
    return [samples.double() + 0.1 * randn(samples.shape, generator).double() for _ in range(2)]


class Meeting(Toy):
    """Each sample's second view is mixed with that of another, drawn without regard to
    processes.
    """

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        first, second = batch.views
        partner = torch.randperm(len(batch), generator=generator)
        return dataclasses.replace(batch, views=[first, (second + second[partner]) / 2])


def toy_runs() -> dict[str, dict[str, Tensor]]:
    """The weights after a run of each plan with random views and dropout; called on every
    process.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for (name, plan), kind in itertools.product(PLANS.items(), (Toy, Meeting)):
        torch.manual_seed(5)
        method = kind(ToyEncoder(dropout=0.0 if plan.gradient_cache else 0.5)).double()
        fit(method, ToySource(), noisy, dataclasses.replace(plan))
        found[f"{name}, {kind.__name__}"] = {
            key: value.clone() for key, value in method.state_dict().items()
        }
    return found


@pytest.mark.slow
def test_runs_with_random_views_are_the_same_on_several_processes() -> None:
    expected = toy_runs()
    for results in on_processes(toy_runs, counts=(2, 3)).values():
        for result in results:
            torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


IMAGES = Spec(
    "noise",
    "image",
    (3, 16, 16),
    24,
    classes=("a", "b"),
    target="class",
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
)


class NoiseImages:
    """24 random images, held in memory."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.values = torch.randint(256, (24, 3, 16, 16), generator=generator, dtype=torch.uint8)
        self.label: Tensor | None = torch.arange(24) % 2
        self.ids = [str(i) for i in range(24)]
        self.group: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return 24

    def take(self, index: Tensor) -> Tensor:
        return self.values[index]

    def to(self, device: Any) -> NoiseImages:
        return self


class NoiseSource:
    """What ``fit`` needs of a source."""

    def __init__(self) -> None:
        self.spec = IMAGES
        self.train = NoiseImages()
        self.trained = self.train
        self.test = None


HOOKED = {
    "simclr": {"hidden": 16, "projection": 8},
    "mixed-barlow-twins": {"hidden": 16, "projection": 8},
    "hallucinator": {"host": "simclr", "hidden": 16, "projection": 8, "bottleneck": 8, "queue": 32},
    "genview": {"host_recipe": "small", "generator_steps": 3, "latent": 4},
    "scatsimclr": {"hidden": 16, "projection": 8, "dropout": 0.5},
}


def hooked_runs() -> dict[str, dict[str, Tensor]]:
    """The weights after a short run of each method that draws or looks around before it embeds;
    called on every process.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, settings in HOOKED.items():
        torch.manual_seed(5)
        kind = registry.get(name)
        method: Method = kind(
            SmallConvNet(IMAGES, widths=(4, 8)), IMAGES, kind.Settings(**settings)
        ).double()
        views = make_views(IMAGES, method.wanted_views)

        def made(samples: Any, generator: torch.Generator, views: Any = views) -> list[Tensor]:
            return [view.double() for view in views(samples, generator)]

        fit(
            method,
            NoiseSource(),
            made,
            Plan(Recipe(learning_rate=0.1, batch_size=11, epochs=1), seed=3),
        )
        found[name] = {key: value.clone() for key, value in method.state_dict().items()}
    return found


@pytest.mark.slow
def test_methods_that_draw_before_they_embed_are_the_same_on_two_processes() -> None:
    expected = hooked_runs()
    (results,) = on_processes(hooked_runs, counts=(2,)).values()
    for result in results:
        for name in HOOKED:
            torch.testing.assert_close(
                result[name], expected[name], rtol=1e-6, atol=1e-8, msg=f"{name}: {{}}".format
            )


SPECS = {
    "image": (IMAGES, torch.uint8),
    "series": (Spec("s", "series", (2, 32), 12, mean=(0.0,) * 2, std=(1.0,) * 2), torch.float32),
    "audio": (Spec("a", "audio", (8, 32), 12, mean=(0.0,) * 8, std=(1.0,) * 8), torch.float32),
    "points": (Spec("p", "points", (3, 32), 12, mean=(0.0,) * 3, std=(1.0,) * 3), torch.float32),
    "video": (
        Spec("v", "video", (3, 2, 16, 16), 12, mean=(0.5,) * 3, std=(0.25,) * 3),
        torch.uint8,
    ),
}


@pytest.mark.parametrize("modality", SPECS)
def test_views_of_a_part_are_the_part_of_the_views(modality: str) -> None:
    spec, dtype = SPECS[modality]
    shape = (12, *spec.shape)
    samples = torch.randint(256, shape, dtype=dtype) if dtype == torch.uint8 else torch.randn(shape)
    views = make_views(spec, WantedViews(whole=2, local=1, noise=5))
    whole = views(samples, PartGenerator(7))
    rows = torch.tensor([1, 4, 5, 11])
    part = views(samples[rows], PartGenerator(7, Place(rows, 12)))
    for found, expected in zip(part, whole, strict=True):
        torch.testing.assert_close(found, expected[rows])
    other = views(samples[rows], PartGenerator(7))
    assert not torch.equal(other[0], part[0]), "rows that draw by themselves draw something else"


@pytest.mark.parametrize(
    ("total", "parts", "world"), [(12, 3, 2), (11, 3, 2), (11, 2, 4), (7, 1, 3), (5, 4, 3)]
)
def test_processes_share_every_part(total: int, parts: int, world: int) -> None:
    batch = Batch([torch.arange(total)], torch.arange(total))
    expected = [part.index.tolist() for part in parts_of(batch, parts)]
    shares = []
    for rank in range(world):
        place = place_of(total, parts, rank, world)
        assert place is not None
        shares.append(parts_of(dataclasses.replace(batch[place.rows], place=place), parts))
    for number, part in enumerate(expected):
        assert [row for own in shares for row in own[number].index.tolist()] == part
        for own in shares:
            place = own[number].place
            assert place is not None
            assert [part[row] for row in place.rows] == own[number].index.tolist()
            assert place.total == len(part)


def test_one_process_has_no_place() -> None:
    assert collectives.world() == 1
    assert place_of(12, 3, 0, 1) is None
