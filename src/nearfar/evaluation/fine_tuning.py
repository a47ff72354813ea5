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
from nearfar.evaluation.linear import VALIDATION_SHARE
from nearfar.evaluation.splits import stratified

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
    """How much training there is: AdamW, a rise over the first tenth, then a cosine to 0.

    Attributes:
        steps: optimiser steps.
        batch_size: samples in a step (all, if there are fewer).
        weight_decay: for all parameters.
    """

    steps: int = 200
    batch_size: int = 64
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned copy with its new head.

    Attributes:
        model: encoder and head, in evaluation mode.
        rate: the peak learning rate.
    """

    model: nn.Module
    rate: float

    @torch.no_grad()
    def right(self, test: Labels) -> Tensor:
        """Whether each sample gets its class, (N,) bool."""
        found = []
        for rows in torch.split(torch.arange(len(test)), BATCH):
            x, label = test.batch(rows)
            found.append(self.model(x).argmax(dim=1) == label)
        return torch.cat(found)


def blocks(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The encoder's parameters in order, in the blocks that "the last k" counts.

    A block is what stands under one number of the first numbered level (a residual block, a transformer's block, a convolution),
    or one unnumbered part; scales and shifts alone, as of a norm, belong to the block before them.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        parts = name.split(".")
        numbered = next((place for place, part in enumerate(parts) if part.isdigit()), None)
        key = ".".join(parts[: numbered + 1]) if numbered is not None else ".".join(parts[:-1] or parts)
        found.setdefault(key, []).append(parameter)
    merged: list[list[nn.Parameter]] = []
    for parameters in found.values():
        if merged and all(parameter.ndim < 2 for parameter in parameters):
            merged[-1] += parameters
        else:
            merged.append(parameters)
    return merged


def fine_tune(encoder: nn.Module, train: Labels, *, last: int | None = None, rate: float, budget: Budget, seed: int) -> Tuned:
    """Train a copy of the encoder with a linear head on labelled samples in their plain view.

    Batch norm and dropout work as in training where the parameters are trained, and as in evaluation where they are frozen.

    Args:
        encoder: from views (n, ...) to features (n, D); it is not changed.
        train: the samples.
        last: number of blocks to train, from the end, at least 1; None trains all.
        rate: peak learning rate.
        budget: of the training.
        seed: of the head and of the batches.

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
    optimizer = torch.optim.AdamW([*trained, *model[1].parameters()], lr=rate, weight_decay=budget.weight_decay)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global state
        for step, rows in enumerate(_batches(len(train), budget, generator)):
            for group in optimizer.param_groups:
                group["lr"] = rate * _course((step + 1) / budget.steps)
            x, label = train.batch(rows)
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(x), label))
            optimizer.step()
    return Tuned(model.eval(), rate)


def picked_rate(encoder: nn.Module, train: Labels, *, last: int | None = None, budget: Budget, seed: int = 0) -> float:
    """The learning rate with the best accuracy on a stratified fifth of the samples, the lower of equals.

    Where no class has a second sample the middle rate is taken.
    """
    held_out = stratified(train.labels, VALIDATION_SHARE, seed=seed, leave=1)
    if not held_out.any() or len(torch.unique(train.labels[~held_out])) < 2:
        return RATES[1]

    def accuracy(rate: float) -> float:
        tuned = fine_tune(encoder, train[~held_out], last=last, rate=rate, budget=budget, seed=seed)
        return float(tuned.right(train[held_out]).double().mean())

    return max(RATES, key=accuracy)


def _with_head(encoder: nn.Module, train: Labels, seed: int) -> nn.Sequential:
    copied = copy.deepcopy(encoder).to(train.device).eval()
    with torch.no_grad():
        dimension = copied(train.batch(torch.arange(1))[0]).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(dimension, train.classes)
    return nn.Sequential(copied, head.to(train.device))


def _train_mode(model: nn.Module) -> None:
    """Training mode where something is trained, evaluation mode where all of a module's own parameters are frozen."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _batches(samples: int, budget: Budget, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of each step: a new order each time the samples are used up."""
    size, order = min(budget.batch_size, samples), torch.empty(0, dtype=torch.int64)
    for _ in range(budget.steps):
        if len(order) < size:
            order = torch.randperm(samples, generator=generator)
        yield order[:size]
        order = order[size:]


def _course(progress: float) -> float:
    """The learning rate relative to its peak."""
    rise = 0.1
    if progress < rise:
        return progress / rise
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * (progress - rise) / (1 - rise)))))
