"""Fine-tuning: an encoder, or its last blocks, trained on with labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.errors import UserError
from nearfar.evaluation.features import BATCH, View
from nearfar.evaluation.kernels.blocks import blocks
from nearfar.evaluation.probes.linear import VALIDATION_SHARE
from nearfar.evaluation.splits import stratified
from nearfar.training.schedules import cosine

RATES = (1e-4, 1e-3, 1e-2)
"""Peak learning rates to choose from."""


@dataclass(frozen=True)
class Labels:
    """Samples with their classes.

    Attributes:
        samples: N samples with ``take``.
        labels: (N,) int64.
        classes: number of classes.
        view: from samples to what the encoder takes.
        device: where it is trained.
    """

    samples: Any
    labels: Tensor
    classes: int
    view: View
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Labels:
        """Some of them, by a (N,) bool mask or int64 numbers."""
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
        return replace(self, samples=self.samples.subset(rows), labels=self.labels[rows])

    def batch(self, rows: Tensor) -> tuple[Any, Tensor]:
        """The view and the classes of some samples."""
        return self.view(self.samples.take(rows).to(self.device)), self.labels[rows].to(self.device)


@dataclass(frozen=True)
class Budget:
    """How much training there is at most: AdamW, a rise over the first tenth, then a cosine to 0.

    Attributes:
        steps: most optimiser steps.
        batch_size: samples in a step (all, if there are fewer).
        weight_decay: for all parameters.
        trial: steps in which each learning rate is tried.
        checks: how often the held-out samples are looked at, evenly over the steps.
        patience: looks without a better one after which the training stops.
        held_out: most samples that are looked at.
    """

    steps: int = 150
    batch_size: int = 64
    weight_decay: float = 1e-4
    trial: int = 40
    checks: int = 10
    patience: int = 3
    held_out: int = 500


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned copy with its new head.

    Attributes:
        model: encoder and head, in evaluation mode.
        rate: the peak learning rate.
        steps: after which the model stood as it is.
        precision: in which it runs, "float32" or "bfloat16".
    """

    model: nn.Module
    rate: float
    steps: int
    precision: str = "float32"

    @torch.no_grad()
    def right(self, test: Labels) -> Tensor:
        """Whether each sample gets its class, (N,) bool."""
        found = []
        with _precise(test, self.precision):
            for rows in torch.split(torch.arange(len(test)), BATCH):
                x, label = test.batch(rows)
                found.append(self.model(x).argmax(dim=1) == label)
        return torch.cat(found)


def fine_tune(
    encoder: nn.Module,
    train: Labels,
    *,
    held_out: Labels | None = None,
    last: int | None = None,
    rate: float,
    budget: Budget,
    seed: int,
    precision: str = "float32",
) -> Tuned:
    """Train a copy of the encoder with a linear head on labelled samples in their plain view.

    Batch norm and dropout work as in training where the parameters are trained, and as in
    evaluation where they are frozen.

    Args:
        encoder: from views (n, ...) to features (n, D); it is not changed.
        train: the samples.
        held_out: further samples; the model is kept as it stood when it did best on them. None
            trains for the whole budget.
        last: number of blocks to train, from the end, at least 1; None trains all.
        rate: peak learning rate.
        budget: of the training.
        seed: of the head and of the batches.
        precision: "float32", or "bfloat16" for the forward pass.

    Raises:
        UserError: if ``last`` is below 1, or the samples are of one class.
    """
    if last is not None and last < 1:
        raise UserError(f"The number of last blocks to fine-tune is {last}; expected at least 1.")
    if len(torch.unique(train.labels)) < 2:
        raise UserError("Fine-tuning needs samples of two classes or more; found one.")
    generator = torch.Generator().manual_seed(seed)
    model = _with_head(encoder, train, seed)
    trained = [p for block in blocks(model[0])[-(last or 0) :] for p in block]
    model[0].requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    _train_mode(model)
    optimizer = torch.optim.AdamW(
        [*trained, *model[1].parameters()], lr=rate, weight_decay=budget.weight_decay
    )
    best = _Best(held_out, budget)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global state
        for step, rows in enumerate(_batches(len(train), budget, generator), 1):
            for group in optimizer.param_groups:
                group["lr"] = rate * cosine.factor(step, budget.steps, round(0.1 * budget.steps))
            x, label = train.batch(rows)
            optimizer.zero_grad()
            with _precise(train, precision):
                logits = model(x)
            torch.autograd.backward(F.cross_entropy(logits.float(), label))
            optimizer.step()
            if best.has_enough(Tuned(model, rate, step, precision)):
                break
    return best.of(Tuned(model.eval(), rate, step, precision))


