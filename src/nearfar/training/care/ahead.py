"""The next batch is made while a step computes, where cores allow."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch

from nearfar.batch import Batch


def cores_allow(device: torch.device) -> bool:
    """Whether a second thread can make batches without taking cores from the step: for an
    accelerator always, for a CPU if at least as many of this process's cores are idle as the step
    uses (``torch.get_num_threads()``).
    """
    if device.type != "cpu":
        return True
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) >= 2 * torch.get_num_threads()


class Batches:
    """The batches of a run by the number of their step; the one after it is begun in a second
    thread when one is handed out.

    Args:
        make: the batch of a step; a function of the step and of what changes between epochs alone.
        epoch: steps of an epoch. Its first batch is never made ahead, as ``before_epoch`` may
            change what it depends on.
        last: steps of the run.
        ahead: whether to work ahead; the batches are the same without.
    """

    def __init__(self, make: Callable[[int], Batch], epoch: int, last: int, *, ahead: bool) -> None:
        self.make = make
        self.epoch = epoch
        self.last = last
        self.worker = (
            ThreadPoolExecutor(1, "batches", initializer=_same_device()) if ahead else None
        )
        self.begun: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        found = self.begun.pop(step, None)
        batch = self.make(step) if found is None else found.result()
        if self.worker is not None and (step + 1) % self.epoch and step + 1 < self.last:
            self.begun[step + 1] = self.worker.submit(self.make, step + 1)
        return batch

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.worker is not None:
            self.worker.shutdown(cancel_futures=True)


def _same_device() -> Callable[[], None]:
    """What gives a new thread this thread's current accelerator."""
    if not torch.accelerator.is_available():
        return lambda: None
    index = torch.accelerator.current_device_index()
    return lambda: torch.accelerator.set_device_index(index)
