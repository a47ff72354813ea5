"""Systems that keep more than weights train, stop and go on from the command line to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nearfar.cli import main
from nearfar.training.care.checkpoints import latest_checkpoint, load_checkpoint

TINY = [
    "--data",
    "digits",
    "--encoder",
    "perceptron",
    "--batch-size",
    "32",
    "--limit",
    "200",
    "--precision",
    "float32",
    "--no-evaluate",
]
HEAD = ["--settings.hidden", "32", "--settings.projection", "16"]
SMALL = {
    "amcl": HEAD,
    "amcl-barlow-twins": ["--settings.projection", "16"],
    "amcl-moco": [*HEAD, "--settings.queue", "64"],
    "amcl-simsiam": ["--settings.projection", "16", "--settings.bottleneck", "8"],
    "cacr": HEAD,
    "cacr-moco-v3": [*HEAD, "--settings.local", "0"],
    "cacr-queue": [*HEAD, "--settings.queue", "64"],
    "dcl": [*HEAD, "--settings.weighted"],
    "directpred": ["--settings.projection", "16"],
    "feature-transformation": [*HEAD, "--settings.queue", "64", "--settings.elementwise", "both"],
    "groco": [*HEAD, "--settings.network", "bitonic"],
    "hard-contrastive": [*HEAD, "--settings.bank"],
    "isogclr": HEAD,
    "lejepa": [*HEAD, "--settings.local", "1", "--settings.directions", "8"],
    "mixed-barlow-twins": ["--settings.projection", "16"],
    "mochi": [
        "--settings.hardest",
        "8",
        "--settings.pairs",
        "4",
        "--settings.with-query",
        "2",
        "--settings.queue",
        "64",
    ],
    "moco-v2": [*HEAD, "--settings.queue", "64", "--settings.decoupled"],
    "nnclr": ["--settings.projection", "16", "--settings.queue", "64", "--settings.decoupled"],
    "ressl": [*HEAD, "--settings.queue", "64", "--settings.teacher-view", "strong"],
    "swav": ["--settings.prototypes", "6", "--settings.local", "0", "--settings.queue", "64"],
}
STATE = {
    "amcl": ["temperature.networks.0.0.weight"],
    "amcl-barlow-twins": ["logits"],
    "amcl-moco": ["queue.rows", "queue.pointer", "target.module.1.heads.2.0.weight"],
    "amcl-simsiam": ["predictors.heads.2.0.weight"],
    "cacr": ["projector.0.weight"],
    "cacr-moco-v3": ["target.module.1.0.weight"],
    "cacr-queue": ["queue.rows", "queue.pointer", "target.module.1.0.weight"],
    "dcl": ["projector.0.weight"],
    "directpred": ["correlation.matrix", "correlation.mean", "correlation.updates"],
    "feature-transformation": ["queue.rows", "queue.pointer", "draws.seed", "draws.step"],
    "groco": ["projector.0.weight"],
    "hard-contrastive": ["bank.rows"],
    "isogclr": [
        "table.estimate",
        "table.temperature",
        "table.momentum",
        "table.shift",
        "table.seen",
    ],
    "lejepa": ["projector.0.weight", "draws.seed", "draws.step"],
    "mixed-barlow-twins": ["projector.0.weight"],
    "mochi": ["queue.rows", "queue.pointer", "draws.seed", "draws.step"],
    "moco-v2": ["queue.rows", "queue.pointer", "target.module.1.0.weight"],
    "nnclr": ["queue.rows", "queue.pointer"],
    "ressl": ["queue.rows", "queue.pointer", "target.module.1.0.weight"],
    "swav": ["queue.rows", "queue.pointer", "queue.full"],
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder.safetensors")


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_run_repeats_and_its_checkpoint_holds_the_methods_own_state(
    name: str, tmp_path: Path
) -> None:
    for run in ("first", "second"):
        assert (
            main(
                [
                    "pretrain",
                    name,
                    *TINY,
                    "--steps",
                    "8",
                    *SMALL[name],
                    "--output",
                    str(tmp_path / run),
                ]
            )
            == 0
        )
    first = weights(tmp_path / "first")
    second = weights(tmp_path / "second")
    assert all(torch.equal(first[key], second[key]) for key in first)
    path = latest_checkpoint(tmp_path / "first" / "checkpoints")
    assert path is not None
    state = load_checkpoint(path)["method"]
    assert set(STATE[name]) <= state.keys()


def test_pairs_of_images_and_texts_have_a_state_for_each(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    data = [
        "--data",
        str(shared_data("emoji.parquet")),
        "--limit",
        "64",
        "--batch-size",
        "16",
        "--steps",
        "3",
        "--no-evaluate",
    ]
    assert main(["pretrain", "isogclr-pairs", *data, "--output", str(tmp_path / "run")]) == 0
    path = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert path is not None
    state = load_checkpoint(path)["method"]
    for table in ("first_table", "second_table"):
        assert 0 < int(state[f"{table}.seen"].sum()) <= 48
