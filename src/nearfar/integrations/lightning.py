"""A method as a LightningModule, for people who own a Trainer.

Batches are the loader's ``(samples, index)`` or ``(samples, index, label)``; views are made on the
Trainer's device. Outputs are joined over the Trainer's processes as nearfar's own loop joins them,
with the same gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nearfar import collectives
from nearfar.batch import Batch, Place
from nearfar.data.batches.wanted import Shuffled
from nearfar.errors import UserError
from nearfar.methods.method import Method, Recipe
from nearfar.training.objective import joined_loss
from nearfar.training.optimisers.optimisers import build_optimizer
from nearfar.training.optimisers.scheduling import apply_schedule
from nearfar.training.outputs import detached, widened
from nearfar.training.processes.batch_norm import synchronise
from nearfar.views.draws import PartGenerator
from nearfar.views.made import about

try:
    import lightning
except ImportError as error:
    raise UserError(
        "nearfar.integrations.lightning needs the package lightning: pip install lightning."
    ) from error


class LightningMethod(lightning.LightningModule):
    """Any nearfar method under ``lightning.Trainer``; without its grouped batches and looks at the
    data between epochs.

    Args:
        method: on its encoder.
        recipe: optimiser, learning rate, weight decay, batch size, warm-up; clipping and epochs are
            the Trainer's.
        seed: of the views.

    Raises:
        UserError: if the method has several phases, or wants batches or looks that a loader cannot
            give.
    """

    def __init__(self, method: Method, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__()
        if len(method.phases()) > 1 or method.wanted_batches != Shuffled():
            raise UserError(
                f"{type(method).__name__} needs nearfar's own loop; train it with nearfar.pretrain."
            )
        self.method = method
        self.recipe = recipe
        self.seed = seed
        self.views = method.views()

    def setup(self, stage: str) -> None:
        if collectives.world() > 1:
            synchronise(self.method)

    def on_train_batch_start(self, *_: Any) -> None:
        steps = int(self.trainer.estimated_stepping_batches)
        self.method.progress = self.global_step / steps
        apply_schedule(self.trainer.optimizers[0], self.recipe, self.global_step, steps)

    def training_step(self, given: Sequence[Any], number: int) -> Tensor:
        samples, index, *label = given
        generator = PartGenerator(
            (self.seed * 1_000_003 + self.global_step) * 4096, self._place(len(index))
        )
        sources = self.method.view_sources(samples, index, generator)
        made = self.views(samples if sources is None else sources, generator)
        batch = Batch(list(made), index, label[0] if label else None, about(made))
        batch = self.method.prepare(batch, generator)
        outputs, terms = joined_loss(
            self.method, self.method.phases()[0], widened(self.method(batch))
        )
        self.outputs = detached(outputs)
        self.log_dict({name: term.detach() for name, term in terms.items()})
        return terms["loss"]

    def _place(self, samples: int) -> Place | None:
        """Where this process's samples are in the batch of all, which are taken to have as many
        each; for draws alone.
        """
        world = self.trainer.world_size
        return (
            None
            if world == 1
            else Place(torch.arange(samples) + self.global_rank * samples, samples * world)
        )

    def on_after_backward(self) -> None:
        self.method.after_backward(self.method.phases()[0].name)

    def on_train_batch_end(self, *_: Any) -> None:
        self.method.progress = self.global_step / int(self.trainer.estimated_stepping_batches)
        with torch.no_grad():
            self.method.after_step(self.outputs)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.method, self.recipe)
