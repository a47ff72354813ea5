"""The updates of one step: phase by phase, its gradients and its optimiser's step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar import collectives, modalities
from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.methods.method import Method, Outputs, Phase
from nearfar.training.care.finite import FiniteSteps
from nearfar.training.gradients import gradients
from nearfar.training.phases import Optimizers, due, moving
from nearfar.training.plan import Plan
from nearfar.training.processes import sharding
from nearfar.training.processes.batch_norm import synchronise
from nearfar.training.processes.dropout import synchronise_dropout
from nearfar.training.recomputing import recompute


class Updates:
    """What is trained, and the optimisers that move it.

    Args:
        method: On the plan's device, see ``placed``.
        plan: Of the run.

    Attributes:
        trained: The method itself, or where the plan shards a copy that is divided over the
            processes.
        phases: Of the method, in order.
        optimizers: Of the phases.
    """

    def __init__(self, method: Method, plan: Plan) -> None:
        self.plan = plan
        self.trained = _to_train(method, plan)
        self.phases = self.trained.phases()
        self.optimizers = Optimizers(self.trained, plan.recipe, plan.precision)

    def begin(self, explained: Callable[[str, int], UserError]) -> None:
        """Exchange gradients with the other processes and watch for numbers that are not finite;
        called once, when a checkpoint has been restored.

        Args:
            explained: (what is not finite, step) to the error that says which samples it came from.
        """
        plan = self.plan
        # Without data parallel's hooks, which a parameter that stands still for a phase would
        # confuse, ``gradients`` sees to the average.
        is_replicated = not (plan.gradient_cache or plan.shard) and len(self.phases) == 1
        self._model = collectives.data_parallel(self.trained) if is_replicated else self.trained
        at_once = collectives.world() == 1 and plan.device.type == "cpu"
        self.finite = FiniteSteps(self.trained, explained, at_once=at_once)

    def of(self, batch: Batch, step: int, progress_after: float) -> dict[str, Tensor]:
        """Make the updates of one step.

        Args:
            batch: This process's part.
            step: Finished steps.
            progress_after: Share of the run that is done after the step.

        Returns:
            The detached loss terms, under "loss" the sum of the phases' losses.
        """
        method = self.trained
        method.train()
        terms: dict[str, Tensor] = {}
        outputs: Outputs = {}
        losses: list[Tensor] = []
        for phase in due(self.phases, step, method.progress):
            phase_terms, phase_outputs = self._phase(phase, batch, step)
            losses.append(phase_terms.pop("loss"))
            if len(self.phases) > 1:
                terms[phase.name] = losses[-1]
            terms |= phase_terms
            outputs |= phase_outputs
        method.progress = progress_after
        with self.plan.profile("momentum"), torch.no_grad(), sharding.mixed():
            method.after_step(outputs)
        nothing = torch.zeros((), device=self.plan.device)
        return {**terms, "loss": torch.stack(losses).sum() if losses else nothing}

    def _phase(self, phase: Phase, batch: Batch, step: int) -> tuple[dict[str, Tensor], Outputs]:
        """Forward, backward and the optimiser's step of one phase."""
        plan = self.plan
        optimizer = self.optimizers.of(phase)
        optimizer.zero_grad(set_to_none=True)
        with moving(self.trained, phase.parameters):
            terms, outputs = gradients(self._model, self.trained, phase, batch, plan)
        self.finite.look(phase.parameters, terms, step + 1)
        with plan.profile("optimiser"), sharding.mixed():
            self.trained.after_backward(phase.name)
            if plan.recipe.clip:
                torch.nn.utils.clip_grad_norm_(phase.parameters, plan.recipe.clip)
            optimizer.step()
        return terms, outputs


def placed(method: Method, plan: Plan) -> Method:
    """The method on the plan's device, its statistics and draws those of all processes together."""
    method = method.to(plan.device)
    if modalities.get(method.spec.modality).channels_last:
        method = method.to(memory_format=torch.channels_last)
    if collectives.world() > 1:
        synchronise(method)
        synchronise_dropout(method)
    return method


def _to_train(method: Method, plan: Plan) -> Method:
    if plan.recompute:
        recompute(method.encoder)
    divides = plan.shard and collectives.world() > 1
    trained = sharding.sharded(method, plan.device) if divides else method
    if plan.compile:
        trained.encoder.compile()
    return trained


def refuse(method: Method, plan: Plan) -> None:
    """What the method says that it cannot be trained with.

    Raises:
        UserError: if the plan asks for it.
    """
    asked = {
        "shard": plan.shard,
        "cache": plan.gradient_cache > 0,
        "accumulate": plan.accumulate > 1,
    }
    options = {"shard": "--shard", "cache": "--gradient-cache", "accumulate": "--accumulate"}
    for what, reason in method.cannot.items():
        if asked.get(what, False):
            name = type(method).__name__
            raise UserError(
                f"{name} cannot be trained with {options[what]}, because {reason}; leave it out."
            )
