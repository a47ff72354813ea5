"""Infinite learning rates: a rate that is held forgets less than one that rises again for each
task.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.batch import Batch
from nearfar.claims.claim import Claim
from nearfar.claims.harness import digits
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.evaluation.measures.continual import average_score, forgetting
from nearfar.methods.masked.mae import MAE
from nearfar.methods.method import Method, Recipe
from nearfar.networks.patch_transformer import PatchTransformer
from nearfar.training.branch import Branch
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import ImageViewSettings, plain_view

INFINITE = "held rate, falls in branches"
RESTARTED = "cosine, restarted"
TASKS = 3
EACH = 300
"""Steps of a task; of the held rate a fifth is the branch."""
FALL = 60


def measure(arm: str, seed: int) -> dict[str, float]:
    """Minus the forgetting of the masked error, which decides; forgetting and the mean error at the
    end.
    """
    source = prepared(digits(), (f"stream:tasks={TASKS}",), seed=0)
    torch.manual_seed(seed)
    encoder = PatchTransformer(source.spec, width=48, depth=2, heads=3)
    method = MAE(encoder, source.spec, MAE.Settings(width=48, depth=1, heads=3))
    held = arm == INFINITE
    schedule = "infinite:constant=0.2,falls=false" if held else f"restarts:cycles={TASKS}"
    recipe = Recipe(
        optimizer="adamw",
        learning_rate=1e-2,
        scale=False,
        schedule=schedule,
        weight_decay=5e-3,
        batch_size=64,
        warmup=0.05,
    )
    found: dict[int, Tensor] = {}

    def deliver(one: Method, task: int) -> None:
        found[task] = errors(one, source)

    plan = Plan(
        recipe,
        steps=TASKS * (EACH - FALL if held else EACH),
        seed=seed,
        order="task",
        branch=Branch(FALL, deliver),
    )
    progress = fit(method, source, method.views(ImageViewSettings()), plan)
    if progress.step < progress.steps:
        raise KeyboardInterrupt
    matrix = torch.stack([found[task] for task in range(TASKS)])
    lost = float(forgetting(matrix, higher_is_better=False))
    return {
        "minus forgetting": -lost,
        "forgetting": lost,
        "error at the end": float(average_score(matrix)),
    }


@torch.no_grad()
def errors(method: Method, source: Source) -> Tensor:
    """(tasks,) the masked error on each task's test samples, always under the same masks."""
    assert isinstance(method, MAE)
    assert source.test is not None
    method.eval()
    count = len(source.test)
    x = plain_view(source.spec)(source.test.take(torch.arange(count)))
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, method.encoder.patches, generator=generator)
    task = source.test.group["task"]
    found = []
    for number in range(TASKS):
        rows = (task == number).nonzero()[:, 0]
        batch = Batch([x[rows]], rows, extra={"noise": noise[rows]})
        found.append(method.loss(method(batch))["reconstruction"])
    return torch.stack(found).double()


CLAIM = Claim(
    statement="A masked autoencoder that learns three tasks one after another forgets less at a "
    "learning rate that is held, and falls only in branches, than at one that rises and falls "
    "again for each task.",
    first=INFINITE,
    second=RESTARTED,
    metric="minus forgetting",
    measure=measure,
    setting="digits as a stream of {0-3}, {4-6}, {7-9}; a transformer of 2 blocks and 48 features; "
    "AdamW in batches of 64, peak 0.01. Held: 240 steps a task, down to a fifth of the peak within "
    "the first, and at the end of each task a branch of 60 steps that falls to a hundredth. "
    "Restarted: 300 steps a task, each a rise over 45 steps and half a cosine to 0. The number is "
    "the mean rise of the masked error on earlier tasks' test digits since they were delivered, "
    "with its sign turned. The paper trains on ImageNet, Places and FireRisk.",
    seeds=6,
    first_seed=2000,
    tuning="None; peak and held rate were set beforehand. On seed 0 they gave a forgetting of "
    "0.117 against 0.145. Three seeds from 1000 left it open (0.020 less, -0.005 to 0.044; the "
    "held rate forgot less on each): too few, so that six others are taken and nothing else is "
    "changed.",
)
