"""Restored images are judged beside simple answers, and looked at while a run trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import data
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.glance import Glance
from nearfar.evaluation.measures.restoration import detail_ratio, similarities
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.splits import validation_part
from nearfar.losses.restoration.structure import psnr
from nearfar.methods.restoration.srresnet import SRResNet
from nearfar.networks import build
from nearfar.results.restored import Restored
from nearfar.verbs.pretrain import pretrain
from nearfar.views import plain_view


def source(text: str = "degrade:bicubic,factor=2") -> Source:
    return prepared(data.load("digits", limit=60), (text,), seed=0)


class Told(SRResNet):
    """A method that says what it is told to."""

    answer: Any = None

    def predict(self, x: Any) -> Restored:
        return Restored(self.answer(x))


def method(of: Source, answer: Any) -> Told:
    made = Told(build("srresnet-small", of.spec, kind="restorer"), of.spec).eval()
    made.answer = answer
    return made


def judged(of: Source, answer: Any) -> Evaluation:
    view = plain_view(of.spec)
    return evaluate(method(of, answer), of, view, wanted=Wanted(("restoration",), seeds=1))


def scores(found: Evaluation, row: str) -> dict[str, float]:
    return {score.metric: score.value for score in found.scores if score.row == row}


def test_the_truth_itself_is_perfect() -> None:
    found = scores(judged(source(), lambda x: x["clean"]), "trained")
    assert found["PSNR"] == pytest.approx(80)
    assert found["SSIM"] == pytest.approx(1)
    assert found["detail"] == pytest.approx(1)


def test_no_degradation_gives_the_degraded_image_perfect_scores() -> None:
    found = judged(source("degrade:noise,amount=0"), lambda x: 1 - x["clean"])
    rows = {score.row for score in found.scores}
    assert rows == {"trained", "degraded image"}
    assert scores(found, "degraded image")["PSNR"] == pytest.approx(80)
    assert scores(found, "trained")["PSNR"] < 20


def test_figures_are_of_bytes_and_rows_are_simple_answers() -> None:
    of = source()
    found = judged(of, lambda x: x["clean"] * 0.9 + 0.001)
    assert of.test is not None
    truth = of.test.content["clean"] / 255
    bytes_of = ((truth * 0.9 + 0.001) * 255).round() / 255
    expected = psnr(bytes_of, truth, reduction="none")
    assert scores(found, "trained")["PSNR"] == pytest.approx(float(expected.mean()), abs=1e-4)
    repeated = of.test.content["degraded"].repeat_interleave(2, 2).repeat_interleave(2, 3) / 255
    simple = float(psnr(repeated, truth).mean())
    assert scores(found, "repeated pixels")["PSNR"] == pytest.approx(simple, abs=1e-4)
    assert scores(found, "bicubic")["PSNR"] != scores(found, "repeated pixels")["PSNR"]
    kept = found.answers.values[("PSNR", "trained")]
    assert len(kept) == len(truth)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match="the clean ones are"):
        judged(source(), lambda x: x["degraded"])


def test_luma_and_border_belong_to_enlargement() -> None:
    image = torch.rand(2, 3, 24, 24)
    other = image.clone()
    other[:, :, :2] = 0
    assert set(similarities(image, other)) == {"PSNR", "SSIM", "MS-SSIM"}
    bordered = similarities(image, other, border=2)
    assert bordered["Y-PSNR"].tolist() == pytest.approx([80, 80])
    assert float(bordered["PSNR"].mean()) < 30


def test_softer_images_have_less_detail() -> None:
    image = torch.rand(3, 1, 16, 16)
    soft = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    assert bool((detail_ratio(soft, image) < 0.5).all())


def test_a_glance_is_at_held_out_training_samples() -> None:
    of = source()
    seen: list[Tensor] = []

    def answer(x: Any) -> Tensor:
        seen.append(x["clean"])
        return x["clean"]

    glance = Glance(of, plain_view(of.spec), most=5)
    assert glance(method(of, answer)) == {"psnr": pytest.approx(80)}
    (shown,) = seen
    assert len(shown) == 5
    held = validation_part(of)[1]
    candidates = held.take(torch.arange(len(held)))["clean"] / 255
    assert all(bool((candidates == one).flatten(1).all(1).any()) for one in shown)


def test_a_run_that_predicts_is_looked_at_while_it_trains(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    pretrain(
        "srresnet", data="digits", limit=60, steps=4, evaluate=False, output=folder, quiet=True
    )
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    looks = [row["psnr"] for row in rows if "psnr" in row]
    assert looks
    assert all(3 < value < 40 for value in looks)


def test_a_classifier_is_looked_at_too(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = {"data": "digits", "limit": 60, "steps": 4, "evaluate": False, "quiet": True}
    pretrain("sla", encoder="perceptron", output=folder, **options)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row for row in rows if "accuracy" in row]