class _Best:
    """The weights that did best on held-out samples, the first of equals."""

    def __init__(self, held_out: Labels | None, budget: Budget) -> None:
        self.held_out = held_out
        self.budget = budget
        self.every = max(1, budget.steps // budget.checks)
        self.accuracy = -1.0
        self.step = 0
        self.weights = dict[str, Tensor]()

    def has_enough(self, tuned: Tuned) -> bool:
        """Look, if it is time to; whether there was nothing better for too long."""
        if self.held_out is None or (tuned.steps % self.every and tuned.steps != self.budget.steps):
            return False
        modes = {module: module.training for module in tuned.model.modules()}
        tuned.model.eval()
        accuracy = float(tuned.right(self.held_out).double().mean())
        for module, mode in modes.items():
            module.training = mode
        if accuracy > self.accuracy:
            self.accuracy = accuracy
            self.step = tuned.steps
            self.weights = {name: value.clone() for name, value in tuned.model.state_dict().items()}
        return tuned.steps - self.step >= self.budget.patience * self.every

    def of(self, tuned: Tuned) -> Tuned:
        """The model with its best weights."""
        if not self.weights:
            return tuned
        tuned.model.load_state_dict(self.weights)
        return replace(tuned, steps=self.step)


def divided(train: Labels, budget: Budget, *, seed: int) -> tuple[Labels, Labels | None]:
    """The samples without a stratified fifth, and at most ``budget.held_out`` of this; all and None
    where no class can spare any or two classes would not be left.
    """
    chosen = stratified(train.labels, VALIDATION_SHARE, seed=seed, leave=1)
    if not chosen.any() or len(torch.unique(train.labels[~chosen])) < 2:
        return train, None
    rows = chosen.nonzero()[:, 0]
    kept = rows[
        torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[: budget.held_out]
    ]
    return train[~chosen], train[kept.sort().values]


def picked_rate(
    encoder: nn.Module,
    train: Labels,
    *,
    last: int | None = None,
    budget: Budget,
    seed: int = 0,
    precision: str = "float32",
) -> float:
    """The learning rate with the best accuracy on held-out samples after a short training of its
    own, the lower of equals.

    Where none can be held out the middle rate is taken.
    """
    fitted, held_out = divided(train, budget, seed=seed)
    if held_out is None:
        return RATES[1]
    trial = replace(budget, steps=min(budget.steps, budget.trial))

    def accuracy(rate: float) -> float:
        tuned = fine_tune(
            encoder, fitted, last=last, rate=rate, budget=trial, seed=seed, precision=precision
        )
        return float(tuned.right(held_out).double().mean())

    return max(RATES, key=accuracy)


def _precise(samples: Labels, precision: str) -> torch.autocast:
    return torch.autocast(
        torch.device(samples.device).type, torch.bfloat16, enabled=precision == "bfloat16"
    )


def _with_head(encoder: nn.Module, train: Labels, seed: int) -> nn.Sequential:
    copied = copy.deepcopy(encoder).to(train.device).eval()
    example = train.batch(torch.arange(1))[0]
    if isinstance(example, Tensor) and example.ndim == 4:
        copied = copied.to(memory_format=torch.channels_last)
    with torch.no_grad():
        dimension = copied(example).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(dimension, train.classes)
    return nn.Sequential(copied, head.to(train.device))


def _train_mode(model: nn.Module) -> None:
    """Training mode where something is trained, evaluation mode where all of a module's own
    parameters are frozen.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _batches(samples: int, budget: Budget, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of each step: a new order each time the samples are used up."""
    size = min(budget.batch_size, samples)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(budget.steps):
        if len(order) < size:
            order = torch.randperm(samples, generator=generator)
        yield order[:size]
        order = order[size:]
