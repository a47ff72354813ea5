"""The alarm of collapse looks at projections too, and is raised once in a run, however often that
is resumed.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from rich.console import Console

from nearfar import data
from nearfar.assembly import callbacks as watching
from nearfar.assembly.assemble import assemble
from nearfar.assembly.watch import callbacks
from nearfar.evaluation.measures.collapse import projections_collapsed
from nearfar.evaluation.measures.projections import heads, mean_cosine
from nearfar.methods.method import Recipe
from nearfar.options import Config, PretrainOptions
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import make_views
from tests.training.toys import Toy, ToyEncoder, ToySource, views

pytestmark = pytest.mark.slow

OPTIONS = PretrainOptions(
    epochs=8, batch_size=128, encoder="small-convnet", evaluate_every=1, limit=600
)


def alarms(method: str, folder: Path, **settings: object) -> list[str]:
    source = data.load("cluttered-digits", limit=600)
    config = Config(method, OPTIONS, settings)
    made = assemble(config, source)
    plan = Plan(made.recipe, seed=0)
    wanted = make_views(source.spec, made.method.wanted_views)
    fit(
        made.method,
        source,
        wanted,
        plan,
        folder / "checkpoints",
        callbacks(source, config, plan, folder, Console(quiet=True)),
    )
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert sum(watching.COSINES in row for row in rows) == 8
    return [row["alarm"] for row in rows if "alarm" in row]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("vicreg", {"variance": 0.0, "covariance": 0.0}),
        (
            "dino",
            {"teacher_temperature": 10.0, "first_teacher_temperature": 10.0, "sinkhorn": False},
        ),
    ],
)
def test_projections_that_collapse_while_features_do_not_raise_the_alarm(
    method: str, settings: dict[str, object], tmp_path: Path
) -> None:
    (alarm,) = alarms(method, tmp_path, **settings)
    assert alarm.startswith("All samples have nearly the same projections")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vicreg", "dino"])
def test_healthy_runs_raise_none(method: str, tmp_path: Path) -> None:
    assert alarms(method, tmp_path) == []


def test_a_resumed_run_raises_no_second_alarm_and_knows_what_it_saw(tmp_path: Path) -> None:
    def run(steps: int) -> list[str]:
        told: list[str] = []
        seen = iter([0.86, 0.95] if steps == 2 else [0.99, 0.99])
        probes = watching.Probes(  # type: ignore[call-arg]
            lambda encode: ({}, None),
            lambda encode: {},
            lambda method: {"head": next(seen)},  # type: ignore[arg-type, return-value]
        )
        log = watching.MetricsLog(tmp_path)
        evaluation = watching.OnlineEvaluation(
            probes, 1, log, watching.Display(Console(quiet=True)), told.append
        )
        torch.manual_seed(5)
        plan = Plan(Recipe(batch_size=24, epochs=4), steps=4, log_every=1)
        fit(
            Toy(ToyEncoder()),
            ToySource(),
            Stopping(steps),
            plan,
            tmp_path / "checkpoints",
            [log, evaluation],
        )
        return told

    assert len(run(2)) == 1, "halfway"
    assert run(4) == []
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row[watching.COSINES]["head"] for row in rows if watching.COSINES in row] == [
        0.86,
        0.95,
        0.99,
        0.99,
    ]
    assert sum("alarm" in row for row in rows) == 1


class Stopping:
    """Views; at the last of so many steps this process is asked to stop."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, samples: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return views(samples, generator)


@pytest.mark.parametrize(
    ("cosines", "share", "raised"),
    [
        ([0.86, 0.96, 0.99], 0.5, True),
        ([0.86, 0.96, 0.99], 0.4, False),
        ([0.998, 0.999], 0.6, False),
        ([0.998, 0.999], 1.0, True),
        ([0.998, 0.97], 1.0, False),
        ([0.8, 0.85], 1.0, False),
        ([0.95], 1.0, False),
        ([0.86, 0.91], 0.5, True),
    ],
)
def test_what_counts_as_collapse(cosines: list[float], share: float, raised: bool) -> None:
    assert (projections_collapsed("head", cosines, share) is not None) == raised


def test_the_mean_cosine_is_that_of_different_rows() -> None:
    rows = torch.randn(9, 4)
    unit = rows / rows.norm(dim=1, keepdim=True)
    pairs = [float(unit[i] @ unit[j]) for i in range(9) for j in range(9) if i != j]
    assert mean_cosine(rows) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("simclr", ["projector"]),
        ("vicreg", ["expander"]),
        ("dino", ["head"]),
        ("byol", ["projector"]),
    ],
)
def test_heads_are_what_takes_features_and_learns(method: str, names: list[str]) -> None:
    made = assemble(Config(method, OPTIONS, {}), data.load("cluttered-digits", limit=600))
    assert list(heads(made.method)) == names
