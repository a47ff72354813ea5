"""SimCLR end to end: nearfar's training loop against lightly's documented one, and both against the bound.

    python benchmarks/end_to_end.py [--data FOLDER]       # part of `make bench`

Images of 32 pixels (CIFAR-10 where --data names it, else random ones), batches of 256, the same encoder (convolutions of widths 32,
64, 128 and 256, the first at full resolution), the same projector (two layers, 512 and 128), the same distribution of views, SGD.
lightly runs as its documentation shows: a DataLoader over PIL images with its SimCLRTransform, one forward pass for each view,
NTXentLoss. The bound is the encoder alone on ready views, channels last, both views in one pass: forward, backward, optimiser.

All take turns. CPU time of each step on one thread, without worker processes, so that other programs hardly matter; with --wall, on an
idle machine, wall-clock time with as many threads, and for lightly worker processes, as there are cores.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Table, finish, parser_of, ratios, spread
from torch import Tensor, nn

from nearfar import data
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.methods import registry
from nearfar.methods.method import Method, Recipe
from nearfar.networks.encoder import Encoder
from nearfar.training.bound import encoder_alone
from nearfar.training.loop import Progress, fit
from nearfar.training.memory import freed_memory_kept
from nearfar.training.plan import Plan
from nearfar.training.precision import choose_precision
from nearfar.training.profile import Profile
from nearfar.views import make_views

BATCH, IMAGES, WIDTHS, ROUNDS = 256, 2048, (32, 64, 128, 256), 5
PRECISIONS = ("float32", "bfloat16")
Now = Callable[[], float]
RECIPE = Recipe(optimizer="sgd", learning_rate=0.06, batch_size=BATCH, epochs=1)


class FullResolution(Encoder):
    """Four convolutions with batch norm and ReLU, a halving after each but the last, an average over the last map."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers[:-1])
        self.dimension = WIDTHS[-1]
        self.architecture = {"name": "full-resolution"}

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x).mean(dim=(2, 3))
        return found


class Clock:
    """A callback that notes the time after each step."""

    def __init__(self, now: Now) -> None:
        self.now = now
        self.ticks: list[float] = []

    def on_start(self, progress: Progress) -> None:
        pass

    def on_log(self, progress: Progress) -> None:
        self.ticks.append(self.now())

    def on_epoch(self, progress: Progress, method: Method) -> None:
        pass

    def on_end(self, progress: Progress) -> None:
        pass


def source_of(folder: Path | None) -> Source:
    """CIFAR-10's first images, or random ones of its size."""
    if folder is not None:
        return data.load(folder, limit=IMAGES)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spec = Spec("random", "image", (3, 32, 32), IMAGES, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Source(spec, Samples(images, [str(i) for i in range(IMAGES)], None), None)


def simclr(spec: Spec) -> Method:
    torch.manual_seed(0)
    kind = registry.get("simclr")
    return kind(FullResolution(), spec, kind.Settings(hidden=512, temperature=0.5))


def with_nearfar(source: Source, precision: str, now: Now) -> Callable[[int], list[float]]:
    method = simclr(source.spec)
    views = make_views(source.spec, method.wanted_views)

    def run(steps: int) -> list[float]:
        clock = Clock(now)
        fit(method, source, views, Plan(RECIPE, steps=steps, precision=precision, log_every=1), callbacks=[clock])
        return np.diff(clock.ticks).tolist()

    return run


class Pictures(torch.utils.data.Dataset[Any]):
    """Images as torchvision's CIFAR-10 hands them out: a PIL image made from an array, transformed."""

    def __init__(self, images: Tensor, transform: Callable[[Any], Any]) -> None:
        self.arrays, self.transform = images.permute(0, 2, 3, 1).contiguous().numpy(), transform

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[index])), 0


def with_lightly(source: Source, precision: str, now: Now) -> Callable[[int], list[float]]:
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    torch.manual_seed(0)
    model = nn.Sequential(FullResolution(), SimCLRProjectionHead(WIDTHS[-1], 512, 128))
    transform = SimCLRTransform(input_size=32, cj_strength=0.5, gaussian_blur=0.0)
    pictures = Pictures(source.train.take(torch.arange(min(IMAGES, len(source.train)))), transform)
    workers = os.cpu_count() or 1 if now is time.perf_counter else 0
    loader = torch.utils.data.DataLoader(pictures, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)
    criterion, optimizer = NTXentLoss(), torch.optim.SGD(model.parameters(), lr=0.06)

    def run(steps: int) -> list[float]:
        ticks: list[float] = []
        while len(ticks) < steps:
            for (x0, x1), _ in loader:
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    z0, z1 = model(x0), model(x1)
                    loss = criterion(z0, z1)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                ticks.append(now())
                if len(ticks) == steps:
                    break
        return np.diff(ticks).tolist()

    return run


