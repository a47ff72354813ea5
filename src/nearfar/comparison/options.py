"""The options of ``nearfar compare``."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nearfar.data.prepare import preparation_of
from nearfar.errors import UserError
from nearfar.options import PretrainOptions
from nearfar.ranges import checked
from nearfar.training.schedules import schedule_of


@dataclass(frozen=True)
class CompareOptions:
    """Under which equal conditions methods are compared.

    Attributes:
        data: name of a known data set or a path.
        seeds: runs of each arm; the same seeds for all, at least 1 (an interval needs 3).
        epochs: budget of every run in passes over the data; by default those of the first method's
            recipe.
        steps: budget in optimiser steps.
        seconds: budget in seconds of training, turned into each arm's number of steps by timing it
            on this machine.
        batch_size: the same for all; by default the first method's.
        encoder: the same for all, by name or FILE.py:NAME; by default a small one that fits the
            data and all methods.
        start_from: what all start from; as in `nearfar pretrain`. A part's start, NAME=START, is
            for the methods that have the part.
        recipe: "small", "paper", "continue" or "auto", for everything else of a method's training.
        limit: use at most this many training samples.
        label: which column or array holds the label.
        group: which column or array holds the group that a split must not tear apart.
        text_column: which column holds the text of pairs.
        image_column: which column holds the image.
        size: as in `nearfar pretrain`.
        modality: as in `nearfar pretrain`.
        channels: as in `nearfar pretrain`.
        volumes: as in `nearfar pretrain`.
        frames: as in `nearfar pretrain`.
        store: as in `nearfar pretrain`.
        strict: as in `nearfar pretrain`.
        prepare: what is done to the data before training, the same for all; as in `nearfar
            pretrain`.
        order: as in `nearfar pretrain`.
        schedule: how the learning rate moves, the same for all; by default each method's own.
        precision: "auto", "float32" or "bfloat16".
        device: "auto", "cpu", "cuda", "mps" ...
        views: views of your own for all arms, FILE.py:NAME, as in `nearfar pretrain`.
        pairs: tell every pair of arms apart, not only each arm from the first.
        output: folder of the comparison, continued when it exists; by default runs/compare-DATA.
    """

    data: str = "cluttered-digits"
    seeds: int = 3
    epochs: int | None = None
    steps: int | None = None
    seconds: float | None = None
    batch_size: int | None = None
    encoder: str | None = None
    start_from: tuple[str, ...] = ()
    recipe: Literal["auto", "small", "paper", "continue"] = "auto"
    limit: int | None = None
    label: str | None = None
    group: str | None = None
    text_column: str | None = None
    image_column: str | None = None
    size: int | None = None
    modality: Literal["image", "series", "points", "video"] | None = None
    channels: Literal["first", "last"] | None = None
    volumes: Literal["first", "slices", "whole"] | None = None
    frames: int | None = None
    store: int | None = None
    strict: bool = False
    prepare: tuple[str, ...] = ()
    order: str | None = None
    schedule: str | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    views: str | None = None
    pairs: bool = False
    output: Path | None = None

    def __post_init__(self) -> None:
        own = typing.get_type_hints(CompareOptions, include_extras=True)
        hints = {
            **own,
            **typing.get_type_hints(PretrainOptions, include_extras=True),
        }  # one range for both commands
        for name in own:
            checked(hints[name], f"Option {name}", getattr(self, name))
        for one in self.prepare:
            preparation_of(one)
        if self.schedule is not None:
            schedule_of(self.schedule)
        budgets = [
            name for name in ("epochs", "steps", "seconds") if getattr(self, name) is not None
        ]
        if len(budgets) > 1:
            raise UserError(
                f"Options {' and '.join(budgets)} were both given; a comparison has one budget: "
                "choose one."
            )
        if self.seeds < 1:
            raise UserError(
                f"Option seeds is {self.seeds}; expected at least 1, and 3 or more for intervals."
            )
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise UserError(f"Option seconds is {self.seconds}; expected a finite number above 0.")
