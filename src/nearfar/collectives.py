"""The only file that talks to other processes. With one process nothing here changes anything.

What has a gradient here has its true adjoint: the gradient of a sum over processes is the sum of
all processes' gradients.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# It keeps the group that exists when it is imported, for ever; DistributedDataParallel imports it
# late. See ``stop``.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from nearfar.errors import UserError

TIMEOUT = "NEARFAR_TIMEOUT_MINUTES"
"""Environment variable: how long processes wait for one of them that does not answer."""
_MINUTES = 10
_LONGEST = timedelta(hours=24)
_PATIENT: list[Any] = []
"""The group in which processes wait while the first one works alone."""
_LOST = (
    "Connection closed by peer",
    "Connection reset",
    "Connection refused",
    "Broken pipe",
    "Timed out",
    "timed out",
    "Socket Timeout",
    "Application timeout",
    "NCCL",
    "Gloo connect",
    "wait timeout",
)


def start(address: str = "env://") -> None:
    """Meet the other processes that ``torchrun`` started; does nothing when there are none.

    Tensors on the CPU travel by gloo, tensors on CUDA devices by NCCL; each process takes the
    device of its local rank.

    Args:
        address: where the processes meet: torchrun's environment, or "file:///path" of a file that
            does not exist yet. Rank and number of processes are read from the environment (RANK,
            WORLD_SIZE) either way.
    """
    processes = _number("WORLD_SIZE", 1)
    if processes == 1 or dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(_number("LOCAL_RANK", 0))
    # A process that is frozen holds up the others for this long; torchrun ends all when one dies.
    dist.init_process_group(
        backend,
        init_method=address,
        rank=_number("RANK", None),
        world_size=processes,
        timeout=_timeout(),
    )
    _PATIENT.append(dist.new_group(backend="gloo", timeout=_LONGEST))


def _number(variable: str, default: int | None) -> int:
    """A number that ``torchrun`` gives each process.

    Raises:
        UserError: if it is none, or not there without a default.
    """
    text = os.environ.get(variable, "" if default is None else str(default)).strip()
    least = 1 if variable == "WORLD_SIZE" else 0
    if not text.isdecimal() or int(text) < least:
        raise UserError(
            f"The environment variable {variable} is {text!r}; expected a whole number of at least "
            f"{least}, as torchrun sets it: start"
            " several processes with torchrun, or unset it."
        )
    return int(text)


def stop() -> None:
    """Leave the other processes; the threads that carried tensors have ended afterwards.

    They end with the last reference to the group. One that still lets go of a tensor while the
    interpreter ends aborts the process, so the cycles that hold the group, such as a wrapped model,
    are collected here.
    """
    if dist.is_initialized():
        _PATIENT.clear()
        gc.collect()
        dist.destroy_process_group()


@contextmanager
def processes(address: str = "env://") -> Iterator[None]:
    """``start`` before the block and ``stop`` after it, unless the processes had met before."""
    met = dist.is_initialized()
    start(address)
    try:
        yield
    finally:
        if not met:
            stop()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes, at least 1."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that logs, evaluates and writes files."""
    return rank() == 0


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true on at least one process; the same answer on all."""
    if world() == 1:
        return flag
    raised = torch.tensor(int(flag))
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return bool(raised.item())


def any_of(*flags: bool) -> tuple[bool, ...]:
    """For each flag whether it is true on at least one process; one exchange for all."""
    if world() == 1:
        return flags
    raised = torch.tensor([int(flag) for flag in flags])
    dist.all_reduce(raised, dist.ReduceOp.MAX)
    return tuple(bool(flag) for flag in raised.tolist())


def barrier() -> None:
    """Wait until every process is here."""
    any_process(False)


def patient_barrier() -> None:
    """Wait until every process is here, where one works alone for as long as it takes (reading
    data, judging).
    """
    if world() > 1:
        dist.all_reduce(torch.zeros(1), group=_PATIENT[-1] if _PATIENT else None)


@contextmanager
def others_lost() -> Iterator[None]:
    """Within the block, a process that ends or no longer answers becomes one sentence on all
    others.

    Raises:
        UserError: in the place of the transport's error.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not any(sign in text for sign in _LOST):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGTERM, signal.SIG_IGN
            )  # torchrun sends it now, and this process ends anyway once it has said why
        minutes = f"{_timeout().total_seconds() / 60:g}"
        raise UserError(
            f"Process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')} lost "
            "another one, which ended or did not answer"
            f" for {minutes} minutes ({TIMEOUT}); look at what it wrote. What was saved is kept: "
            "start all again with --resume."
        ) from error


