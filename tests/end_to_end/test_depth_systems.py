"""Systems that learn depth from clips, from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearfar.cli import main
from nearfar.verbs.evaluate import evaluate

QUICK = ["--batch-size", "6", "--steps", "2", "--no-evaluate", "--settings.pose", "8"]


def test_depth_is_learned_judged_and_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ["--data", "moving-rooms", "--limit", "12", *QUICK]
    assert main(["pretrain", "monodepth2", *asked, "--output", str(run)]) == 0
    rows = {score.row for score in evaluate(run, output=tmp_path / "scores.json").scores}
    assert rows == {"trained", "random encoder", "mean depth", "mean depth of the row"}
    assert main(["predict", str(run), "--output", str(tmp_path / "depth")]) == 0
    files = sorted((tmp_path / "depth").iterdir())
    with Image.open(files[0]) as image:
        depth = np.array(image)
    assert depth.shape == (64, 96)
    assert depth.dtype in (np.uint16, np.int32)
    assert depth.min() > 0


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["--data", "digits"], "monodepth2 learns from video data"),
        (["--data", "moving-rooms", "--size", "32"], "leave out --size"),
        (["--data", "moving-rooms", "--encoder", "frame-convnet"], "of the kind pyramid"),
        (["--data", "moving-rooms", "--settings.near", "200"], "near"),
    ],
)
def test_mistakes_get_a_sentence_and_leave_no_folder(
    asked: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["pretrain", "monodepth2", *asked, *QUICK, "--output", str(folder)]) == 2
    told = capsys.readouterr()
    assert sentence in " ".join((told.out + told.err).split())
    assert not folder.exists()
