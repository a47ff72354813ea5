"""Parameters, gradients and the optimiser's state divided over the processes (PyTorch's FSDP2):
``nearfar pretrain --shard``.

Each process keeps 1 / p of every parameter, as a ``DTensor`` divided along its first axis. What is
needed is gathered when it is needed: a block of a network for the time of its own forward and
backward pass, everything else from the method's forward pass to the end of the backward pass, as a
loss and the parts of an encoder that are called one by one need it too. Gradients are averaged and
divided again on the way back. Optimisers and momentum encoders change each parameter by itself, so
they work on what a process holds.

What is trained is a copy; the method that was given is empty meanwhile and is filled with whole
parameters where someone looks at it.

Source: Rajbhandari et al. 2020 (ZeRO, stage 3); Zhao et al. 2023 (PyTorch FSDP).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication

from nearfar import collectives, modalities
from nearfar.methods.method import Method
from nearfar.networks.encoder import Encoder

_LEAST = 1 / 256
"""Share of all parameters from which on a block is gathered by itself; exchanges for less cost more
time than they save memory.
"""


def sharded(method: Method, device: torch.device) -> Method:
    """A copy of ``method`` of whose parameters each process holds its shard; ``method`` itself is
    left without values (see ``filled``).

    Scalars are not divided: every process holds them, and ``update.gradients`` averages their
    gradients.

    Args:
        method: the same on every process.
        device: where its parameters are.
    """
    method.to(memory_format=torch.contiguous_format)  # FSDP divides no others
    divided = [parameter for parameter in method.parameters() if parameter.ndim]
    copied = copy.deepcopy(method, {id(parameter): parameter for parameter in divided})
    options: dict[str, Any] = {
        "mesh": collectives.mesh(device.type),
        "ignored_params": {p for p in copied.parameters() if not p.ndim},
    }
    for module in (*blocks(copied), copied):
        module.register_forward_hook(_own_memory)
        fully_shard(module, **options)
    for name in {phase.forward for phase in method.phases()} - {"forward"}:
        register_fsdp_forward_method(copied, name)
    for name in _making_batches(method):
        _gather_during(copied, name)
    _empty(method)
    return copied


def gathered_for_batches(method: Method) -> bool:
    """Whether making a batch of a sharded method may exchange tensors, and so must wait for its
    turn.
    """
    return isinstance(method, FSDPModule) and bool(_making_batches(method))


def _making_batches(method: Method) -> list[str]:
    """What of the method's own is called before the forward pass."""
    return [
        name
        for name in ("view_sources", "prepare")
        if getattr(type(method), name) is not getattr(Method, name)
    ]


def _gather_during(method: Any, name: str) -> None:
    """For what may run networks beside the forward pass: all that is in no block is whole until it
    returns.
    """
    register_fsdp_forward_method(method, name)
    gathered = getattr(method, name)

    def call(*arguments: Any) -> Any:
        try:
            return gathered(*arguments)
        finally:
            method.reshard()

    setattr(method, name, call)


def blocks(method: nn.Module) -> list[nn.Module]:
    """The outermost members of ``nn.Sequential`` and ``nn.ModuleList`` that are no container or
    encoder and hold a fair share of all parameters. Such members are only ever called as a whole,
    so they can be gathered for their own passes alone.
    """
    least = _LEAST * sum(parameter.numel() for parameter in method.parameters())
    shared = _shared(method)
    found: dict[nn.Module, None] = {}

    def visit(module: nn.Module, member: bool) -> None:
        container = isinstance(module, nn.Sequential | nn.ModuleList)
        own = list(module.parameters())
        if (
            member
            and not container
            and not any(isinstance(part, Encoder) for part in module.modules())
        ):
            if sum(parameter.numel() for parameter in own) >= least and shared.isdisjoint(own):
                found[module] = None
            return
        for child in module.children():
            visit(child, container)

    visit(method, False)
    return list(found)


def _shared(method: nn.Module) -> set[nn.Parameter]:
    """Parameters that lie in more than one module, and so in no block."""
    seen: set[nn.Parameter] = set()
    found: set[nn.Parameter] = set()
    for module in method.modules():
        own = set(module.parameters(recurse=False))
        found |= own & seen
        seen |= own
    return found


def _own_memory(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Views among the outputs copied: FSDP waits for their gradient, and an operation in place on a
    view would make it wait in vain.
    """
    return _mapped(
        output,
        lambda tensor: (
            tensor.clone() if tensor.requires_grad and tensor._base is not None else tensor
        ),
    )


@contextmanager
def filled(method: Method, trained: Method, *, everywhere: bool = False) -> Iterator[None]:
    """Within the block, ``method`` holds the whole of what ``trained`` holds, on the first process
    or ``everywhere``; all processes must come here. Does nothing where both are the same.
    """
    fill(method, trained, everywhere=everywhere)
    yield
    if trained is not method:
        _empty(method)


@contextmanager
def rewritten(method: Method, trained: Method) -> Iterator[None]:
    """Within the block, every process's ``method`` holds the whole of what ``trained`` holds; what
    is changed in it is then changed in ``trained``. Does nothing where both are the same, or where
    the method looks at nothing before an epoch.
    """
    if trained is method or type(method).before_epoch is Method.before_epoch:
        yield
        return
    with filled(method, trained, everywhere=True):
        yield
        load(trained, method.state_dict())


def fill(method: Method, trained: Method, *, everywhere: bool = True) -> None:
    """As ``filled``, for good."""
    if trained is method:
        return
    wanted = everywhere or collectives.is_first()
    for own, target in zip(trained.parameters(), method.parameters(), strict=True):
        value = whole(own.detach())
        if wanted and isinstance(own, DTensor):
            target.data = value
    if not wanted:
        return
    rest = {
        name: value
        for name, value in trained.state_dict().items()
        if not isinstance(value, DTensor)
    }
    method.load_state_dict(rest, strict=False)
    method.progress = trained.progress
    if modalities.get(method.spec.modality).channels_last:
        method.to(memory_format=torch.channels_last)


def _empty(method: Method) -> None:
    for parameter in method.parameters():
        if parameter.ndim:
            parameter.data = parameter.data.new_empty(0)


def whole(value: Any) -> Any:
    """A tensor, or nested dicts, lists and tuples of such, with whole tensors in the place of
    shards; all processes must come here.
    """
    return _mapped(
        value, lambda tensor: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    )


def _mapped(value: Any, change: Callable[[Any], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _mapped(item, change)) for key, item in value.items())
    return (
        type(value)(_mapped(item, change) for item in value)
        if type(value) in (list, tuple)
        else value
    )


def load(method: Method, state: Mapping[str, Any]) -> None:
    """``method.load_state_dict(state)`` of a whole state; every process takes what it holds of it,
    without a word to the others.
    """
    own = method.state_dict()
    method.load_state_dict({name: divided(value, own.get(name)) for name, value in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """``optimizer.load_state_dict(state)`` of a whole state, likewise."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shards = {
        place: {name: divided(value, parameters[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": shards})


def divided(value: Any, like: Any) -> Any:
    """The shard of a whole tensor, where ``like`` is one of a tensor of its shape; otherwise
    ``value`` as it is.
    """
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    return distribute_tensor(
        value.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )


@contextmanager
def mixed() -> Iterator[None]:
    """Within the block, operations on shards take whole tensors too, which must be the same on
    every process.
    """
    with implicit_replication():
        yield
