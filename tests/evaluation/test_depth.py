"""Depth is judged beside what is known without looking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar import data
from nearfar.data.made.moving_rooms import FOCAL, HEIGHT, WIDTH, rooms
from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.glance import Glance
from nearfar.evaluation.measures.depth import depth_errors
from nearfar.evaluation.result import Evaluation
from nearfar.losses.depth.geometry import view
from nearfar.methods.depth.monodepth2 import Monodepth2
from nearfar.networks import build
from nearfar.results.depth import Depth
from nearfar.views import plain_view


@pytest.fixture(scope="module")
def source() -> Source:
    clips, depth = rooms(30, 3)
    names = [str(number) for number in range(30)]
    whole = Samples(clips, names, annotations={"depth": depth})
    spec = replace(data.load("moving-rooms").spec, length=24)
    return Source(spec, whole.subset(torch.arange(24)), whole.subset(torch.arange(24, 30)))


class Told(Monodepth2):
    """A method that says what it is told to."""

    answer: Any = None

    def predict(self, x: Any) -> Depth:
        return Depth(self.answer(x))


def method(source: Source, answer: Any) -> Told:
    encoder: Any = build("frame-pyramid-small", source.spec, kind="pyramid")
    made = Told(encoder, source.spec).eval()
    made.answer = answer
    return made


def judged(source: Source, answer: Any) -> Evaluation:
    how = Wanted(("depth",), seeds=1)
    return evaluate(method(source, answer), source, plain_view(source.spec), wanted=how)


def scores(found: Evaluation, row: str) -> dict[str, float]:
    return {score.metric: score.value for score in found.scores if score.row == row}


def truth_of(source: Source) -> torch.Tensor:
    assert source.test is not None
    truth: torch.Tensor = source.test.annotations["depth"]
    return truth


def test_the_truth_up_to_its_scale_is_perfect(source: Source) -> None:
    found = scores(judged(source, lambda x: 3 * truth_of(source)), "trained")
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert found["a1"] == 1


def test_baselines_know_the_depths_of_training(source: Source) -> None:
    found = judged(source, lambda x: torch.ones(len(x), HEIGHT, WIDTH))
    truth = truth_of(source)
    known = source.train.annotations["depth"]
    rows = known.mean((0, 2))[:, None].expand(HEIGHT, WIDTH)
    expected = [depth_errors(rows.flatten(), one.flatten())["abs_rel"] for one in truth]
    by_row = scores(found, "mean depth of the row")["abs_rel"]
    assert by_row == pytest.approx(float(np.mean(expected)), rel=1e-5)
    flat = scores(found, "mean depth")["abs_rel"]
    assert flat == pytest.approx(scores(found, "trained")["abs_rel"], rel=1e-5)
    assert by_row < flat


def test_unknown_pixels_and_other_sizes_are_allowed_for(source: Source) -> None:
    truth = truth_of(source).clone()
    truth[:, :40] = 0
    assert source.test is not None
    part = replace(source, test=replace(source.test, annotations={"depth": truth}))
    small = torch.nn.functional.interpolate(truth_of(source)[:, None], size=(32, 48))[:, 0]
    found = scores(judged(part, lambda x: small), "trained")
    assert found["abs_rel"] < 0.1


def test_data_without_depth_are_refused(source: Source) -> None:
    bare = replace(
        source,
        train=replace(source.train, annotations={}),
        test=None if source.test is None else replace(source.test, annotations={}),
    )
    with pytest.raises(UserError, match="samples whose depth is known"):
        judged(bare, lambda x: torch.ones(len(x), HEIGHT, WIDTH))


def test_a_glance_gives_the_relative_error(source: Source) -> None:
    glance = Glance(source, plain_view(source.spec))
    found = glance(method(source, lambda x: torch.ones(len(x), HEIGHT, WIDTH)))
    assert set(found) == {"abs_rel"}
    assert 0.1 < found["abs_rel"] < 1


def test_the_rooms_repeat_and_fit_their_geometry() -> None:
    """With the true depth and motion the later frame shows the middle one where none is hidden."""
    from nearfar.data.made import moving_rooms

    clips, depth = rooms(50, 0)
    draw = torch.Generator().manual_seed(0)
    moving_rooms._textures(draw)
    room = moving_rooms._drawn(50, draw)
    assert torch.equal(clips, rooms.__wrapped__(50, 0)[0])
    camera = torch.eye(4).repeat(50, 1, 1)
    camera[:, 0, 0] = camera[:, 1, 1] = FOCAL * WIDTH
    camera[:, 0, 2] = WIDTH / 2
    camera[:, 1, 2] = HEIGHT / 2
    turn = torch.eye(3).repeat(50, 1, 1)
    turn[:, 0, 0] = turn[:, 2, 2] = room["turn"].cos()
    turn[:, 0, 2] = room["turn"].sin()
    turn[:, 2, 0] = -room["turn"].sin()
    motion = torch.eye(4).repeat(50, 1, 1)
    motion[:, :3, :3] = turn.mT
    motion[:, :3, 3] = -(turn.mT @ room["step"][:, :, None])[:, :, 0]
    frames = clips.float() / 255
    inverse = torch.linalg.inv(camera)
    made = view(frames[:, :, 2], depth[:, None], camera, inverse, motion)
    moved = (frames[:, :, 2] - frames[:, :, 1]).abs().mean()
    assert float((made - frames[:, :, 1]).abs().mean()) < 0.45 * float(moved)
    assert float((made - frames[:, :, 1]).abs().median()) < 0.01


def test_depth_is_written_as_kitti_files_are(tmp_path: Path) -> None:
    result = Depth(torch.tensor([[[0.5, 1.0], [300.0, 2.0]]]))
    (path,) = result.write(tmp_path, ["a"])
    with Image.open(path) as image:
        assert np.array(image).tolist() == [[128, 256], [65535, 512]]
    (address,) = result.pictures()
    assert address.startswith("data:image/png")
    with pytest.raises(UserError, match="exists already"):
        result.write(tmp_path, ["a"])
