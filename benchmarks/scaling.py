"""Cost against batch, data and processes: measured here on one and two, on paper up to 1024.

    python benchmarks/scaling.py            # writes docs/results/scaling.md

Measured: SimCLR's small recipe on random images of 32 pixels with the small convnet, CPU time on
    one thread a process. On paper: bytes
that one process receives in a step, ResNet-50, from what each method's ``forward`` really hands
over and how many parameters learn.
"""

from __future__ import annotations

import datetime
import importlib
import statistics
import time
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from programs import Clock
from record import machine, parser_of
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from nearfar import collectives, networks
from nearfar.batch import Batch
from nearfar.data.batches.samplers import EpochSampler
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.methods import registry
from nearfar.methods.method import Recipe, Summed
from nearfar.targets.momentum import MomentumEncoder
from nearfar.testing import on_processes
from nearfar.training.loop import fit
from nearfar.training.objective import joined_loss, takes_rows
from nearfar.training.plan import Plan
from nearfar.views import make_views

TARGET = Path(__file__).parents[1] / "docs" / "results" / "scaling.md"
BATCHES = (64, 256, 1024)
LENGTHS = (2_000, 20_000, 100_000)
PROCESSES = (1, 2)
GPUS = (8, 16, 32, 64, 128, 256, 512, 1024)
METHODS = ("simclr", "byol", "barlow-twins", "vicreg", "swav", "dino")
EACH = 256
"""Samples a GPU, on paper."""


