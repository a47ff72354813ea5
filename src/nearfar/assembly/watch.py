"""The plan of a run and what watches it, from its configuration."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nearfar import collectives
from nearfar.assembly.assemble import Assembled
from nearfar.assembly.best import best_of
from nearfar.assembly.callbacks import Display, MetricsLog, OnlineEvaluation, Probes
from nearfar.errors import UserError
from nearfar.evaluation.glance import Glance
from nearfar.evaluation.kernels.similarities import SimilarityProbe
from nearfar.evaluation.measures.projections import ProjectionProbe
from nearfar.evaluation.online import OnlineProbe
from nearfar.methods.method import Method
from nearfar.networks.catalogue import short
from nearfar.options import Config, changed
from nearfar.precision import choose_precision, device_of
from nearfar.training.care.loggers import trackers
from nearfar.training.plan import Plan
from nearfar.training.progress import Callback
from nearfar.views import plain_view
from nearfar.views.own.views import cost_in_words

_TRIED = 2
"""Samples of each view that an encoder is tried on before anything is written."""


def plan_of(assembled: Assembled, source: Any, views: Any, console: Console) -> tuple[Plan, Config]:
    """The loop's plan, and the configuration with the chosen precision written in."""
    options = assembled.config.options
    recipe = assembled.recipe
    device = device_of(options.device)
    index = torch.arange(
        min(2 * recipe.batch_size, 256, len(source.trained))
    )  # two views of a batch pass together
    samples = source.trained.to(device)
    raw = samples.whole(index) if getattr(views, "takes_whole", False) else samples.take(index)
    started = time.perf_counter()
    made = views(raw, torch.Generator().manual_seed(0))
    seconds = (time.perf_counter() - started) / len(index)
    example = made[0]
    encoder = assembled.method.encoder.to(device)
    for view in made:
        encoder.try_on(view[:_TRIED])

    def tell(sentence: str) -> None:
        console.print(sentence, highlight=False, soft_wrap=True)

    if cost := cost_in_words(views, seconds, recipe.batch_size):
        tell(cost)
    check_blocks(assembled.method, assembled.config)
    check_parts(assembled.method, recipe.batch_size, options.accumulate, options.gradient_cache)
    probed = (
        choose_precision(options.precision, encoder, example, device, tell)
        if collectives.is_first()
        else None
    )
    precision, why = collectives.broadcast_object(
        probed
    )  # every process computes in the same format
    console.print(f"precision {why}", highlight=False)
    if options.shard and collectives.world() == 1:
        console.print(
            "shard: this is the only process, so there is nothing to divide; start several with "
            "torchrun",
            highlight=False,
        )
    if options.accumulate > 1:
        console.print(
            f"accumulate {options.accumulate}: each part is contrasted with itself only, so there "
            "are no more negatives than in"
            f" a batch of {recipe.batch_size // options.accumulate}; --gradient-cache keeps them "
            "all",
            highlight=False,
            soft_wrap=True,
        )
    plan = Plan(
        recipe=recipe,
        steps=options.steps or 0,
        seed=options.seed,
        device=device,
        precision=precision,
        accumulate=options.accumulate,
        gradient_cache=options.gradient_cache,
        weight_average=options.weight_average or 0.0,
        checkpoint_minutes=options.checkpoint_minutes,
        compile=options.compile,
        recompute=options.activation_checkpointing,
        shard=options.shard,
        order=options.order or "",
    )
    return plan, dataclasses.replace(
        assembled.config, options=changed(options, {"precision": precision})
    )


def check_blocks(method: Method, config: Config) -> None:
    """Refuse to recompute the blocks of an encoder that has none.

    Raises:
        UserError: names the encoder.
    """
    if config.options.activation_checkpointing and not method.encoder.opened_blocks():
        raise UserError(
            f"The encoder {short(config.options.encoder)} has no blocks whose activations could be "
            "computed again; choose one with blocks, such as resnet18 or vit-tiny, or leave "
            "--activation-checkpointing out."
        )


def check_parts(method: nn.Module, batch_size: int, accumulate: int, gradient_cache: int) -> None:
    """Refuse parts of a batch that hold too few samples to be compared, or for batch norm to take
    statistics of.

    Raises:
        UserError: names the largest number of parts, or the least size of a chunk.
    """
    least = max(2, collectives.world())
    if accumulate > 1 and batch_size // accumulate < least:
        raise UserError(
            f"Option accumulate is {accumulate}, which leaves {batch_size // accumulate} of "
            f"{batch_size} samples for a part, and a loss"
            f" compares at least {least}; choose --accumulate up to {max(1, batch_size // least)}, "
            "or a larger --batch-size."
        )
    own = batch_size // collectives.world()
    if not gradient_cache or not any(isinstance(part, _BatchNorm) for part in method.modules()):
        return
    chunk = own // -(-own // gradient_cache)
    if chunk < 2:
        raise UserError(
            f"Option gradient_cache is {gradient_cache}, so that some chunks of {own} samples hold "
            "one, of which batch norm has no"
            " statistics; choose --gradient-cache 2 or more, better 16 or more."
        )


def callbacks(
    source: Any, config: Config, plan: Plan, folder: Path, console: Console
) -> list[Callback]:
    """The metrics file, the online probe (about ten times a run unless asked otherwise), what goes
    by its score, and the display.
    """
    log = MetricsLog(folder, plan.tell)
    display = Display(console)
    epochs = (
        plan.steps // max(1, len(source.trained) // plan.recipe.batch_size)
        if plan.steps
        else plan.recipe.epochs
    )
    every = config.options.evaluate_every or max(1, epochs // 10)
    view = plain_view(source.spec)
    projections = ProjectionProbe(source, view, plan.device)
    probes = Probes(
        OnlineProbe(source, view, plan.device),
        SimilarityProbe(source, plan.device),
        projections,
        Glance(source, view, plan.device),
    )

    def alarm(sentence: str) -> None:
        console.print(f"[bold red]collapse[/] {sentence}", highlight=False)

    told = {"method": config.method, **config.facts}
    sent = trackers(config.options.log, folder, told, lambda: display.health)
    evaluation = OnlineEvaluation(probes, every, log, display, alarm)
    best = best_of(config, source, folder, log, evaluation, plan.tell)
    return [log, evaluation, *best, display, *sent]
