"""Wall-clock seconds until the encoder's features reach an accuracy: nearfar's SimCLR loop against
lightly's documented one.

    python benchmarks/to_accuracy.py --data FOLDER       # part of `make bench ARGS="--data
    FOLDER"`; a labelled set such as CIFAR-10

The programs of ``end_to_end``, each at its own default precision, with as many threads, and for
lightly worker processes, as there
are cores: same encoder, projector, batches, distribution of views, temperature and rate. One after
another, each in a process of its own; run it on an idle machine. Every so many steps the clock
stops and kNN classifies test samples by the encoder's features of all training samples.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from programs import RECIPE, FullResolution, source_of, with_lightly, with_nearfar
from record import Table, finish, parser_of

from nearfar.data.samples import Source
from nearfar.evaluation.online import OnlineProbe
from nearfar.networks.encoder import Encoder
from nearfar.precision import choose_precision
from nearfar.views import plain_view

IMAGES = 10_000
QUERIES = 5_000
EVERY = 26
"""Steps between two looks: two thirds of an epoch of 10,000 images."""

LEVELS = (0.40, 0.41, 0.42, 0.43, 0.44, 0.45, 0.46, 0.48, 0.50, 0.55, 0.60)
MOMENTUM = 0.9
"""Of nearfar's SGD, which makes its rate 1 / (1 - 0.9) times as large; lightly's documented SGD has
none.
"""

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Curve = list[tuple[float, float]]
"""Seconds of training and the accuracy after them."""


class Stopwatch:
    """The time of training, which stands still while the encoder is judged every ``EVERY``
    steps.
    """

    def __init__(self, probe: OnlineProbe) -> None:
        self.probe = probe  # type: ignore[var-annotated]
        self.seconds = 0.0
        self.steps = 0
        self.curve = []
        self.since = time.perf_counter()

    def __call__(self, encoder: Encoder) -> float:
        self.seconds += time.perf_counter() - self.since
        self.steps += 1
        if self.steps % EVERY == 0:
            training = encoder.training
            encoder.eval()
            values, _ = self.probe(encoder)
            encoder.train(training)
            self.curve.append((self.seconds, values["knn"]))
            print(f"  {self.steps} steps, {self.seconds:.0f} s: {values['knn']:.3f}", flush=True)
        self.since = time.perf_counter()
        return self.seconds


def serve(results: Connection, name: str, folder: Path, steps: int) -> None:
    """Train with one program in this process and send its curve."""
    warnings.simplefilter("ignore")
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    source = source_of(folder, IMAGES)
    # lightly's transform normalises by ImageNet's statistics.
    spec = replace(source.spec, **IMAGENET) if name == "lightly" else source.spec
    watch = Stopwatch(OnlineProbe(source, plain_view(spec), bank=IMAGES, queries=QUERIES))
    if name == "lightly":
        run = with_lightly(source, "float32", watch, cores)
    else:
        recipe = replace(RECIPE, learning_rate=RECIPE.learning_rate * (1 - MOMENTUM))
        run = with_nearfar(source, default_precision(source), watch, recipe=recipe)
    watch.since = time.perf_counter()
    run(steps)
    results.send(watch.curve)


def default_precision(source: Source) -> str:
    example = torch.zeros(64, *source.spec.shape)
    return choose_precision(
        "auto", FullResolution().to(memory_format=torch.channels_last), example, torch.device("cpu")
    )[0]


def curve(name: str, folder: Path, steps: int) -> Curve:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=serve, args=(sender, name, folder, steps))
    print(f"{name}, {steps} steps", flush=True)
    process.start()
    sender.close()
    found: Curve = receiver.recv()
    process.join()
    return found


def reached(found: Curve, level: float) -> float | None:
    """Seconds until the accuracy is at least ``level`` for the first time."""
    return next((seconds for seconds, accuracy in found if accuracy >= level), None)


def levels(curves: dict[str, Curve]) -> list[dict[str, Any]]:
    """A row for each level that at least one of them reaches."""
    rows = []
    for level in LEVELS:
        seconds = {name: reached(found, level) for name, found in curves.items()}
        if any(one is not None for one in seconds.values()):
            shown: dict[str, Any] = {
                f"{name}, s": "not reached" if one is None else one for name, one in seconds.items()
            }
            ours = seconds["nearfar"]
            theirs = seconds["lightly"]
            shown["lightly / nearfar"] = theirs / ours if ours and theirs else ""
            rows.append({"kNN accuracy": f"{level:.2f}", **shown})
    return rows


def main() -> None:
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder or file with CIFAR-10's images and labels"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    theirs = 26 if options.quick else 338
    ours = 4 * theirs
    curves = {
        "nearfar": curve("nearfar", options.data, ours),
        "lightly": curve("lightly", options.data, theirs),
    }
    trained = ", ".join(
        f"{name} {steps} steps, {curves[name][-1][0]:.0f} s, {curves[name][-1][1]:.3f} at the end"
        for name, steps in (("nearfar", ours), ("lightly", theirs))
    )
    about = f"""SimCLR on {IMAGES:,} training images of CIFAR-10, batches of {RECIPE.batch_size}.
lightly: SGD at a constant rate of
{RECIPE.learning_rate} without momentum, as documented; nearfar: momentum {MOMENTUM} at
{1 - MOMENTUM:.1g} of that rate, warmed up and
falling by a cosine. Wall-clock seconds of training on all cores, without evaluation, until kNN on
{QUERIES:,} test images is
first at least as good; looked at every {EVERY} steps, one run each ({trained})."""
    finish([Table("Time to accuracy", about, levels(curves))], options)


if __name__ == "__main__":
    main()
