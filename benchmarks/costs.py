"""What a step of each method costs relative to one of SimCLR: written to
src/nearfar/methods/costs.json, shown by `nearfar methods NAME`.

Processor time on one thread, so that other programs hardly matter: the small convnet (or what the
method brings) on random 3 x 32 x 32 images (pairs: with random texts), batches of 128, each
method's "small" recipe. Each method alternates with SimCLR; the cost is the median of the ratios.
What happens between epochs (clustering, fitting a generator) is left out.

    python benchmarks/costs.py [NAME ...]
"""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

import nearfar
from nearfar import modalities, networks
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.options import resolved_settings
from nearfar.training.loop import fit
from nearfar.training.plan import Plan

PATH = Path(nearfar.__file__).parent / "methods" / "costs.json"
SAMPLES = 512
BATCH = 128
STEPS = 5
UNTIMED = 1
ROUNDS = 2


def source_for(method: type[Method]) -> Source:
    """Random samples of a kind that the method learns from."""
    generator = torch.Generator().manual_seed(0)
    classes = 2 if method.__name__ == "SepCLR" else 10
    values = method.label_kind == "value"
    label = (
        100 * torch.rand(SAMPLES, generator=generator)
        if values
        else torch.arange(SAMPLES) % classes
    )
    image = Spec(
        "random",
        "image",
        (3, 32, 32),
        SAMPLES,
        () if values else tuple(map(str, range(classes))),
        "value" if values else "class",
        mean=(0.5,) * 3,
        std=(0.3,) * 3,
    )
    text = Spec("random", "text", (16,), SAMPLES, vocabulary=500, context=16)
    spec = image
    if not method.takes("image"):
        parts = {"image": image, "text": text}
        spec = dataclasses.replace(image, modality="image+text", shape=(), parts=parts)
    content = modalities.toy_of(spec, SAMPLES, generator)
    return Source(spec, Samples(content, [str(i) for i in range(SAMPLES)], label), None)


def seconds_a_step(name: str) -> float:
    """Processor seconds of one step."""
    kind = registry.get(name)
    source = source_for(kind)
    torch.manual_seed(0)
    encoder = networks.build(kind.default_encoder, source.spec, kind=kind.encoder_kind)
    one_stage = (
        {"stages": 1} if hasattr(kind.Settings(), "stages") else {}
    )  # a run this short has no time for more
    teachers = {
        part: networks.build(None, source.spec)
        for part, wanted in kind.pretrained.items()
        if wanted.needed and wanted.gives == "encoder" and not wanted.shares
    }
    method = kind(
        encoder,
        source.spec,
        resolved_settings(kind.Settings, kind.recipes["small"].settings, one_stage),
        **teachers,
    )
    recipe = dataclasses.replace(
        kind.recipes["small"], batch_size=method.wanted_batches.size(SAMPLES, BATCH)
    )
    views = method.views()
    taken = []
    for steps in (UNTIMED, UNTIMED + STEPS):
        started = time.process_time()
        fit(method, source, views, Plan(recipe, steps=steps))
        taken.append(time.process_time() - started)
    return (taken[1] - taken[0]) / STEPS * BATCH / recipe.batch_size


def main(names: list[str]) -> None:
    """Measure, and keep what is known of the other methods."""
    torch.set_num_threads(1)
    known = json.loads(PATH.read_text())["costs"] if PATH.exists() else {}
    for name in names or registry.names():
        ratios = [seconds_a_step(name) / seconds_a_step("simclr") for _ in range(ROUNDS)]
        known[name] = round(statistics.median(ratios), 2)
        write(known)
        print(f"{name}: {known[name]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


def write(known: dict[str, float]) -> None:
    """Keep the costs with when and on what they were measured."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "what": f"processor time of a step on one thread, small recipes, batches of {BATCH}, "
        "random 32 x 32 images",
    }
    PATH.write_text(
        json.dumps({"about": about, "costs": dict(sorted(known.items()))}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
