"""A file in a folder of the user's own is all that a new part takes: a modality with its views and
network, a data set, a preparation, a schedule, a result, a protocol and a method, used from the
command line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "modalities/smell.py": '''
"""Smells: float32 (C,)."""
from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

MODALITY = Modality(
    axes=1,
    plain="nearfar.views.smell:plain_smells",
    views="nearfar.views.smell:smell_views",
    toy=Spec("toy smells", "smell", (6,), 12, classes=("a", "b"), target="class"),
    toy_samples="nearfar.testing.toys:values_of",
    tiny={"any": ("nearfar.networks.nose:Nose", {})},
    networks={"nose": Network(summary="a linear map", home="nearfar.networks.nose:Nose")},
    encoders={"any": "nose"},
)
''',
    "views/smell.py": '''
"""Views of smells: a little noise."""
from nearfar.views.draws import randn


def plain_smells(samples, spec):
    return samples.float()


def smell_views(spec, wanted, settings):
    def views(samples, generator):
        shape = tuple(samples.shape)
        return [samples + 0.1 * randn(shape, generator) for _ in range(wanted.whole)]

    return views
''',
    "networks/nose.py": '''
"""A linear map of smells."""
from torch import nn

from nearfar.networks.encoder import Encoder


class Nose(Encoder):
    def __init__(self, spec):
        super().__init__()
        self.dimension = 8
        self.map = nn.Linear(spec.shape[0], 8)

    def forward(self, x):
        return self.map(x)
''',
    "data/made/smells.py": '''
"""Forty smells of two kinds."""
import numpy as np
import torch

from nearfar.data.tables.table import Loaded, Table


class Smells:
    modality = "smell"

    def load(self, rows, options, like):
        drawn = np.random.default_rng(0).normal(size=(40, 6)) + np.arange(40)[:, None] % 2
        content = torch.from_numpy(drawn.astype(np.float32))[rows]
        return Loaded(content, np.ones(len(rows), dtype=bool))


def read():
    kinds = np.array(["sweet", "sour"])[np.arange(40) % 2]
    return Table(
        "smells", [str(i) for i in range(40)], Smells(), columns={"kind": kinds}, label="kind"
    )
''',
    "data/prepare/stronger.py": '''
"""Every smell is stronger."""
from dataclasses import dataclass, replace
from typing import Annotated

from nearfar.ranges import above


@dataclass(frozen=True, kw_only=True)
class Stronger:
    """Attributes: factor: By how much."""

    factor: Annotated[float, above(0)] = 2.0

    def __call__(self, source, *, seed):
        train = replace(source.train, content=source.train.content * self.factor)
        note = f"Smells are {self.factor:g} times as strong."
        return replace(source, train=train, notes=[*source.notes, note])


PREPARATION = Stronger
''',
    "training/schedules/steep.py": '''
"""Down at once."""


def factor(step, steps, warmup=0, *, base: float = 0.5):
    return base**step
''',
    "results/pleasure.py": '''
"""How pleasant smells are."""
from dataclasses import dataclass

from torch import Tensor

from nearfar.results.result import Result


@dataclass(frozen=True)
class Pleasure(Result):
    pleasure: Tensor

    def columns(self, ids):
        return {"id": list(ids), "pleasure": self.pleasure.tolist()}
''',
    "evaluation/protocols/pleasant.py": '''
"""How pleasant the test samples are."""
from nearfar.evaluation.protocol import Protocol
from nearfar.evaluation.result import Score
from nearfar.results.pleasure import Pleasure


def _judge(row):
    yield Score(row.name, "pleasant-v1", "mean pleasure", float(row.predictions.pleasure.mean()))


def _nothing(task):
    return {"nobody": lambda x: Pleasure(x[:, 0] * 0)}


PLEASANT = Protocol(
    "pleasant", "pleasant-v1", "the mean", _judge, lambda task: None,
    quick=True, judges=Pleasure, baselines=_nothing, headline=("mean pleasure",), rank=1,
)
PROTOCOLS = (PLEASANT,)
''',
    "methods/instance/sniff.py": '''
"""Sniff: SimCLR's loss on smells, and a judgement.

Source: nobody, 2026.
"""
import torch

from nearfar.losses import nt_xent
from nearfar.methods.method import Method, Paper, Recipe, WantedViews
from nearfar.results.pleasure import Pleasure


class Sniff(Method):
    """Two views, a linear map, no head, the other view, InfoNCE."""

    paper = Paper(title="Sniff", authors="Nobody", year=2026)
    recipes = {"small": Recipe(batch_size=8)}
    modalities = ("smell",)
    wanted_views = WantedViews(whole=2)
    predicts = Pleasure

    def forward(self, batch):
        first, second = (self.encoder(view) for view in batch.views)
        return {"first": first, "second": second}

    def loss(self, outputs):
        return {"nt_xent": nt_xent(outputs["first"], outputs["second"], temperature=0.2)}

    def predict(self, x):
        return Pleasure(torch.sigmoid(self.encoder(x)[:, 0]))
''',
}


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    for name, text in FILES.items():
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    return {**os.environ, "NEARFAR_PATH": str(tmp_path / "parts")}


def nearfar(words: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "nearfar", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_parts_of_the_users_own_work_from_the_command_line(
    own: dict[str, str], tmp_path: Path
) -> None:
    words = ["pretrain", "sniff", "--data", "smells", "--with", "stronger:factor=3"]
    words += ["--schedule", "steep:base=0.9", "--steps", "6", "--output", "run"]
    code, said = nearfar([*words, "--precision", "float32"], own, tmp_path)
    assert code == 0, said
    assert "Smells are 3 times as strong" in said
    scores = json.loads((tmp_path / "run" / "evaluation.json").read_text())["scores"]
    assert {s["row"] for s in scores if s["metric"] == "mean pleasure"} == {
        "trained",
        "random encoder",
        "nobody",
    }
    code, said = nearfar(["predict", "run", "-o", "out"], own, tmp_path)
    assert code == 0, said
    assert "pleasure" in said
    assert (tmp_path / "out" / "predictions.parquet").exists()
    code, said = nearfar(["evaluate", "run", "--protocols", "knn"], own, tmp_path)
    assert code == 0, said
    code, said = nearfar(["methods"], own, tmp_path)
    assert "sniff" in said


@pytest.mark.slow
def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    environment = {**os.environ, "NEARFAR_PATH": str(tmp_path / "nothing")}
    code, said = nearfar(["methods"], environment, tmp_path)
    assert code == 2
    assert "NEARFAR_PATH names" in said
    assert "Traceback" not in said
