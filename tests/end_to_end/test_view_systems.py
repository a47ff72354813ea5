"""PixPro, GenView, AdaInf and ScatSimCLR from the command line: they train, keep their state, and
are judged in their own way.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nearfar.cli import main
from nearfar.training.care.checkpoints import latest_checkpoint, load_checkpoint

TINY = [
    "--data",
    "digits",
    "--limit",
    "64",
    "--batch-size",
    "16",
    "--steps",
    "3",
    "--precision",
    "float32",
    "--no-evaluate",
]
SMALL = {
    "adainf": ["--with", "inflate:mixture:32,copies=2", "--settings.hidden", "16"],
    "genview": ["--settings.generator-steps", "4"],
    "pixpro": ["--settings.hidden", "16", "--settings.instance", "1.0"],
    "scatsimclr": ["--settings.hidden", "16"],
}
STATE = {
    "adainf": ["projector.0.weight"],
    "genview": ["autoencoder.centre", "foreground.axis", "foreground.threshold"],
    "pixpro": ["target.module.projectors.1.0.weight"],
    "scatsimclr": ["pretext_head.0.weight"],
}


@pytest.mark.parametrize("name", SMALL)
def test_trains_and_keeps_its_state(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    encoder = [] if name == "scatsimclr" else ["--encoder", "small-convnet"]
    assert main(["pretrain", name, *TINY, *encoder, *SMALL[name], "--output", str(folder)]) == 0
    path = latest_checkpoint(folder / "checkpoints")
    assert path is not None
    checkpoint = load_checkpoint(path)
    assert checkpoint["step"] == 3
    state = checkpoint["method"]
    for key in STATE[name]:
        assert state[key].abs().sum() > 0, key


def test_pixpro_is_judged_by_segmentation_and_adainf_on_real_images_alone(tmp_path: Path) -> None:
    folder = tmp_path / "dense"
    data = [
        "--data",
        "cluttered-digits",
        "--limit",
        "60",
        "--batch-size",
        "16",
        "--steps",
        "2",
        "--no-evaluate",
    ]
    assert main(["pretrain", "pixpro", *data, *SMALL["pixpro"], "--output", str(folder)]) == 0
    assert main(["evaluate", str(folder), "--protocols", "dense", "--seeds", "2"]) == 0
    scores = json.loads((folder / "evaluation.json").read_text())["scores"]
    assert {s["row"] for s in scores if s["metric"] == "segmentation mIoU"} >= {
        "trained",
        "random encoder",
    }
    folder = tmp_path / "inflated"
    assert main(["pretrain", "adainf", *TINY, *SMALL["adainf"], "--output", str(folder)]) == 0
    assert json.loads((folder / "encoder.json").read_text())["card"]["samples"] == 2 * 64 + 32
    assert main(["evaluate", str(folder), "--protocols", "knn"]) == 0
    notes = json.loads((folder / "evaluation.json").read_text())["notes"]
    assert "fitted on 64 training samples" in notes[0]
