"""What a run keeps so that it can go on to the bit: the method, the optimiser, the step and every random state."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearfar.methods.method import Method
from nearfar.training import collectives, sharding
from nearfar.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint


def save(folder: Path | None, method: Method, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write a checkpoint to ``folder``, if there is one; every process must come here, the first one writes.

    Raises:
        UserError: if it cannot be written.
    """
    random_states = collectives.gather_rows(torch.get_rng_state())  # alike, unless a network draws for its rows alone
    trained, optimised = sharding.whole(method.state_dict()), sharding.whole(optimizer.state_dict())
    if folder is not None and collectives.is_first():
        state: dict[str, Any] = {
            "step": step,
            "method": trained,
            "optimizer": optimised,
            "random": {"torch": random_states, "python": random.getstate(), "numpy": _numpy_state()},
        }
        if torch.cuda.is_available():
            state["random"]["cuda"] = torch.cuda.get_rng_state_all()
        save_checkpoint(folder, state)
    collectives.barrier()


def restore(folder: Path | None, method: Method, optimizer: torch.optim.Optimizer, seed: int) -> int:
    """Load the newest checkpoint in ``folder`` and return its number of finished steps; without one, seed what is drawn and return 0.

    Raises:
        UserError: if the checkpoint is damaged.
    """
    path = None if folder is None else latest_checkpoint(folder)
    if path is None:
        # From here on the run owns the global state. It is the same on every process: dropout draws from it for the whole batch.
        torch.manual_seed(seed)
        return 0
    state = load_checkpoint(path)
    sharding.load(method, state["method"])
    sharding.load_optimizer(optimizer, state["optimizer"])
    states = state["random"]["torch"]
    # A copy, as PyTorch crashes on a row of a larger tensor. Exact with as many processes as there were.
    torch.set_rng_state(states[collectives.rank() % len(states)].clone())
    version, words, gauss = state["random"]["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["random"]["numpy"]))
    if torch.cuda.is_available() and "cuda" in state["random"]:
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    return int(state["step"])


def _numpy_state() -> list[Any]:
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return [name, np.asarray(words).tolist(), position, has_gauss, gauss]
