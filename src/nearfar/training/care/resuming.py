"""What a run keeps so that it can go on to the bit: the method, the optimiser, the step and every
random state.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nearfar import collectives
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.options import toml_values
from nearfar.training.care.checkpoints import (
    load_checkpoint,
    newest_first,
    save_checkpoint,
    set_aside,
)
from nearfar.training.care.finite import check_state
from nearfar.training.phases import Optimizers
from nearfar.training.processes import sharding
from nearfar.training.weight_average import WeightAverage

Tell = Callable[[str], None]

FREE = (
    "data",
    "output",
    "resume",
    "evaluate",
    "evaluate_every",
    "activation_checkpointing",
    "shard",
    "checkpoint_minutes",
    "keep_best",
    "log",
    "device",
    "strict",
)
"""Options that do not change what a run computes; that data under another path are the same is
checked by what a run remembers of them.
"""


def save(
    folder: Path | None,
    method: Method,
    optimizers: Optimizers,
    average: WeightAverage,
    step: int,
    *,
    config: str = "",
) -> None:
    """Write a checkpoint to ``folder``, if there is one; every process must come here, the first
    one writes.

    Args:
        folder: of the checkpoints.
        method: what is trained.
        optimizers: of its parameters.
        average: of its weights.
        step: finished steps.
        config: text of the run's config.toml, which can be restored from the checkpoint.

    Raises:
        UserError: if it cannot be written, or if a weight or a state of the optimiser is not
            finite.
    """
    random_states = collectives.gather_rows(
        torch.get_rng_state()
    )  # alike, unless a network draws for its rows alone
    trained = sharding.whole(method.state_dict())
    optimised = sharding.whole(optimizers.state_dict())
    averaged = average.state()
    check_state(trained, step)
    if folder is not None and collectives.is_first():
        state: dict[str, Any] = {
            "step": step,
            "method": trained,
            "optimizer": optimised,
            "random": {
                "torch": random_states,
                "python": random.getstate(),
                "numpy": _numpy_state(),
            },
            "config": config,
        }
        if averaged:
            state["average"] = averaged
        if torch.cuda.is_available():
            state["random"]["cuda"] = torch.cuda.get_rng_state_all()
        save_checkpoint(folder, state)
    collectives.barrier()


def restore(
    folder: Path | None,
    method: Method,
    optimizers: Optimizers,
    average: WeightAverage,
    seed: int,
    *,
    config: str = "",
    tell: Tell = lambda _: None,
) -> int:
    """Load the newest good checkpoint in ``folder`` and return its number of finished steps;
    without any, seed what is drawn, return 0.

    A checkpoint that is damaged, lacks parts or belongs to another run is set aside, with a word,
    where an older one is good.

    Args:
        folder: of the checkpoints.
        method: what is trained.
        optimizers: of its parameters.
        average: of its weights.
        seed: of the run.
        config: text of the run's config.toml; a checkpoint of a run with another one is not taken.
            "": any is.
        tell: gets a sentence about each checkpoint that was set aside.

    Raises:
        UserError: if there are checkpoints but none is good.
    """
    paths = [] if folder is None else newest_first(folder)
    reasons: list[tuple[Path, str]] = []
    for path in paths:
        try:
            step = _load(path, method, optimizers, average, config)
        except UserError as error:
            reasons.append((path, str(error)))
            continue
        collectives.barrier()
        for unusable, reason in reasons:
            tell(f"{reason} Going on from {path.name}; {unusable.name} was set aside.")
            if collectives.is_first():
                set_aside(unusable)
        return step
    if reasons:
        raise _nothing_good(reasons)
    # From here on the run owns the global state. It is the same on every process: dropout draws
    # from it for the whole batch.
    torch.manual_seed(seed)
    return 0


def different(config: str, kept: str) -> dict[str, tuple[Any, Any]]:
    """What two texts of a config.toml say differently about what is computed: for each name both
    values.
    """
    if not config or not kept:
        return {}
    own, other = (_flat(toml_values(text, Path("of the checkpoint"))) for text in (config, kept))
    names = [name for name in {**own, **other} if name not in FREE]
    return {
        name: (own.get(name), other.get(name)) for name in names if own.get(name) != other.get(name)
    }


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    settings = values.get("settings", {})
    settings = settings if isinstance(settings, Mapping) else {"": settings}
    return {key: value for key, value in values.items() if key != "settings"} | {
        f"settings.{k}": v for k, v in settings.items()
    }


def _load(
    path: Path, method: Method, optimizers: Optimizers, average: WeightAverage, config: str
) -> int:
    state = load_checkpoint(path)
    changes = different(config, str(state.get("config", "")))
    if (path.parent.parent / "data.json").exists():
        changes.pop("data", None)  # data that moved are known by the samples that the run remembers
    if changes:
        name, (now, then) = next(iter(changes.items()))
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        raise UserError(
            f"The checkpoint {path} is of a run with other options: {name} was {then!r} there and "
            f"is {now!r} in config.toml{more}."
        )
    try:
        step = int(state["step"])
        check_state(state["method"], step)
        sharding.load(method, state["method"])
        optimizers.load_state_dict(state["optimizer"], sharding.load_optimizer)
        average.load(state.get("average", {}))
        _set_random(state["random"])
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".:") or type(error).__name__
        raise UserError(
            f"The checkpoint {path} does not fit this run or lacks parts ({reason})."
        ) from error
    return step


def _set_random(states: Mapping[str, Any]) -> None:
    own = states["torch"]
    # A copy, as PyTorch crashes on a row of a larger tensor.
    torch.set_rng_state(own[collectives.rank() % len(own)].clone())
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(states["numpy"]))
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])


def _nothing_good(reasons: list[tuple[Path, str]]) -> UserError:
    reason = reasons[0][1]
    if len(reasons) == 1:
        return UserError(
            f"{reason} There is no other checkpoint to go on from: restore the file, or start the "
            "run again."
        )
    others = ", ".join(path.name for path, _ in reasons[1:])
    return UserError(
        f"{reason} Nor can {others} be used: restore one of the files, or start the run again."
    )


def _numpy_state() -> list[Any]:
    name, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return [name, np.asarray(words).tolist(), position, has_gauss, gauss]
