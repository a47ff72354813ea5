"""Small runs of SimCLR on the sets of `benchmarks/defaults.py`: trained by the default recipe or
with some of it replaced, and judged beside the random encoder, raw values and simple features.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from nearfar import networks
from nearfar.assembly.assemble import assemble
from nearfar.assembly.loaded import load_data, suited
from nearfar.assembly.watch import plan_of
from nearfar.data.samples import Source
from nearfar.data.split import own_split
from nearfar.evaluation import Wanted
from nearfar.evaluation import evaluate as judge
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.shared import SharedRows
from nearfar.evaluation.simple import SIMPLE
from nearfar.methods.method import Method
from nearfar.options import Config, PretrainOptions, changed
from nearfar.training.loop import fit
from nearfar.version import __version__
from nearfar.views import make_views, plain_view

WORK = Path(__file__).parents[1] / "build" / "defaults"
SHARED = SharedRows(WORK / "baselines", {"raw input": "", SIMPLE: ""}, __version__)
"""Rows that are the same whatever was trained."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One set of the table.

    Attributes:
        name: As the table calls it.
        data: A name that nearfar knows, or a path in the folder of the data.
        label: The label column; None: the one with a common name.
        limit: Of training samples; None: all.
        steps: Of training, where the recipe's would take too long; None: the recipe's.
        method: What is trained on it.
        seeds: How often, at most.
        protocols: What judges it.
    """

    name: str
    data: str
    label: str | None = None
    limit: int | None = None
    steps: int | None = None
    method: str = "simclr"
    seeds: int = 3
    protocols: tuple[str, ...] = ("knn", "linear")

    def options(self, folder: Path) -> PretrainOptions:
        """Those of the command line."""
        path = folder / self.data
        data = str(path) if path.exists() else self.data
        return PretrainOptions(data=data, label=self.label, limit=self.limit, steps=self.steps)

    def command(self) -> str:
        """What a user types."""
        words = [f"nearfar pretrain {self.method} --data {self.data}"]
        words += [f"--label {self.label}"] if self.label else []
        words += [f"--limit {self.limit}"] if self.limit else []
        words += [f"--steps {self.steps}"] if self.steps else []
        return " ".join(words)


@dataclass(frozen=True)
class Trial:
    """What replaces the defaults: options of the run, settings of the method, strengths of the
    views.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """A run and what came of it; ``seconds`` are the processor's, of training alone."""

    evaluation: Evaluation
    encoder: str
    samples: int
    tested: int
    steps: int
    batch: int
    seconds: float
    modality: str
    precision: str


def loaded(one: DataSet, folder: Path) -> Source:
    """The set with the split that a run of seed 0 gives it."""
    return load_data(one.options(folder))


def within_training(source: Source, seed: int) -> Source:
    """The training samples alone, a fifth of them held out to judge by: whole groups, where the
    data's own split is by groups.
    """
    train = source.train
    label = train.label.numpy() if source.spec.target == "class" else None
    group = next(iter(train.group.values())).numpy() if train.group else None
    fitted, held = own_split(len(train), label=label, group=group, seed=seed)
    parts = (train.subset(torch.from_numpy(rows)) for rows in (fitted, held))
    spec = dataclasses.replace(source.spec, length=len(fitted))
    return Source(spec, *parts, tokenizer=source.tokenizer)


def run(
    one: DataSet, source: Source, folder: Path, seed: int, trial: Trial | None = None
) -> Judged:
    """Train on the source's training samples and judge on its test samples."""
    trial = trial or Trial()
    options = changed(one.options(folder), {**trial.options, "seed": seed})
    wanted, source = suited(Config(one.method, options, dict(trial.settings)), source)
    assembled = assemble(wanted, source)
    method = assembled.method
    views = method.views()
    if trial.views:
        preset = views.kinds[0][0]
        views = make_views(
            source.spec,
            method.wanted_views,
            settings=dataclasses.replace(preset, **trial.views),
        )
    plan, config = plan_of(assembled, source, views, Console(quiet=True))
    started = time.process_time()
    progress = fit(method, source, views, plan)
    seconds = time.process_time() - started
    SHARED.folder.mkdir(parents=True, exist_ok=True)
    method.eval()
    encoder = config.options.encoder
    found = judge(
        method if source.spec.parts else method.encoder.eval(),
        source,
        plain_view(source.spec),
        baselines={"random encoder": _untrained(assembled.config, source, seed + 1)},
        wanted=Wanted(one.protocols, 3),
        shared=None if source.spec.parts else SHARED,
    )
    return Judged(
        found,
        str(encoder),
        len(source.train),
        len(source.test or []),
        progress.steps,
        plan.recipe.batch_size,
        seconds,
        source.spec.modality,
        plan.precision,
    )


def _untrained(config: Config, source: Source, seed: int) -> Any:
    """The encoder (of several parts the method) with fresh weights."""
    if source.spec.parts:
        options = dataclasses.replace(config.options, seed=seed)
        method: Method = assemble(dataclasses.replace(config, options=options), source).method
        return method.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(config.options.encoder, source.spec).eval()
