"""Losses, forward and backward, in time and memory: nearfar against its peers, one thread.

    python benchmarks/losses.py                       # part of `make bench`
    python benchmarks/losses.py --pairs 256 2048      # smaller sizes only

N pairs of 128 dimensions, float32. Times are CPU times of alternating rounds in one process, the
median; memory is the most that one round in a process of its own holds beyond what was held before
(Linux only). The bound is the matrix products that the arithmetic needs (``operations``) at this
machine's speed for a large product, without the exponentials. A library that is not installed is
left out, pytorch-metric-learning's NT-Xent, which is cubic, above 256 pairs.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from record import Table, finish, parser_of, ratios, spread
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from nearfar import losses
from nearfar.losses.instance.decoupled import dcl

DIMENSION = 128
TEMPERATURE = 0.1
ROUNDS = {256: 15, 2048: 7, 4096: 5, 8192: 5, 32768: 1}
QUICK = [256, 2048, 4096, 8192, 32768]
ALONE = 32768
"""From here on nearfar is measured alone."""
Loss = Callable[[Tensor, Tensor], Tensor]


def plain_nt_xent(z1: Tensor, z2: Tensor) -> Tensor:
    """What a tutorial writes: the whole matrix, its diagonal masked, cross-entropy."""
    z = normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    return cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def lightly(name: str) -> Callable[[], Loss]:
    def build() -> Loss:
        from lightly import loss

        return getattr(loss, name)(temperature=TEMPERATURE)

    return build


def metric_learning() -> Loss:
    from pytorch_metric_learning.losses import NTXentLoss

    criterion = NTXentLoss(TEMPERATURE)
    return lambda z1, z2: criterion(torch.cat([z1, z2]), torch.arange(len(z1)).repeat(2))


def open_clip(name: str, *scales: float) -> Callable[[], Loss]:
    def build() -> Loss:
        from open_clip import loss

        criterion = getattr(loss, name)()
        return lambda a, b: criterion(
            normalize(a, dim=1), normalize(b, dim=1), *map(torch.tensor, scales)
        )

    return build


def info_nce() -> Loss:
    from info_nce import InfoNCE

    return InfoNCE(temperature=TEMPERATURE)


def clip(a: Tensor, b: Tensor) -> Tensor:
    return losses.clip(normalize(a, dim=1), normalize(b, dim=1), logit_scale=10.0)


def siglip(a: Tensor, b: Tensor) -> Tensor:
    return losses.siglip(
        normalize(a, dim=1), normalize(b, dim=1), logit_scale=10.0, logit_bias=-10.0
    )


OBJECTIVES: dict[str, dict[str, Callable[[], Loss]]] = {
    "NT-Xent": {
        "nearfar": lambda: losses.nt_xent,
        "plain": lambda: plain_nt_xent,
        "lightly": lightly("NTXentLoss"),
        "pytorch_metric_learning": metric_learning,
    },
    "DCL": {"nearfar": lambda: dcl, "lightly": lightly("DCLLoss")},
    "CLIP": {"nearfar": lambda: clip, "open_clip": open_clip("ClipLoss", 10.0)},
    "InfoNCE": {"nearfar": lambda: losses.info_nce, "info_nce": info_nce},
    "SigLIP": {"nearfar": lambda: siglip, "open_clip": open_clip("SigLipLoss", 10.0, -10.0)},
}


def memory(entry: str) -> float:
    """One of this process's memory figures in MiB: VmRSS, what it holds; VmHWM, the most that it
    held. NaN if unknown.
    """
    status = Path("/proc/self/status")
    found = re.search(rf"{entry}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def views(pairs: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(pairs, DIMENSION, generator=generator).requires_grad_() for _ in range(2)]


def seconds(loss: Loss, given: list[Tensor]) -> float:
    start = time.process_time()
    torch.autograd.grad(loss(*given), given)
    return time.process_time() - start


def extra_memory(objective: str, library: str, pairs: int) -> float:
    """MiB of one round beyond what this process holds already."""
    loss = OBJECTIVES[objective][library]()
    given = views(pairs)
    seconds(loss, views(8))  # whatever is set up by the first call
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the most held so far
    before = memory("VmRSS")
    seconds(loss, given)
    return memory("VmHWM") - before


def multiplication_speed() -> float:
    """Floating point operations a second of a large matrix product that needs no new memory: the
    best of some, CPU time.
    """
    side = 1024
    first = torch.randn(side, side)
    second = torch.randn(side, side)
    product = torch.empty(side, side)
    best = float("inf")
    for _ in range(20):
        start = time.process_time()
        torch.mm(first, second, out=product)
        best = min(best, time.process_time() - start)
    return 2 * side**3 / best


def operations(objective: str, pairs: int) -> float:
    """What the matrix products need at least: half of the symmetric logits and one product for the
    gradient, or, for two sides, the logits and a product for each side's gradient.
    """
    symmetric = objective in ("NT-Xent", "DCL")
    side, products = (2 * pairs, 1.5) if symmetric else (pairs, 3)
    return products * 2 * side**2 * DIMENSION


def measure(objective: str, pairs: int, rounds: int) -> list[dict[str, object]]:
    """Rows of the table."""
    builders = {
        name: build
        for name, build in OBJECTIVES[objective].items()
        if name in ("nearfar", "plain")
        or (find_spec(name) and not (name == "pytorch_metric_learning" and pairs > 256))
    }
    if pairs >= ALONE:
        builders = {"nearfar": builders["nearfar"]}
    built = {name: build() for name, build in builders.items()}
    given = views(pairs)
    times: dict[str, list[float]] = {name: [] for name in built}
    for number in range(rounds):
        for name, loss in built.items():
            if name != "pytorch_metric_learning" or number < 1:
                times[name].append(seconds(loss, given))
    bound = operations(objective, pairs) / multiplication_speed()
    rows: list[dict[str, object]] = []
    held = 0.0
    for name, found in times.items():
        command = [sys.executable, __file__, "--memory", objective, name, "--pairs", str(pairs)]
        extra = float(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        )
        held = held or extra
        rows.append(
            {
                "loss": objective,
                "pairs": pairs,
                "library": name,
                "ms": spread([1e3 * one for one in found]),
                "time / ours": spread(ratios(found, times["nearfar"])),
                "time / bound": statistics.median(found) / bound,
                "extra MiB": extra,
                "extra / ours": extra / held,
            }
        )
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[])
    parser.add_argument(
        "--objectives", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES)
    )
    parser.add_argument(
        "--memory", nargs=2, metavar=("LOSS", "LIBRARY"), help="extra memory of one loss, in MiB"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.memory:
        print(json.dumps(extra_memory(*options.memory, options.pairs[0])))
        return
    sizes = options.pairs or (QUICK if options.quick else list(ROUNDS))
    rows = []
    for pairs in sizes:
        large = pairs >= ALONE or (options.quick and pairs > 2048)
        for objective in ["NT-Xent"] if large else options.objectives:
            rows += measure(objective, pairs, ROUNDS.get(pairs, 5))
            print(rows[-1], flush=True)
    about = f"""Forward and backward of N pairs of {DIMENSION} dimensions in float32, CPU time on
one thread. The bound is the matrix
products that the arithmetic needs (three of N x N; of the symmetric 2N x 2N one and a half) at
the speed of a 1024-wide product here,
without the exponentials. Extra memory is the most that a round in a process of its own holds
beyond what it held before, 0 where that
sufficed. pytorch-metric-learning's NT-Xent is cubic and measured once, at 256 pairs; from {ALONE}
pairs on nearfar is alone."""
    finish([Table("Losses", about, rows)], options)


if __name__ == "__main__":
    main()
