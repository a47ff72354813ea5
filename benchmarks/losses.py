"""NT-Xent, forward and backward: nearfar against the plain matrix, lightly and pytorch-metric-learning, one thread.

    python benchmarks/losses.py

N pairs of 128 dimensions, float32, temperature 0.1. Each library is timed in a process of its own: the median CPU time of
several rounds, and the most memory that a round holds beyond what was held before it (Linux only). pytorch-metric-learning
forms all triplets, N^3, and is left out above 256 pairs. A library that is not installed is left out.
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
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

DIMENSION, TEMPERATURE = 128, 0.1
ROUNDS = {256: 31, 1024: 11, 4096: 5}
LIBRARIES = ("nearfar", "plain", "lightly", "pytorch_metric_learning")
Loss = Callable[[Tensor, Tensor], Tensor]


def plain(z1: Tensor, z2: Tensor) -> Tensor:
    """What a tutorial writes: the whole matrix, its diagonal masked, cross-entropy."""
    z = normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / TEMPERATURE).fill_diagonal_(float("-inf"))
    return cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def loss_of(library: str) -> Loss:
    if library == "nearfar":
        from nearfar.losses import nt_xent

        return lambda z1, z2: nt_xent(z1, z2, temperature=TEMPERATURE)
    if library == "lightly":
        from lightly.loss import NTXentLoss

        return NTXentLoss(TEMPERATURE)
    if library == "pytorch_metric_learning":
        from pytorch_metric_learning.losses import NTXentLoss as TripletNTXent

        criterion = TripletNTXent(TEMPERATURE)
        return lambda z1, z2: criterion(torch.cat([z1, z2]), torch.arange(len(z1)).repeat(2))
    return plain


def memory(entry: str) -> float:
    """One of this process's memory figures in MiB: VmRSS, what it holds; VmHWM, the most that it held. NaN if unknown."""
    status = Path("/proc/self/status")
    found = re.search(rf"{entry}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else float("nan")


def measure(library: str, pairs: int) -> dict[str, float]:
    """Median milliseconds, extra MiB and the value of one library's loss, in this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    loss, generator = loss_of(library), torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(pairs, DIMENSION, generator=generator).requires_grad_() for _ in range(2))
    loss(z1[:8], z2[:8]).backward()  # whatever is set up by the first call
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the most held so far
    before, times = memory("VmRSS"), []
    for _ in range(ROUNDS[pairs] if library != "pytorch_metric_learning" else 1):
        z1.grad = z2.grad = None
        start = time.process_time()
        value = loss(z1, z2)
        value.backward()
        times.append(1e3 * (time.process_time() - start))
    return {"ms": statistics.median(times), "mib": memory("VmHWM") - before, "value": value.item()}


def main() -> None:
    print(f"{'pairs':>5}  {'library':<24}{'ms':>9}{'to ours':>9}{'extra MiB':>11}{'to ours':>9}{'value':>11}")
    for pairs in ROUNDS:
        ours: dict[str, float] = {}
        for library in LIBRARIES:
            installed = library == "plain" or find_spec(library) is not None
            if not installed or (library == "pytorch_metric_learning" and pairs > 256):
                continue
            command = [sys.executable, __file__, library, str(pairs)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ours = ours or row
            time_ratio, memory_ratio = row["ms"] / ours["ms"], row["mib"] / ours["mib"]
            timed = f"{row['ms']:>9.1f}{time_ratio:>9.2f}{row['mib']:>11.1f}{memory_ratio:>9.2f}"
            print(f"{pairs:>5}  {library:<24}{timed}{row['value']:>11.6f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
