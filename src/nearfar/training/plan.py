"""How a run is trained, fully resolved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from nearfar.methods.method import Recipe
from nearfar.training.care.profile import Untimed

if TYPE_CHECKING:
    from nearfar.training.branch import Branch


@dataclass(frozen=True)
class Plan:
    """What the loop needs to know beside the method and the data.

    Attributes:
        recipe: the resolved recipe (optimiser, learning rate, batch size, epochs, warm-up,
            clipping).
        steps: optimiser steps of the whole run; 0: as many as the recipe's epochs have.
        seed: of the order of samples and of the views.
        device: where everything is computed.
        precision: "float32" or "bfloat16" (autocast; losses stay in float32).
        accumulate: parts a batch is split into; negatives come from one part only.
        gradient_cache: samples embedded at once while the loss sees the whole batch; 0: off.
        checkpoint_minutes: time between two checkpoints.
        weight_average: decay of the average of the weights that is looked at and given in their
            place; 0: the weights themselves are.
        log_every: steps between two rows of metrics.
        compile: compile the encoder.
        recompute: keep no activations inside of the encoder's blocks.
        shard: divide parameters, gradients and optimiser state over the processes.
        profile: times the parts of a step, or does nothing.
        order: group column through whose members the run goes, one after another; "": the method's
            own batches.
        branch: what is delivered at the end of each of them; None: nothing.
        config: text of the run's config.toml, kept in its checkpoints.
        tell: gets a sentence about whatever the user should know.
    """

    recipe: Recipe
    steps: int = 0
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    accumulate: int = 1
    gradient_cache: int = 0
    checkpoint_minutes: float = 5.0
    weight_average: float = 0.0
    log_every: int = 5
    compile: bool = False
    recompute: bool = False
    shard: bool = False
    profile: Untimed = field(default_factory=Untimed)
    order: str = ""
    branch: Branch | None = None
    config: str = ""
    tell: Callable[[str], None] = lambda _: None
