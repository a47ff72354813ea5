"""Fine-tuning of the whole encoder and of its last block; the random encoder's row is training from
scratch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from nearfar.evaluation.probes.fine_tuning import (
    RATES,
    Budget,
    Labels,
    divided,
    fine_tune,
    picked_rate,
)
from nearfar.evaluation.protocol import Protocol, Row, Task, needs_classes, share
from nearfar.evaluation.result import Score
from nearfar.precision import choose_precision

_BUDGET = Budget()
_MOST = 2000  # test samples that are judged; the encoder runs over them for each fit


def _fine_tune(row: Row) -> Iterator[Score]:
    task = row.task
    encoder = row.encoder
    if encoder is None:
        return
    device = task.wanted.device
    train = Labels(task.train, task.train.label.cpu(), task.classes, task.view, device)
    test = Labels(task.test, task.test.label.cpu(), task.classes, task.view, device)
    test = test[
        torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:_MOST].sort().values
    ]
    example = train.batch(torch.arange(min(_BUDGET.batch_size, len(train))))[0]
    precision, _ = choose_precision("auto", copy.deepcopy(encoder), example, torch.device(device))
    for metric, last in (("fine-tuned accuracy", None), ("fine-tuned accuracy, last block", 1)):
        rate = picked_rate(encoder, train, last=last, budget=_BUDGET, precision=precision)
        fits = []
        for seed in range(task.wanted.seeds):
            fitted, held_out = divided(train, _BUDGET, seed=seed)
            fits.append(
                fine_tune(
                    encoder,
                    fitted,
                    held_out=held_out,
                    last=last,
                    rate=rate,
                    budget=_BUDGET,
                    seed=seed,
                    precision=precision,
                )
            )
        accuracies = [float(fit.right(test).double().mean()) for fit in fits]
        setting = (
            f"learning rate {rate:g}, {min(fit.steps for fit in fits)} to "
            f"{max(fit.steps for fit in fits)} steps, {precision}"
        )
        yield share(
            row.name,
            FINE_TUNE.version,
            metric,
            accuracies,
            len(test),
            over="seeds",
            setting=setting,
        )


def _needs_one_modality(task: Task) -> str | None:
    return needs_classes(task) or (None if not task.source.spec.parts else "data of one modality")


FINE_TUNE = Protocol(
    "fine-tune",
    "fine-tune-v2",
    "the encoder and a linear head, or its last block and the head, trained for at most "
    f"{_BUDGET.steps} steps of {_BUDGET.batch_size} "
    f"samples in their plain view (AdamW, weight decay {_BUDGET.weight_decay:g}, 10 % warm-up, "
    "cosine); 20 % of the training samples "
    f"(at most {_BUDGET.held_out} of them) pick the learning rate from "
    f"{', '.join(f'{rate:g}' for rate in RATES)} in trials of "
    f"{_BUDGET.trial} steps, and the step at which to stop; mean over seeds; at most {_MOST:,} "
    "test samples; interval over seeds (t) or "
    "test samples (Wilson), the wider",
    _fine_tune,
    _needs_one_modality,
    rank=35,
)
PROTOCOLS = (FINE_TUNE,)
