"""The only file that talks to other processes. With one process nothing here changes anything.

What has a gradient here has its true adjoint: the gradient of a sum over processes is the sum of all processes' gradients.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# It keeps the group that exists when it is imported, for ever; DistributedDataParallel imports it late. See ``stop``.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel


def start(address: str = "env://") -> None:
    """Meet the other processes that ``torchrun`` started; does nothing when there are none.

    Tensors on the CPU travel by gloo, tensors on CUDA devices by NCCL; each process takes the device of its local rank.

    Args:
        address: where the processes meet: torchrun's environment, or "file:///path" of a file that does not exist yet.
            Rank and number of processes are read from the environment (RANK, WORLD_SIZE) either way.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1 or dist.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # The first process evaluates alone for as long as it takes while the others wait; torchrun ends all when one dies.
    dist.init_process_group(
        backend, init_method=address, rank=int(os.environ["RANK"]), world_size=processes, timeout=timedelta(hours=24)
    )


def stop() -> None:
    """Leave the other processes; the threads that carried tensors have ended afterwards.

    They end with the last reference to the group. One that still lets go of a tensor while the interpreter ends aborts the process,
    so the cycles that hold the group, such as a wrapped model, are collected here.
    """
    if dist.is_initialized():
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


def barrier() -> None:
    """Wait until every process is here."""
    any_process(False)


def gather_rows(own: Tensor) -> Tensor:
    """One row of each process, (world, ...) in order of rank, on every process and without gradient; ``own`` (...) is alike on all."""
    return own[None] if world() == 1 else _gathered(own[None], [1] * world())


def broadcast_object(value: Any) -> Any:
    """The first process's ``value``, on every process; anything that JSON can hold."""
    if world() == 1:
        return value
    text = bytearray(json.dumps(value if is_first() else None).encode())
    length = torch.tensor(len(text))
    dist.broadcast(length, 0)
    message = torch.frombuffer(text, dtype=torch.uint8) if is_first() else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(message, 0)
    return json.loads(bytes(message.tolist()))


def data_parallel(module: nn.Module, *, unused: bool = False) -> nn.Module:
    """``module`` with its parameter gradients averaged over processes; ``module`` itself with one process.

    Args:
        module: the same on every process; its buffers are not sent, as every process changes them alike.
        unused: whether some parameters get no gradient in some steps.
    """
    if world() == 1:
        return module
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # up to PyTorch 2.13
    options: dict[str, Any] = {name: False, "find_unused_parameters": unused}
    return DistributedDataParallel(module, **options)


def mesh(kind: str) -> DeviceMesh:
    """All processes in a row, on devices of that kind ("cpu", "cuda"), for tensors that are divided over them."""
    made = init_device_mesh(kind, (world(),))
    # DTensor keeps meshes in the caches of its operations, for ever; ``stop`` would wait in vain for the group that they hold. Only
    # tracing asks the mesh for it: what runs finds the group of the day by its name.
    getattr(made, "_pg_registry", {}).clear()
    return made


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over processes in place, as ``data_parallel`` does, where the backward pass goes around it.

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
        torch._foreach_copy_(same, [average.view_as(g) for average, g in zip(averages, same, strict=True)])


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over processes; backwards, the sum of all processes' gradients of it (the true adjoint)."""
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
    """All processes' rows in order of rank, without gradient; ``counts`` holds the number of rows of each."""
    return own if world() == 1 else _gathered(own, counts)


def _gathered(own: Tensor, counts: list[int]) -> Tensor:
    """All processes' rows in order of rank; sent as bytes, so that any type travels, and padded to the longest part."""
    longest, row = max(counts), own.shape[1:]
    padded = own.new_zeros(longest, *row)
    padded[: len(own)] = own
    received = own.new_empty(world() * longest, *row)
    parts = received.view(-1).view(torch.uint8).chunk(world())
    dist.all_gather(list(parts), padded.view(-1).view(torch.uint8))
    if min(counts) == longest:
        return received
    return torch.cat([part[:count] for part, count in zip(torch.split(received, longest), counts, strict=True)])