def _timeout() -> timedelta:
    """How long a process waits for another in training.

    Raises:
        UserError: if the environment says something that is no number of minutes.
    """
    text = os.environ.get(TIMEOUT, str(_MINUTES))
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= _LONGEST.total_seconds() / 60:
        raise UserError(
            f"The environment variable {TIMEOUT} is {text!r}; expected minutes, above 0 and up to "
            f"a day, such as {_MINUTES}."
        )
    return timedelta(minutes=minutes)


def gather_rows(own: Tensor) -> Tensor:
    """One row of each process, (world, ...) in order of rank, on every process and without
    gradient; ``own`` (...) is alike on all.
    """
    return own[None] if world() == 1 else _gathered(own[None], [1] * world())


def broadcast_object(value: Any) -> Any:
    """The first process's ``value``, on every process; anything that JSON can hold."""
    if world() == 1:
        return value
    text = bytearray(json.dumps(value if is_first() else None).encode())
    length = torch.tensor(len(text))
    dist.broadcast(length, 0)
    message = (
        torch.frombuffer(text, dtype=torch.uint8)
        if is_first()
        else torch.empty(int(length), dtype=torch.uint8)
    )
    dist.broadcast(message, 0)
    return json.loads(bytes(message.tolist()))


def agree(module: nn.Module) -> None:
    """Give a module on every process the first one's weights and buffers; they lie on the CPU."""
    if world() == 1:
        return
    for value in module.state_dict(keep_vars=True).values():
        dist.broadcast(value.data, 0)


def data_parallel(module: nn.Module, *, unused: bool = False) -> nn.Module:
    """``module`` with its parameter gradients averaged over processes; ``module`` itself with one
    process.

    Args:
        module: the same on every process; its buffers are not sent, as every process changes them
            alike.
        unused: whether some parameters get no gradient in some steps.
    """
    if world() == 1:
        return module
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = (
        "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    )  # up to PyTorch 2.13
    options: dict[str, Any] = {name: False, "find_unused_parameters": unused}
    return DistributedDataParallel(module, **options)


def mesh(kind: str) -> DeviceMesh:
    """All processes in a row, on devices of that kind ("cpu", "cuda"), for tensors that are divided
    over them.
    """
    made = init_device_mesh(kind, (world(),))
    # DTensor keeps meshes in the caches of its operations, for ever; ``stop`` would wait in vain
    # for the group that they hold. Only tracing asks the mesh for it: what runs finds the group of
    # the day by its name.
    getattr(made, "_pg_registry", {}).clear()
    return made


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over processes in place, as ``data_parallel`` does, where the backward
    pass goes around it.

    Args:
        parameters: the same on every process; those without gradient have none on every process.
    """
    if world() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for dtype in sorted({gradient.dtype for gradient in gradients}, key=str):
        same = [gradient for gradient in gradients if gradient.dtype == dtype]
        flat = torch.cat([gradient.reshape(-1) for gradient in same])
        dist.all_reduce(flat)
        averages = torch.split(flat / world(), [gradient.numel() for gradient in same])
        torch._foreach_copy_(
            same, [average.view_as(g) for average, g in zip(averages, same, strict=True)]
        )


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over processes; backwards, the sum of all processes' gradients of it
    (the true adjoint).
    """
    if world() == 1:
        return tensor
    total: Tensor = _Sum.apply(tensor)
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient)


def gather_parts(own: Tensor, counts: list[int]) -> Tensor:
    """All processes' rows in order of rank, without gradient; ``counts`` holds the number of rows
    of each.
    """
    return own if world() == 1 else _gathered(own, counts)


def _gathered(own: Tensor, counts: list[int]) -> Tensor:
    """All processes' rows in order of rank; sent as bytes, so that any type travels, and padded to
    the longest part.
    """
    longest = max(counts)
    row = own.shape[1:]
    padded = own.new_zeros(longest, *row)
    padded[: len(own)] = own
    received = own.new_empty(world() * longest, *row)
    parts = received.view(-1).view(torch.uint8).chunk(world())
    dist.all_gather(list(parts), padded.view(-1).view(torch.uint8))
    if min(counts) == longest:
        return received
    return torch.cat(
        [part[:count] for part, count in zip(torch.split(received, longest), counts, strict=True)]
    )
