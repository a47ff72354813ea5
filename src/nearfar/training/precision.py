"""Which number format the forward pass uses on this machine."""

from __future__ import annotations

import json
import platform
import time
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.cache_folder import cache_folder
from nearfar.errors import UserError

_GAIN = 1.15
"""bfloat16 must be this much faster before its lower precision is worth it."""


def device_of(name: str) -> torch.device:
    """The device by name; "auto" takes the accelerator that torch sees, otherwise the CPU.

    Raises:
        UserError: for a name that is no device's, or a device that this machine does not have.
    """
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise UserError(f"The device {name!r} cannot be used here ({reason}); choose --device cpu or auto.") from error
        return device
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator or torch.device("cpu")


def choose_precision(wanted: str, encoder: nn.Module, example: Any, device: torch.device) -> tuple[str, str]:
    """("float32" or "bfloat16", one sentence why).

    "auto" times the encoder once in each format and remembers the answer for this machine, so that a second run on the same
    machine computes the same thing.
    """
    if wanted != "auto":
        return wanted, f"{wanted}, as asked"
    if not isinstance(example, Tensor) or device.type not in ("cpu", "cuda"):
        return "float32", "float32: the probe covers tensors on CPU and CUDA only"
    key = "|".join(("in turns", _machine(device), torch.__version__, type(encoder).__name__, str(getattr(encoder, "dimension", 0)),
                    str(tuple(example.shape)), str(torch.get_num_threads())))
    path = cache_folder() / "precision.json"
    known = _read(path)
    if key not in known:
        known[key] = _gain(encoder, example, device)
        _write(path, known)
    gain = known[key]
    chosen = "bfloat16" if gain >= _GAIN else "float32"
    return chosen, f"{chosen}: bfloat16 runs the encoder at {gain:.2f} x the speed of float32 here"


def _gain(encoder: nn.Module, example: Tensor, device: torch.device) -> float:
    """Time of a forward and backward pass in float32 over that in bfloat16, both at their best of five, taken in turns so that what
    else the machine does hits both alike; laid out in memory as the loop lays it out. Leaves the encoder as it was."""
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    if example.ndim == 4:
        encoder, example = encoder.to(memory_format=torch.channels_last), example.contiguous(memory_format=torch.channels_last)
    best = {False: float("inf"), True: float("inf")}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for turn in range(6):
            for bfloat16 in best:
                seconds = _seconds(encoder, example, device, bfloat16=bfloat16)
                best[bfloat16] = min(best[bfloat16], seconds) if turn else float("inf")  # the first turn warms up
    encoder.load_state_dict(state)
    encoder.zero_grad(set_to_none=True)
    return best[False] / best[True]


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
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Any, known: dict[str, float]) -> None:
    from nearfar.files import write_text

    try:
        write_text(path, json.dumps(known, indent=1), overwrite=True)
    except (OSError, UserError):
        return  # a read-only cache only costs a second probe
