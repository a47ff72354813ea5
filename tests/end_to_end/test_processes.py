"""The real command on two real processes: a run computes what it computes on one.

One of the runs is started by torchrun; the others meet in the same way without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nearfar.runs.encoder_files import load_encoder
from tests.warm import nearfar, together

pytestmark = pytest.mark.slow

# Adam takes the sign of gradients that are rounding alone (of biases before a batch norm), and
# PyTorch's batch norm of images is right to five digits only: what grows from either is no
# difference in what is computed.
SHORT = [
    "--encoder",
    "perceptron",
    "--limit",
    "256",
    "--batch-size",
    "50",
    "--steps",
    "10",
    "--precision",
    "float32",
]
SHORT += ["--optimizer", "sgd", "--learning-rate", "0.01", "--no-evaluate"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def on_one(*words: str, cwd: Path) -> None:
    done = nearfar(words, cwd=cwd)
    assert done.returncode == 0, done.stderr


def on_two(*words: str, cwd: Path) -> None:
    for process in together(2, words, cwd=cwd):
        told, _ = process.communicate()
        assert process.returncode == 0, told


def by_torchrun(*words: str, cwd: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    start = [*TORCHRUN, "-m", "nearfar"]
    done = subprocess.run(
        [*start, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def losses(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.mark.parametrize(
    "words",
    [["simclr"], ["simclr", "--accumulate", "2"], ["mixed-barlow-twins"], ["hallucinator"]],
    ids=" ".join,
)
def test_a_run_on_two_processes_is_the_run_on_one(words: list[str], tmp_path: Path) -> None:
    on_one("pretrain", *words, *SHORT, "--output", "one", cwd=tmp_path)
    start = by_torchrun if words == ["simclr"] else on_two
    start("pretrain", *words, *SHORT, "--output", "two", cwd=tmp_path)
    one = losses(tmp_path / "one")
    two = losses(tmp_path / "two")
    assert len(one) == 2
    assert [step for step, _ in two] == [step for step, _ in one]
    for (_, found), (_, expected) in zip(two, one, strict=True):
        assert found == pytest.approx(expected, rel=1e-4)
    found_weights, expected_weights = (
        load_encoder(tmp_path / name)[0].state_dict() for name in ("two", "one")
    )
    for name, expected_weight in expected_weights.items():
        torch.testing.assert_close(found_weights[name], expected_weight, rtol=1e-3, atol=1e-4)


PARTS = """
import torch
from torch import nn


def encoder():
    return nn.Sequential(nn.Conv2d(1, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU())


def views(images):
    noise = torch.rand(images.shape) / 4
    return [images.flip(3), (images / 255 * 0.75 + noise)]


def transform():
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomResizedCrop(8), v2.RandomHorizontalFlip()])
"""


@pytest.mark.parametrize("views", ["views", "transform"])
def test_parts_of_ones_own_give_the_same_run_on_two_processes(views: str, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(PARTS)
    words = ["simclr", *SHORT, "--data", "digits", "--steps", "4", "--views", f"parts.py:{views}"]
    words[words.index("perceptron")] = "parts.py:encoder"
    on_one("pretrain", *words, "--output", "one", cwd=tmp_path)
    on_two("pretrain", *words, "--output", "two", cwd=tmp_path)
    for one, two in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, abs=1e-5)
