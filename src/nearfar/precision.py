"""Which number format the forward pass uses on this machine."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.data.cache_folder import cache_folder
from nearfar.errors import UserError

_GAIN = 1.15
"""bfloat16 must be this much faster before its lower precision is worth it."""
_FEW = 8
"""Samples of the first, short turn."""
_FAR = 4.0
_NOTICEABLE = 0.05
"""So many times as slow, and so many seconds for a few samples: no number of turns would change the
answer.
"""
_LONGEST = 20.0
"""Seconds after which no further turn begins."""


def device_of(name: str) -> torch.device:
    """The device by name; "auto" takes the accelerator that torch sees, otherwise the CPU.

    Raises:
        UserError: for a name that is no device's, or a device that this machine does not have.
    """
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
            if device.type == "meta":
                raise NotImplementedError("it holds no values")
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(
                f"The device {name!r} cannot be used here ({reason}); choose --device cpu or auto."
            ) from error
        return device
    accelerator = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    )
    return accelerator or torch.device("cpu")


def choose_precision(
    wanted: str,
    encoder: nn.Module,
    example: Any,
    device: torch.device,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[str, str]:
    """("float32" or "bfloat16", one sentence why).

    "auto" times the encoder once in each format and remembers the answer for this machine, so that
    a second run on the same machine computes the same thing. Where bfloat16 is far slower, as on a
    CPU without instructions for it, a few samples show that, and it is not tried again on this
    machine with any encoder.

    Args:
        wanted: "auto", "float32" or "bfloat16".
        encoder: what is timed.
        example: a batch for it.
        device: of both.
        tell: gets a sentence before something is timed.
    """
    if wanted != "auto":
        return wanted, f"{wanted}, as asked"
    if not isinstance(example, Tensor) or device.type not in ("cpu", "cuda"):
        return "float32", "float32: the probe covers tensors on CPU and CUDA only"
    key = "|".join(
        (
            "in turns",
            _machine(device),
            torch.__version__,
            type(encoder).__name__,
            str(getattr(encoder, "dimension", 0)),
            str(tuple(example.shape)),
            str(torch.get_num_threads()),
        )
    )
    hopeless = "|".join(
        (
            "bfloat16 is far slower",
            _machine(device),
            torch.__version__,
            str(torch.get_num_threads()),
        )
    )
    path = cache_folder() / "precision.json"
    known = _read(path)
    if key not in known and hopeless not in known:
        tell(
            "timing the encoder in float32 and bfloat16, once on this machine (--precision float32 "
            "skips this)"
        )
        gain, far_slower = _gain(encoder, example, device)
        known[hopeless if far_slower else key] = gain
        _write(path, known)
    if key not in known:
        return (
            "float32",
            f"float32: bfloat16 runs at {known[hopeless]:.2f} x the speed of float32 on this "
            "machine",
        )
    gain = known[key]
    chosen = "bfloat16" if gain >= _GAIN else "float32"
    return chosen, f"{chosen}: bfloat16 runs the encoder at {gain:.2f} x the speed of float32 here"


def _gain(encoder: nn.Module, example: Tensor, device: torch.device) -> tuple[float, bool]:
    """Time of a forward and backward pass in float32 over that in bfloat16, both at their best of
    five, taken in turns so that what else the machine does hits both alike; laid out in memory as
    the loop lays it out. Leaves the encoder as it was.

    A few samples come first. Where bfloat16 takes several times as long with them, that is the
    answer, and the second value is true. Turns end after a while in any case.
    """
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    if example.ndim == 4:
        encoder = encoder.to(memory_format=torch.channels_last)
        example = example.contiguous(memory_format=torch.channels_last)
    best = {False: float("inf"), True: float("inf")}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        few = example[:_FEW]
        _seconds(encoder, few, device, bfloat16=False)  # warms up
        first = {bfloat16: _seconds(encoder, few, device, bfloat16=bfloat16) for bfloat16 in best}
        far_slower = first[True] > _FAR * first[False] and first[True] > _NOTICEABLE
        started = time.perf_counter()
        for turn in range(0 if far_slower else 6):
            for bfloat16 in best:
                seconds = _seconds(encoder, example, device, bfloat16=bfloat16)
                best[bfloat16] = (
                    min(best[bfloat16], seconds) if turn else float("inf")
                )  # the first turn warms up
            if turn and time.perf_counter() - started > _LONGEST:
                break
    encoder.load_state_dict(state)
    encoder.zero_grad(set_to_none=True)
    return (first[False] / first[True], True) if far_slower else (best[False] / best[True], False)


def _seconds(encoder: nn.Module, example: Tensor, device: torch.device, *, bfloat16: bool) -> float:
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        value = encoder(example).float().square().mean()
    value.backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {platform.node()}"


def _read(path: Any) -> dict[str, float]:
    """What is known, without what is damaged, which is found out anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: float(value)
        for key, value in found.items()
        if type(value) in (int, float) and 0 < value < math.inf
    }


def _write(path: Any, known: dict[str, float]) -> None:
    from nearfar.files import write_text

    try:
        write_text(path, json.dumps(known, indent=1), overwrite=True)
    except (OSError, UserError):
        return  # a read-only cache only costs a second probe
