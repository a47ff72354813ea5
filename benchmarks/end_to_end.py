"""SimCLR end to end: nearfar's training loop against lightly's documented one, and both against the
bound.

    python benchmarks/end_to_end.py [--data FOLDER]       # part of `make bench`

Images of 32 pixels (CIFAR-10 where --data names it, else random ones), batches of 256, the same
encoder (convolutions of widths 32, 64, 128 and 256, the first at full resolution), the same
projector (two layers, 512 and 128), the same distribution of views, SGD.
lightly runs as its documentation shows: a DataLoader over PIL images with its SimCLRTransform, one
forward pass for each view, NTXentLoss. The bound is the encoder alone on ready views, channels
last, both views in one pass: forward, backward, optimiser.

All take turns, each in a process of its own; a round is one whole epoch, from one step's end to
that of the same step in the next epoch, so that what a loader or a loop does between epochs counts.
CPU time on one thread, without worker processes, so that other programs hardly matter; with --wall,
on an idle machine, wall-clock time with as many threads, and for lightly worker processes, as
cores.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from programs import (
    BATCH,
    RECIPE,
    FullResolution,
    Now,
    simclr,
    source_of,
    with_bound,
    with_lightly,
    with_nearfar,
)
from record import Table, finish, parser_of, ratios, spread

from nearfar.data.samples import Source
from nearfar.precision import choose_precision
from nearfar.training.care.profile import Profile
from nearfar.training.loop import fit
from nearfar.training.plan import Plan

ROUNDS = 5
IMAGES = 10_000
QUICK_IMAGES = 2048
PRECISIONS = ("float32", "bfloat16")
BUILDERS = {"nearfar": with_nearfar, "bound": with_bound, "lightly": with_lightly}


def clock_of(wall: bool) -> Now:
    """The clock, after setting the number of threads that goes with it."""
    torch.set_num_threads(os.cpu_count() or 1 if wall else 1)
    now = time.perf_counter if wall else time.process_time
    return lambda encoder: now()


def serve(
    orders: Connection, name: str, precision: str, folder: Path | None, images: int, wall: bool
) -> None:
    """One program in a process of its own: for each number of steps that is sent, the seconds that
    they took; None ends it.
    """
    warnings.simplefilter("ignore")
    run = BUILDERS[name](
        source_of(folder, images), precision, clock_of(wall), os.cpu_count() or 1 if wall else 0
    )
    while steps := orders.recv():
        orders.send(sum(run(steps + 1)))  # the first step starts the clock


def measure(folder: Path | None, wall: bool, images: int) -> dict[tuple[str, str], list[float]]:
    """Mean seconds a step of one epoch, for each precision and program, all taking turns, each in a
    process of its own, as nearfar's loop changes how its process keeps memory.
    """
    context = multiprocessing.get_context("spawn")
    pipes = {}
    processes = []
    steps = images // BATCH
    for precision, name in itertools.product(PRECISIONS, BUILDERS):
        pipes[precision, name], other = context.Pipe()
        # No daemon, as lightly's loader has worker processes of its own; one whose orders break off
        # ends by itself.
        processes.append(
            context.Process(target=serve, args=(other, name, precision, folder, images, wall))
        )
        processes[-1].start()
        other.close()
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in pipes}
    for number in range(1 + ROUNDS):
        for key, pipe in pipes.items():
            pipe.send(steps if number else 2)  # the first round warms up
            seconds = pipe.recv()
            if number:
                taken[key].append(seconds / steps)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    return taken


def row(taken: dict[tuple[str, str], list[float]], precision: str, name: str) -> dict[str, Any]:
    """A row of the table."""
    found, ours, bound = (taken[precision, one] for one in (name, "nearfar", "bound"))
    return {
        "precision": precision,
        "what": name,
        "ms a step": spread([1e3 * one for one in found]),
        "samples/s": BATCH / float(np.median(found)),
        "time / ours": spread(ratios(found, ours)),
        "time / bound": spread(ratios(found, bound)),
    }


def split(source: Source, precision: str, steps: int) -> dict[str, Any]:
    """Wall-clock milliseconds of a step's parts, as `nearfar pretrain --profile` prints them."""
    said: list[str] = []
    profile = Profile(torch.device("cpu"), said.append, steps=steps, untimed=2)
    method = simclr(source.spec)
    fit(
        method,
        source,
        method.views(),
        Plan(RECIPE, steps=steps + 2, precision=precision, profile=profile),
    )
    print(said[0], flush=True)
    return {
        "precision": precision,
        **{name: 1e3 * taken / steps for name, taken in profile.seconds.items()},
    }


def main() -> None:
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, help="folder or file with CIFAR-10's images")
    parser.add_argument("--wall", action="store_true", help="wall-clock time on all cores")
    options = parser.parse_args()
    clock_of(options.wall)
    warnings.simplefilter("ignore")
    images = QUICK_IMAGES if options.quick else IMAGES
    source = source_of(options.data, images)
    example = torch.zeros(64, *source.spec.shape)
    default, why = choose_precision(
        "auto", FullResolution().to(memory_format=torch.channels_last), example, torch.device("cpu")
    )
    print(why)
    taken = measure(options.data, options.wall, images)
    rows = [row(taken, *key) for key in taken]
    print(*rows, sep="\n", flush=True)
    parts = [split(source, precision, 4 if options.quick else 20) for precision in PRECISIONS]
    crossed = ratios(taken["float32", "lightly"], taken[default, "nearfar"])
    what = "images of CIFAR-10" if options.data else "random images"
    how = "CPU time on one thread without worker processes (samples/s are samples per second of it)"
    if options.wall:
        how = "wall-clock time, with as many threads, and for lightly worker processes, as cores"
    about = f"""SimCLR on {images:,} {what} of 32 pixels, whole epochs in batches of {BATCH},
convolutions of widths 32, 64, 128
and 256, the first at full resolution; {how}. lightly is its
documented loop.
nearfar's default here is {why}."""
    defaults = [
        {"nearfar": default, "lightly": "float32", "lightly's time / ours": spread(crossed)}
    ]
    split_about = (
        "Wall-clock milliseconds of nearfar's step by part, a single run; \"between "
        'epochs" is spread over all steps.'
    )
    tables = [
        Table("End to end", about, rows),
        Table(
            "End to end, defaults",
            "The precision that each takes unless told otherwise; the same rounds.",
            defaults,
        ),
        Table("Where nearfar's step goes", split_about, parts),
    ]
    finish(tables, options)


if __name__ == "__main__":
    main()
