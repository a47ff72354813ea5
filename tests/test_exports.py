"""Exports say how to load them, and refuse what they do not take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nearfar import networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.rows import Parts
from nearfar.runs.encoder_files import export_encoder, load_encoder
from nearfar.runs.portable import random_samples
from nearfar.runs.portable_prediction import export_prediction
from nearfar.runs.program_files import read_onnx, read_program
from nearfar.testing import toy

IMAGES = Spec("photos", "image", (3, 32, 32), 10, mean=(0.5,) * 3, std=(0.2,) * 3)


def _told(encoder: object, path: Path, format: str) -> list[str]:  # noqa: A002
    lines: list[str] = []
    export_encoder(encoder, path, format, tell=lines.append)  # type: ignore[arg-type]
    return lines


def _run(lines: list[str], **names: object) -> dict[str, object]:
    """What the told lines of Python define."""
    scope: dict[str, object] = dict(names)
    exec("\n".join(line.strip() for line in lines), scope)
    return scope


def test_weights_of_a_timm_model_load_into_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    encoder = networks.build("timm:resnet10t", IMAGES).eval()
    first, *lines = _told(encoder, tmp_path / "out", "safetensors")
    assert first.startswith("Features of random samples differ from the original's by at most ")
    model = _run(lines)["model"]
    assert isinstance(model, timm.models.ResNet)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), encoder(x))
        torch.testing.assert_close(load_encoder(tmp_path / "out")[0](x), encoder(x))


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_the_told_lines_load_a_program_that_refuses_bytes(kind: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    encoder = networks.build("perceptron", IMAGES).eval()
    ending = {"onnx": ".onnx", "torch": ".pt2"}[kind]
    lines = _told(encoder, tmp_path / f"e{ending}", kind)[1:]
    x = torch.rand(2, 3, 32, 32)
    given = {"onnx": x.numpy(), "torch": x}[kind]
    found = torch.as_tensor(_run(lines, x=given)["features"])
    expected = encoder((x - 0.5) / 0.2)
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-4, atol=1e-4)
    bad = torch.as_tensor(_run(lines, x=255 * given)["features"])
    assert bool(bad.isnan().all())
    assert "with pixels in [0, 1]" in lines[-1]


def _made(name: str) -> Method:
    method, _ = toy(registry.get(name))
    return method.float().eval()


@pytest.mark.parametrize("name", ["classifier", "srresnet"])
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_program_predicts_what_the_method_does(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    method = _made(name)
    path = tmp_path / "program"
    assert export_prediction(method, path, kind) < 1e-4
    part = next(iter(method.spec.parts), "")
    spec = method.spec.parts[part] if part else method.spec
    x = random_samples(spec, 3)
    mean = torch.tensor(spec.mean or (0.0,)).view(-1, 1, 1)
    std = torch.tensor(spec.std or (1.0,)).view(-1, 1, 1)
    plain = (x - mean) / std
    result = method.predict(Parts({part: plain}) if part else plain)
    expected = result.image if name == "srresnet" else result.probabilities
    found = {"onnx": read_onnx, "torch": read_program}[kind](path)(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "format", "said"),
    [
        ("simclr", "onnx", "predicts nothing"),
        ("classifier", "safetensors", "format of a prediction"),
        ("protein-rpn", "torch", "terms result is not made of tensors alone"),
    ],
)
def test_what_cannot_be_a_program_is_refused_in_a_sentence(
    name: str,
    format: str,  # noqa: A002
    said: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=said):
        export_prediction(_made(name), tmp_path / "program", format)
    assert not list(tmp_path.iterdir())
