"""Students and teachers of any sizes: the teacher stands still, maps meet on one grid, and a run
keeps its teacher.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import nearfar
from nearfar import networks
from nearfar.batch import Batch
from nearfar.cli import main
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.distillation.distill import Distill
from nearfar.networks.encoder import Encoder
from nearfar.runs.folder import RunFolder
from tests.networks.specs import images, series

SPEC = images(3, 32, 32)
HINTS = Distill.Settings
NAMES = ("distill", "rkd", "seed")


def batch(spec: Spec = SPEC, samples: int = 4) -> Batch:
    return Batch([torch.randn(samples, *spec.shape)], torch.arange(samples))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("small-convnet", SPEC),
        ("resnet18", SPEC),
        ("vit-micro", SPEC),
        ("timm:test_vit", SPEC),
        ("timm:test_resnet", SPEC),
        ("timm:test_efficientnet", SPEC),
        ("scatnet8", SPEC),
        ("series-convnet", series(2, 40)),
        ("series-transformer", series(2, 40)),
        ("audio-convnet", Spec("sound", "audio", (64, 96), 10)),
        ("point-net", Spec("points", "points", (3, 64), 10)),
    ],
)
def test_features_and_maps_come_from_one_pass(name: str, spec: Spec) -> None:
    encoder = networks.build(name, spec).eval()
    x = torch.randn(2, *spec.shape)
    features, places = encoder.with_map(x)
    torch.testing.assert_close(features, encoder(x))
    assert places.ndim > 2
    try:
        torch.testing.assert_close(places, encoder.feature_map(x))
    except UserError:
        torch.testing.assert_close(places.flatten(2).mT, encoder.tokens(x))


@pytest.mark.parametrize(
    ("student", "teacher"),
    [("small-convnet", "resnet18"), ("vit-micro", "small-convnet"), ("small-convnet", "vit-micro")],
)
def test_maps_of_any_two_networks_meet_on_the_teachers_grid(student: str, teacher: str) -> None:
    pair = networks.build(student, SPEC), networks.build(teacher, SPEC)
    method = Distill(pair[0], SPEC, HINTS(level="both"), teacher=pair[1])
    terms = method.loss(method(batch()))
    assert set(terms) == {"global", "dense"}
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in method.encoder.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_stands_still(name: str) -> None:
    kind = registry.get(name)
    teacher = networks.build("small-convnet", SPEC)
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    method = kind(networks.build("small-convnet", SPEC), SPEC, teacher=teacher).train()
    outputs = method(batch())
    method.after_step({key: value.detach() for key, value in outputs.items()})
    assert method.encoder.training
    assert not any(module.training for module in method.teacher.modules())
    after = method.teacher.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_teacher_sees_the_size_and_the_statistics_that_it_learned_with() -> None:
    other = dataclasses.replace(images(3, 16, 16), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))
    method = Distill(
        networks.build("small-convnet", SPEC), SPEC, teacher=networks.build("vit-micro", other)
    )
    raw = torch.rand(2, 3, 1, 1).expand(2, 3, 32, 32)

    def normalised(spec: Spec, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (spec.mean, spec.std))
        return (x - mean) / std

    seen = method.as_taught(normalised(SPEC, raw))
    torch.testing.assert_close(seen, normalised(other, raw[:, :, :16, :16]))


def test_maps_are_left_out_or_refused_where_there_are_none() -> None:
    perceptron = networks.build("perceptron", SPEC)
    convnet = networks.build("small-convnet", SPEC)
    assert set(Distill(perceptron, SPEC, teacher=convnet)(batch())) == {"global"}
    assert set(Distill(convnet, SPEC, HINTS(level="dense"), teacher=convnet)(batch())) == {"dense"}
    with pytest.raises(UserError, match="needs a student and a teacher with maps"):
        Distill(perceptron, SPEC, HINTS(level="both"), teacher=convnet)


def test_standardised_channels_have_mean_0_and_deviation_1_over_the_training_set() -> None:
    teacher = networks.build("small-convnet", SPEC).eval()
    method = Distill(
        networks.build("small-convnet", SPEC), SPEC, HINTS(standardise=True), teacher=teacher
    )
    x = torch.randn(6, 3, 32, 32)

    class Whole:
        @staticmethod
        def features(function: Any) -> Tensor:
            with torch.no_grad():
                return torch.cat([function(part) for part in x.split(2)])

    method.before_epoch(0, Whole())  # type: ignore[arg-type]
    features, places = teacher.with_map(x)
    for rows in (method.scale(features), method.map_scale(places.movedim(1, 3)).flatten(0, 2)):
        moving = rows.std(0) > 1e-3
        assert float(moving.double().mean()) > 0.5
        assert float(rows.mean(0).abs().max()) < 1e-3
        torch.testing.assert_close(
            rows.std(0, correction=0)[moving], torch.ones(int(moving.sum())), rtol=1e-3, atol=0
        )


SHORT: dict[str, Any] = {
    "data": "digits",
    "limit": 64,
    "steps": 2,
    "batch_size": 32,
    "device": "cpu",
    "evaluate": False,
    "quiet": True,
}


def test_a_run_is_distilled_from_a_file_and_keeps_its_teacher(tmp_path: Path) -> None:
    teacher: Encoder = networks.build("small-convnet", images(1, 8, 8))
    save_file(teacher.state_dict(), tmp_path / "w.safetensors")
    start = f"teacher=small-convnet@{tmp_path / 'w.safetensors'}"
    run = nearfar.pretrain(
        "seed", encoder="perceptron", start_from=start, output=tmp_path / "run", **SHORT
    )
    opened: Any = RunFolder(run.folder).method()
    kept = opened.teacher.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in teacher.state_dict().items())
    again = nearfar.pretrain(
        "distill", start_from=run.folder, output=tmp_path / "again", encoder="perceptron", **SHORT
    )
    assert again.config.options.encoder == "perceptron"


def test_without_a_teacher_one_sentence_is_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, sentence in (
        ("", "starts from a finished run as its teacher; name one with --start-from"),
        ("--start-from.tutor x", "starts from no part 'tutor'; expected one of teacher, encoder"),
        ("--start-from.teacher timm:test_vit", "write timm:test_vit@pretrained"),
        ("--start-from.teacher nowhere", "is not a run folder"),
    ):
        line = f"pretrain distill --data digits --limit 64 --steps 1 --output run {words}"
        assert main(line.split()) == 2
        assert sentence in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
