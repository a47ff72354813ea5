"""Systems that restore images, from the command line: trained, judged, and used on photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from nearfar.cli import main
from nearfar.verbs.evaluate import evaluate
from nearfar.verbs.run import Run

QUICK = ["--batch-size", "8", "--steps", "3", "--no-evaluate"]


def photos(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    folder.mkdir()
    random = np.random.RandomState(0)
    for number, (height, width) in enumerate(sizes):
        coarse = random.randint(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        image.save(folder / f"p{number}.png")
    return folder


def pixels(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SRGAN on photographs of 16 x 16 pixels, enlarged twice, and the run that it starts from."""
    folder = tmp_path_factory.mktemp("restoration")
    data = photos(folder / "photos", [(16, 16)] * 10)
    asked = ["--data", str(data), "--with", "degrade:bicubic,factor=2", *QUICK]
    assert main(["pretrain", "srgan", *asked, "--output", str(folder / "gan")]) == 0
    return folder / "gan"


def test_srresnet_is_trained_first(gan: Path) -> None:
    first = Run(gan / "pretrained" / "srresnet")
    assert first.config.method == "srresnet"
    assert first.config.options.prepare == ("degrade:bicubic,factor=2",)
    before = load_file(first.folder / "encoder.safetensors")
    after = load_file(gan / "encoder.safetensors")
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_images_are_enlarged_each_in_its_own_size(gan: Path, tmp_path: Path) -> None:
    small = photos(tmp_path / "small", [(10, 14), (9, 11), (10, 14)])
    assert main(["predict", str(gan), str(small), "--output", str(tmp_path / "large")]) == 0
    made = {path.name: pixels(path) for path in (tmp_path / "large").iterdir()}
    sizes = {name: tuple(image.shape[1:]) for name, image in made.items()}
    assert sizes == {"p0.png": (20, 28), "p1.png": (18, 22), "p2.png": (20, 28)}
    with torch.no_grad():
        expected = Run(gan).method().predict(pixels(small / "p1.png")[None] / 255).pixels[0]
    assert torch.equal(made["p1.png"], expected)


def test_other_photographs_are_degraded_as_the_runs_were(gan: Path, tmp_path: Path) -> None:
    other = photos(tmp_path / "other", [(20, 32)] * 6)
    found = evaluate(gan, data=str(other), output=tmp_path / "scores.json")
    rows = {score.row for score in found.scores}
    assert rows == {"trained", "random encoder", "bicubic", "repeated pixels"}


def test_features_are_embedded_and_judged_when_named(gan: Path, tmp_path: Path) -> None:
    assert main(["embed", str(gan), "--output", str(tmp_path / "own.npz")]) == 0
    with np.load(tmp_path / "own.npz") as found:
        assert found["embedding"].shape == (10, 32)
    other = photos(tmp_path / "other", [(9, 13)] * 3)
    assert main(["embed", str(gan), "--data", str(other), "--output", str(tmp_path / "o.npz")]) == 0


def test_a_stopped_run_goes_on(gan: Path, tmp_path: Path) -> None:
    data = gan.parent / "photos"
    asked = ["--data", str(data), "--with", "degrade:bicubic,factor=2", *QUICK]
    start = ["--start-from", str(gan / "pretrained" / "srresnet")]
    run = tmp_path / "again"
    assert main(["pretrain", "srgan", *asked, *start, "--output", str(run)]) == 0
    again = load_file(run / "encoder.safetensors")
    expected = load_file(gan / "encoder.safetensors")
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def of_own_run(gan: Path, folder: Path, method: str, data: str, *more: str) -> list[str]:
    """Words that train SRGAN on the features of a run of this method on these data."""
    features = folder / "features"
    asked = ["--data", data, *more, "--limit", "32", *QUICK]
    assert main(["pretrain", method, *asked, "--output", str(features)]) == 0
    same = ["--data", str(gan.parent / "photos"), "--with", "degrade:bicubic,factor=2", *QUICK]
    first = f"srresnet={gan / 'pretrained' / 'srresnet'}"
    starts = ["--start-from", first, "--start-from", f"features={features}"]
    return ["pretrain", "srgan", *same, *starts, "--output", str(folder / "run")]


def test_features_of_ones_own_run_are_what_is_compared(gan: Path, tmp_path: Path) -> None:
    words = of_own_run(gan, tmp_path, "simclr", str(gan.parent / "photos"))
    assert main(words) == 0
    plain = load_file(gan / "encoder.safetensors")
    made = load_file(tmp_path / "run" / "encoder.safetensors")
    assert any(not torch.equal(made[name], plain[name]) for name in plain)
    method = Run(tmp_path / "run").method()
    trained = load_file(tmp_path / "features" / "encoder.safetensors")
    held = {name: value.detach() for name, value in method.features.named_parameters()}
    assert held
    assert all(torch.equal(value, trained[name]) for name, value in held.items())


@pytest.mark.parametrize(
    ("method", "data", "more", "sentence"),
    [
        ("simclr", "digits", [], "of shape (3, 8, 8); start from one that takes the same"),
        ("simclr", "PHOTOS", ["--encoder", "perceptron"], "has no feature map"),
    ],
)
def test_features_that_cannot_compare_get_a_sentence(
    method: str,
    data: str,
    more: list[str],
    sentence: str,
    gan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = data.replace("PHOTOS", str(gan.parent / "photos"))
    words = of_own_run(gan, tmp_path, method, own, *more)
    capsys.readouterr()
    assert main(words) == 2
    told = capsys.readouterr()
    assert sentence in " ".join((told.out + told.err).split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["--data", "spoken-words"], "spoken-words"),
        (["--data", "digits", "--with", "degrade:factor=3"], "expected 1, 2, 4 or 8"),
        (["--data", "digits", "--settings.crop", "3"], "choose a larger crop"),
        (["--data", "digits", "--encoder", "resnet18"], "no encoder of the kind restorer"),
        (["--data", "digits", "--encoder", "nafnet-small"], "keeps the size"),
        (["--data", "sentiment"], "sentiment"),
    ],
)
def test_mistakes_get_a_sentence_and_leave_no_folder(
    asked: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert main(["pretrain", "srresnet", *asked, *QUICK, "--output", str(folder)]) == 2
    told = capsys.readouterr()
    assert sentence in " ".join((told.out + told.err).split())
    assert not folder.exists()


def test_another_encoder_than_that_of_the_start_is_refused(
    gan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--data", str(gan.parent / "photos"), "--with", "degrade:bicubic,factor=2", *QUICK]
    start = ["--start-from", str(gan / "pretrained" / "srresnet"), "--encoder", "edsr"]
    assert main(["pretrain", "srgan", *asked, *start, "--output", str(tmp_path / "run")]) == 2
    assert "leave --encoder out" in " ".join(capsys.readouterr().err.split())


def test_a_start_of_another_factor_is_refused(
    gan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--data", str(gan.parent / "photos"), "--with", "degrade:bicubic,factor=4", *QUICK]
    start = ["--start-from", str(gan / "pretrained" / "srresnet")]
    assert main(["pretrain", "srgan", *asked, *start, "--output", str(tmp_path / "run")]) == 2
    assert "degrade:bicubic,factor=2" in " ".join(capsys.readouterr().err.split())