def random_source(length: int) -> Source:
    spec = Spec("random", "image", (3, 32, 32), length, mean=(0.5,) * 3, std=(0.25,) * 3)
    images = torch.randint(
        0, 256, (length, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Source(spec, Samples(images, [str(i) for i in range(length)], None), None)


def step_seconds(batch_size: int, steps: int = 6) -> Tensor:
    """Median CPU seconds of this process in one step of SimCLR on a joined batch, after two that
    warm up.
    """
    torch.set_num_threads(1)
    source = random_source(2 * batch_size)
    torch.manual_seed(0)
    kind = registry.get("simclr")
    method = kind(
        networks.build("small-convnet", source.spec), source.spec, kind.Settings(hidden=512)
    )
    clock = Clock(lambda encoder: time.process_time(), method.encoder)
    plan = Plan(
        Recipe(learning_rate=1e-3, batch_size=batch_size, epochs=1), steps=steps + 2, log_every=1
    )
    fit(method, source, method.views(), plan, callbacks=[clock])
    ticks = clock.ticks[1:]
    # The other processes have no callbacks: they report nothing, and the first stands for all.
    return torch.tensor(statistics.median(b - a for a, b in pairwise(ticks)) if ticks else 0.0)


def by_batch() -> Iterator[str]:
    for size in BATCHES:
        seconds = step_seconds(size).item()
        yield f"| {size} | {1e3 * seconds:.0f} | {1e3 * seconds / size:.2f} |"


def by_data() -> Iterator[str]:
    """A batch's order and samples, from sets of several sizes."""
    for length in LENGTHS:
        samples = random_source(length).train
        start = time.process_time()
        sampler = EpochSampler(length, 256, seed=0)
        sampler.batch(0, 0)
        first = time.process_time() - start
        taken = []
        for position in range(1, 7):
            start = time.process_time()
            samples.take(sampler.batch(0, position))
            taken.append(time.process_time() - start)
        yield f"| {length:,} | {1e3 * first:.2f} | {1e3 * statistics.median(taken):.3f} |"


def by_processes(batch_size: int = 256) -> Iterator[str]:
    together = importlib.import_module("scaling").step_seconds  # processes import it by this name
    one = together(batch_size).item()
    for count in PROCESSES:
        found = (
            one
            if count == 1
            else on_processes(together, batch_size, counts=(count,))[count][0].item()
        )
        yield f"| {count} | {batch_size // count} | {1e3 * found:.0f} | {one / found / count:.2f} |"


def loss_seconds(pairs: int = 4096) -> Tensor:
    """Median CPU seconds of this process in SimCLR's loss of a joined batch, forwards and
    backwards, exchanges included.
    """
    torch.set_num_threads(1)
    kind = registry.get("simclr")
    spec = random_source(8).spec
    method = kind(networks.build("small-convnet", spec), spec, kind.Settings(hidden=512))
    z1, z2 = (torch.randn(pairs // collectives.world(), 128, requires_grad=True) for _ in range(2))
    taken = []
    for _ in range(5):
        start = time.process_time()
        joined_loss(method, method.phases()[0], {"z1": z1, "z2": z2})[1]["loss"].backward()
        taken.append(time.process_time() - start)
    return torch.tensor(statistics.median(taken[1:]))


def by_share() -> Iterator[str]:
    together = importlib.import_module("scaling").loss_seconds
    one = together().item()
    for count in (1, 2, 4):
        found = one if count == 1 else on_processes(together, counts=(count,))[count][0].item()
        yield f"| {count} | {1e3 * found:.0f} | {found / one:.2f} |"


def leaves(value: Any) -> Iterator[tuple[Tensor, bool]]:
    """The tensors of a method's outputs, each with whether it is summed."""
    if isinstance(value, Summed):
        yield value.value, True
    elif isinstance(value, Tensor):
        yield value, False
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)


def facts(name: str) -> dict[str, float]:
    """Of a method with the paper's settings on a ResNet-50: bytes a sample that are concatenated,
    bytes a sample whose gradients are added up, bytes that are summed, bytes of gradients, bytes of
    batch norm statistics and how often they are exchanged.
    """
    kind = registry.get(name)
    spec = random_source(8).spec
    torch.manual_seed(0)
    method = kind(networks.build("resnet50", spec), spec, kind.Settings())
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8).random_(0, 256)
    made = make_views(spec, method.wanted_views)(images, torch.Generator().manual_seed(0))
    found = list(leaves(method(Batch(made, torch.arange(4), None))))
    back = found if takes_rows(method, method.phases()[0]) else []
    # A batch norm exchanges mean and variance forwards, and their gradients backwards; a momentum
    # copy has no backward pass.
    copies = {
        id(part)
        for module in method.modules()
        if isinstance(module, MomentumEncoder)
        for part in module.modules()
    }
    norms = [
        (module.num_features, 2 if id(module) in copies else 4)
        for module in method.modules()
        if isinstance(module, _BatchNorm)
    ]
    return {
        "rows": sum(t.numel() * t.element_size() for t, summed in found if not summed) / 4,
        "back": sum(
            t.numel() * t.element_size() for t, summed in back if t.requires_grad and not summed
        )
        / 4,
        "sums": sum(t.numel() * t.element_size() for t, summed in found if summed),
        "gradients": sum(4 * p.numel() for p in method.parameters() if p.requires_grad),
        "statistics": sum(4 * channels * times for channels, times in norms),
        "exchanges": sum(times for _, times in norms),
    }


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f}" if value >= 1e7 else f"{value / 1e6:.2g}"


def on_paper() -> Iterator[str]:
    yield (
        "| method | gradients | batch norm | its exchanges | "
        + " | ".join(f"outputs, {count}" for count in GPUS)
        + " |"
    )
    yield "|---" * (len(GPUS) + 4) + "|"
    for name in METHODS:
        fact = facts(name)
        around = 2  # (p - 1) / p is taken as 1
        columns = [
            megabytes(
                (count - 1) * EACH * (fact["rows"] + 2 * fact["back"]) + around * fact["sums"]
            )
            for count in GPUS
        ]
        fixed = [
            megabytes(around * fact["gradients"]),
            megabytes(around * fact["statistics"]),
            str(int(fact["exchanges"])),
        ]
        yield f"| {name} | {' | '.join(fixed + columns)} |"


def main() -> None:
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")
    about = machine()
    text = f"""# Cost against batch, data and processes

Made by `python benchmarks/scaling.py` on {datetime.date.today()}, {about["processor"]},
{about["cores"]} cores, load
{about["load at the start"]} from other programs, torch {torch.__version__}.

## Measured

SimCLR's small recipe, the small convnet, random images of 32 pixels; CPU time on one thread a
process.

| batch | ms a step | ms a sample |
|---|---|---|
{chr(10).join(by_batch())}

| samples in the set | order of an epoch, ms | a batch of 256, ms |
|---|---|---|
{chr(10).join(by_data())}

Processes on this machine, joined by gloo, that share a batch of 256. The efficiency is one
process's time over the sum of all.

| processes | samples each | CPU ms a step, each | efficiency |
|---|---|---|---|
{chr(10).join(by_processes())}

SimCLR's loss alone, of 4,096 joined pairs of 128 dimensions, forwards and backwards, exchanges
included.

| processes | CPU ms, each | over one process |
|---|---|---|
{chr(10).join(by_share())}

## On paper

Megabytes that one GPU receives in a step, float32, ResNet-50, the papers' heads, {EACH} samples a
GPU. "Gradients" and "batch norm" hardly
depend on the number of GPUs (ring all-reduce: 2 (p - 1) / p times their size); the outputs of all
other GPUs' samples do, and where
processes share a loss (of these SimCLR's), the gradients of all shares.

{chr(10).join(on_paper())}
"""
    print(text)
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
