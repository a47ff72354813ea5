"""Where nothing was learned, the commands that are proposed can be run on the data at hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nearfar import modalities, networks
from nearfar.evaluation.answers import Answers
from nearfar.evaluation.result import Evaluation, Score
from nearfar.methods import registry
from nearfar.options import Config, PretrainOptions
from nearfar.runs.folder import CONFIG, METRICS, RunFolder
from nearfar.verbs.next_steps.next_command import longer
from nearfar.verbs.next_steps.reasons import reasons


def run_in(folder: Path, method: str = "simclr") -> RunFolder:
    options = PretrainOptions(data="sounds.parquet", label="digit", epochs=40, batch_size=128)
    (folder / CONFIG).write_text(Config(method, options).to_toml())
    (folder / METRICS).write_text('{"step": 720, "loss": 1.0, "relative_std": 0.9}\n')
    return RunFolder(folder)


def judged(trained: float, random: float, simple: float) -> Evaluation:
    values = {"trained": trained, "random encoder": random, "simple features": simple}
    scores = [
        Score(row, "knn-v1", "kNN accuracy", value, value - 0.02, value + 0.02, "test samples", 999)
        for row, value in values.items()
    ]
    return Evaluation("sounds", tuple(scores), answers=Answers())


@pytest.mark.parametrize("modality", modalities.names())
@pytest.mark.parametrize("method", ["simclr", "mae", "supcon"])
def test_a_proposed_method_has_an_encoder_for_these_data(
    tmp_path: Path, modality: str, method: str
) -> None:
    spec = modalities.get(modality).toy
    run = run_in(tmp_path, method)
    told = reasons(run, spec, judged(0.6, 0.7, 0.9), longer(run))
    assert "simple features reach more by kNN accuracy" in told[0]
    command = told[0].rpartition(": ")[2]
    assert command.endswith("--data sounds.parquet --label digit")
    found = re.match(r"nearfar pretrain (\S+)", command)
    if found is None:
        assert command.startswith("nearfar compare --advise ")
        return
    kind = registry.get(found[1])
    assert found[1] != method
    assert kind.takes(modality)
    assert networks.catalogue.default(modality, kind.encoder_kind)


def test_a_run_that_learned_is_told_nothing(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    spec = modalities.get("audio").toy
    assert reasons(run, spec, judged(0.9, 0.5, 0.6), longer(run)) == []
