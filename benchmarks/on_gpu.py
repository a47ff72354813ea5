"""nearfar on a GPU: the values of the CPU, whole runs, and lightly on the same device.

    python benchmarks/on_gpu.py                    # writes docs/results/gpu.md and gpu.json
    python benchmarks/on_gpu.py --device cpu --out FOLDER   # the logic, without a GPU

Three parts, eight minutes at most; what the time did not suffice for is said to be left out.

1. Each method on its toy in float64: terms and gradients of every phase on the device against the
   CPU's. A method that draws inside a step has other numbers on another device, which two seeds on
   the CPU show; of such only that all is finite is checked.
2. Each loss that has a peer, in float64: value and gradient on the device against the CPU's, and
   against lightly's on the device where it is installed.
3. Whole runs of SimCLR on the device and on the CPU with one seed: both kNN accuracies and the
   ratio of their times.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import parity
import torch
from torch import Tensor

import nearfar
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.testing import toy
from nearfar.testing.inputs import on_device

SECONDS = 480
NEAR = 1e-8
"""Largest relative error of float64 on another device."""
TARGET = Path(__file__).parents[1] / "docs" / "results"


@dataclass(frozen=True)
class Found:
    """One comparison.

    Attributes:
        part: "method", "loss", "peer" or "run".
        name: What was compared.
        error: Largest difference over the larger of 1 and the value; None where numbers are drawn.
        good: Whether it is near enough.
        note: A sentence.
    """

    part: str
    name: str
    error: float | None
    good: bool
    note: str = ""


def values_of(method: Method, batch: Any, seed: int) -> list[Tensor]:
    """Terms and gradients of all phases, on the CPU."""
    torch.manual_seed(seed)
    found = []
    for phase in method.phases():
        terms = getattr(method, phase.loss)(getattr(method, phase.forward)(batch))
        moving = [term for term in terms.values() if term.requires_grad]
        learning = [p for p in phase.parameters if p.requires_grad]
        slopes = torch.autograd.grad(torch.stack(moving).sum(), learning, allow_unused=True)
        found += [term.detach().cpu() for term in terms.values()]
        found += [slope.cpu() for slope in slopes if slope is not None]
    return found


def difference(first: Iterable[Tensor], second: Iterable[Tensor]) -> float:
    """The largest, each tensor over the larger of 1 and its largest value."""
    errors = [
        float((a - b).abs().max()) / max(1.0, float(a.abs().max()))
        for a, b in zip(first, second, strict=True)
        if a.numel()
    ]
    return max(errors, default=0.0)


def compare_method(name: str, device: str) -> Found:
    """One method on the device and on the CPU."""
    method, batch = toy(name)
    expected = values_of(*toy(name), seed=3)
    drawn = difference(expected, values_of(*toy(name), seed=4)) > 0
    found = values_of(method.to(device), on_device(batch, device), seed=3)
    finite = all(bool(value.isfinite().all()) for value in found)
    if drawn:
        return Found("method", name, None, finite, "draws in its step: finite values only")
    error = difference(expected, found)
    return Found("method", name, error, finite and error <= NEAR)


def compare_loss(row: parity.Row, device: str) -> list[Found]:
    """A loss of ours on the device and on the CPU, and the peer's on the device."""
    generator = torch.Generator().manual_seed(0)
    views = [
        torch.randn(parity.PAIRS, parity.DIMENSION, generator=generator, dtype=torch.float64)
        for _ in range(2)
    ]
    views[1] = views[0] + 0.5 * views[1]
    if row.inputs == "unit":
        views = [torch.nn.functional.normalize(view, dim=1) for view in views]

    def value(loss: Callable[..., Tensor], place: str) -> list[Tensor]:
        given = [view.to(place).requires_grad_() for view in views]
        found = loss(*given)
        slopes = torch.autograd.grad(found, given, allow_unused=True)
        return [found.detach().cpu(), *(s.cpu() for s in slopes if s is not None)]

    ours = value(row.ours, device)
    error = difference(value(row.ours, "cpu"), ours)
    made = [Found("loss", row.name, error, error <= NEAR)]
    if row.package == "lightly" and find_spec("lightly") and not row.note:
        error = difference(ours, value(row.theirs(), device))
        made.append(Found("peer", f"{row.name} against lightly", error, error <= 1e-6))
    return made


def compare_run(device: str, steps: int) -> Found:
    """SimCLR on small pictures, on the device and on the CPU."""
    accuracy = {}
    seconds = {}
    for place in ("cpu", device):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            run = nearfar.pretrain(
                "simclr",
                data="cluttered-digits",
                limit=1000,
                steps=steps,
                device=place,
                evaluate=False,
                output=Path(folder) / "run",
            )
            seconds[place] = time.perf_counter() - start
            accuracy[place] = nearfar.evaluate(run.folder, protocols=("knn",)).value("kNN accuracy")
    gap = abs(accuracy["cpu"] - accuracy[device])
    note = (
        f"kNN {accuracy[device]:.3f} on the device and {accuracy['cpu']:.3f} on the CPU; the "
        f"device took {seconds[device] / seconds['cpu']:.2f} of the CPU's time"
    )
    return Found("run", f"simclr, {steps} steps", gap, gap <= 0.1, note)


def battery(
    device: str, *, names: Iterable[str], seconds: float, steps: int
) -> tuple[list[Found], list[str]]:
    """All comparisons, and the names of those that the time did not suffice for."""
    end = time.monotonic() + seconds
    found: list[Found] = []
    left: list[str] = []
    parts: list[tuple[str, Callable[[], list[Found]]]] = [
        *((name, lambda name=name: [compare_method(name, device)]) for name in names),
        *((row.name, lambda row=row: compare_loss(row, device)) for row in _rows()),
        ("simclr run", lambda: [compare_run(device, steps)]),
    ]
    for name, part in parts:
        if time.monotonic() > end:
            left.append(name)
            continue
        try:
            found += part()
        except Exception as error:  # one fault must not hide the others
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            found.append(Found("fault", name, None, False, told[:160]))
    return found, left


def _rows() -> list[parity.Row]:
    """The losses, each once, lightly's row first."""
    ordered = sorted(parity.ROWS, key=lambda row: row.package != "lightly")
    return list({row.name: row for row in reversed(ordered)}.values())


def page(device: str, found: list[Found], left: list[str]) -> str:
    """What was found as Markdown."""
    about = torch.cuda.get_device_name() if device == "cuda" else "the CPU itself"
    bad = [one for one in found if not one.good]
    lines = []
    for one in found:
        error = "" if one.error is None else f"{one.error:.1e}"
        good = "yes" if one.good else "NO"
        lines.append(f"| {one.part} | {one.name} | {error} | {good} | {one.note} |")
    text = f"""# On a GPU

Made by `python benchmarks/on_gpu.py` on {about} with torch {torch.__version__}. Float64 where
values are compared. {len(found) - len(bad)} of {len(found)} comparisons are good.
{f"Left out for want of time: {', '.join(left)}." if left else "Nothing was left out."}

| part | name | error | good | |
|---|---|---|---|---|
"""
    return text + "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--methods", nargs="*", default=registry.names())
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("There is no GPU here that torch can use; nothing was measured and written.")
        return 0
    found, left = battery(
        given.device, names=given.methods, seconds=given.seconds, steps=given.steps
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.md").write_text(page(given.device, found, left))
    told = {"device": given.device, "found": [asdict(one) for one in found], "left": left}
    (given.out / "gpu.json").write_text(json.dumps(told, indent=1) + "\n")
    print(page(given.device, found, left))
    return int(any(not one.good for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