def with_bound(source: Source, precision: str, now: Now) -> Callable[[int], list[float]]:
    method = simclr(source.spec).to(memory_format=torch.channels_last)
    made = make_views(source.spec, method.wanted_views)(source.train.take(torch.arange(BATCH)), torch.Generator().manual_seed(0))
    made = [view.contiguous(memory_format=torch.channels_last) for view in made]
    step = encoder_alone(method, made, Plan(RECIPE, precision=precision))
    assert step is not None

    def run(steps: int) -> list[float]:
        ticks = []
        with freed_memory_kept(torch.device("cpu")):  # as in the loop, so that the bound is one
            for _ in range(steps):
                step()
                ticks.append(now())
        return np.diff(ticks).tolist()

    return run


def measure(source: Source, now: Now, steps: int) -> dict[tuple[str, str], list[float]]:
    """Seconds a step of each precision and program, all taking turns; each round is the median of some steps."""
    builders = {"nearfar": with_nearfar, "bound": with_bound, "lightly": with_lightly}
    entries = {(precision, name): build(source, precision, now) for precision in PRECISIONS for name, build in builders.items()}
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in entries}
    for _ in range(ROUNDS):
        for key, run in entries.items():
            taken[key].append(float(np.median(run(steps)[1:])))  # two steps warm up: before the first tick and after it
    return taken


def row(taken: dict[tuple[str, str], list[float]], precision: str, name: str) -> dict[str, Any]:
    """A row of the table."""
    found, ours, bound = (taken[precision, one] for one in (name, "nearfar", "bound"))
    return {
        "precision": precision, "what": name, "ms a step": spread([1e3 * one for one in found]),
        "samples/s": BATCH / float(np.median(found)),
        "time / ours": spread(ratios(found, ours)), "time / bound": spread(ratios(found, bound)),
    }


def split(source: Source, precision: str, steps: int) -> dict[str, Any]:
    """Wall-clock milliseconds of a step's parts, as `nearfar pretrain --profile` prints them."""
    said: list[str] = []
    profile = Profile(torch.device("cpu"), said.append, steps=steps, untimed=2)
    method = simclr(source.spec)
    fit(method, source, make_views(source.spec, method.wanted_views), Plan(RECIPE, steps=steps + 2, precision=precision, profile=profile))
    print(said[0], flush=True)
    return {"precision": precision, **{name: 1e3 * taken / steps for name, taken in profile.seconds.items()}}


def main() -> None:
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, help="folder or file with CIFAR-10's images")
    parser.add_argument("--wall", action="store_true", help="wall-clock time on all cores")
    options = parser.parse_args()
    now = time.perf_counter if options.wall else time.process_time
    torch.set_num_threads(os.cpu_count() or 1 if options.wall else 1)
    warnings.simplefilter("ignore")
    source = source_of(options.data)
    example = torch.zeros(64, *source.spec.shape)
    default, why = choose_precision("auto", FullResolution().to(memory_format=torch.channels_last), example, torch.device("cpu"))
    print(why)
    taken = measure(source, now, 4 if options.quick else 8)
    rows = [row(taken, *key) for key in taken]
    print(*rows, sep="\n", flush=True)
    parts = [split(source, precision, 4 if options.quick else 20) for precision in PRECISIONS]
    crossed = ratios(taken["float32", "lightly"], taken[default, "nearfar"])
    what = "CIFAR-10" if options.data else "random images"
    how = "CPU time on one thread without worker processes (samples/s are samples per second of it)"
    if options.wall:
        how = "wall-clock time, with as many threads, and for lightly worker processes, as cores"
    about = f"""SimCLR on {what} of 32 pixels, batches of {BATCH}, convolutions of widths 32, 64, 128 and 256, the first at full
resolution; {how}. lightly is its documented loop.
nearfar's default here is {why}."""
    defaults = [{"nearfar": default, "lightly": "float32", "lightly's time / ours": spread(crossed)}]
    split_about = "Wall-clock milliseconds of nearfar's step by part, a single run; \"between epochs\" is spread over all steps."
    tables = [
        Table("End to end", about, rows),
        Table("End to end, defaults", "The precision that each takes unless told otherwise; the same rounds.", defaults),
        Table("Where nearfar's step goes", split_about, parts),
    ]
    finish(tables, options)


if __name__ == "__main__":
    main()
