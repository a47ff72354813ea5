"""Saving, loading and exporting encoders: to the bit where nearfar reads again, within 1e-4 where
others do.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import networks
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder
from nearfar.rows import Tokens
from nearfar.runs import portable
from nearfar.runs.encoder_files import (
    check_input,
    encoder_spec,
    export_encoder,
    load_encoder,
    save_encoder,
    tokenizer_of,
)
from tests.networks.specs import images, pairs, series, texts

CARD = {"method": "simclr", "data": "pictures", "samples": 100}


def trained(name: str | None, spec: Spec) -> Encoder:
    """An encoder whose batch norm statistics are no longer those of the start."""
    encoder = networks.build(name, spec)
    with torch.no_grad():
        for _ in range(2):
            encoder(portable.random_samples(spec, 4))
    return encoder


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("small-convnet", images(1, 8, 8)),
        ("resnet18", images(3, 32, 32)),
        ("vit-micro", images(3, 30, 30)),
        ("series-convnet", series(2, 40)),
        ("series-transformer", series(3, 37)),
        ("text-transformer", texts()),
        (None, pairs()),
        ("timm:test_vit", images(3, 32, 32)),
    ],
)
def test_a_saved_encoder_comes_back_to_the_bit(
    name: str | None, spec: Spec, tmp_path: Path
) -> None:
    if name and name.startswith("timm:"):
        pytest.importorskip("timm")
    encoder = trained(name, spec).to(memory_format=torch.channels_last)
    save_encoder(encoder, tmp_path / "run", CARD)
    state = torch.get_rng_state()
    loaded, card = load_encoder(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state), (
        "loading draws no random numbers from the global state"
    )
    assert card == CARD
    assert not loaded.training
    assert encoder_spec(loaded) == spec
    assert type(loaded) is type(encoder)
    assert loaded.architecture["name"] == encoder.architecture["name"]
    for key, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    x = portable.random_samples(spec, 3)
    with torch.no_grad():
        assert torch.equal(loaded(x), encoder.to(memory_format=torch.contiguous_format).eval()(x))


def test_what_is_written(tmp_path: Path) -> None:
    spec = dataclasses.replace(
        images(3, 32, 32), classes=("cat", "dog"), groups=("camera",), extra={"flip": False}
    )
    save_encoder(networks.build("small-convnet", spec), tmp_path, CARD)
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.safetensors", "encoder.json"}
    assert (tmp_path / "encoder.safetensors").stat().st_mode == (
        tmp_path / "encoder.json"
    ).stat().st_mode
    described = json.loads((tmp_path / "encoder.json").read_text())
    assert described["architecture"] == "small-convnet"
    assert described["dimension"] == 256
    assert described["preprocessing"] == {
        "shape": [3, 32, 32],
        "scale": 255,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    }
    assert described["card"] == CARD
    assert {"nearfar", "torch", "python"} <= set(described["versions"])
    assert encoder_spec(load_encoder(tmp_path)[0]) == spec


def test_the_same_encoder_gives_the_same_bytes_and_a_later_save_replaces(tmp_path: Path) -> None:
    encoder = networks.build("vit-micro", images(1, 8, 8))
    save_encoder(encoder, tmp_path / "a", CARD)
    save_encoder(networks.build("vit-micro", images(1, 8, 8)), tmp_path / "b", {"step": 1})
    assert (tmp_path / "a" / "encoder.safetensors").read_bytes() != (
        tmp_path / "b" / "encoder.safetensors"
    ).read_bytes()
    save_encoder(encoder, tmp_path / "b", CARD)
    for name in ("encoder.safetensors", "encoder.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pretrained_weights_are_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, pretrained=False, **options: create(name, **options)
    )
    encoder = networks.build("timm:test_resnet@pretrained", images(3, 32, 32))
    save_encoder(encoder, tmp_path, CARD)

    def refuse(name: str, pretrained: bool = False, **options: Any) -> Any:
        assert not pretrained
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", refuse)
    assert load_encoder(tmp_path)[0].architecture["name"] == "timm:test_resnet@pretrained"


def _damage_description(folder: Path) -> None:
    (folder / "encoder.json").write_text("{")


def _damage_weights(folder: Path) -> None:
    (folder / "encoder.safetensors").write_bytes(b"not weights")


def _forget(folder: Path) -> None:
    (folder / "encoder.safetensors").unlink()


def _exchange(folder: Path) -> None:
    description = folder / "encoder.json"
    description.write_text(description.read_text().replace("small-convnet", "vit-micro"))


def _age(folder: Path) -> None:
    description = folder / "encoder.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "version": 99}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_damage_description, "is damaged"),
        (_damage_weights, "is damaged"),
        (_forget, "holds no encoder: expected encoder.json and encoder.safetensors"),
        (_exchange, "encoder.safetensors in .* does not fit vit-micro, which encoder.json names"),
        (_age, "was written by nearfar .*, a newer version than this; update nearfar"),
    ],
)
def test_a_spoilt_folder_is_refused_in_one_sentence(
    spoil: Any, sentence: str, tmp_path: Path
) -> None:
    save_encoder(networks.build("small-convnet", images(1, 8, 8)), tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=sentence) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_unknown_make_is_refused(tmp_path: Path) -> None:
    class Own(Encoder):
        dimension = 1

    with pytest.raises(UserError, match=r"^Own was not made by nearfar\.networks\.build"):
        save_encoder(Own(), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            series(2, 40),
            r"^sensors does not fit this encoder, which was trained on pictures: its modality is "
            r"series, expected image",
        ),
        (images(1, 32, 32), r"its shape is \(1, 32, 32\), expected \(3, 32, 32\)"),
    ],
)
def test_data_of_another_kind_are_refused(other: Spec, sentence: str) -> None:
    encoder = networks.build("small-convnet", images(3, 32, 32))
    check_input(
        encoder, dataclasses.replace(images(3, 32, 32), name="others", mean=(0.0, 0.0, 0.0))
    )
    with pytest.raises(UserError, match=sentence):
        check_input(encoder, other)


def run_onnx(path: Path, x: Tensor) -> Tensor:
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    (features,) = session.run(["features"], {"input": x.numpy()})
    return torch.from_numpy(features)


def run_program(path: Path, x: Tensor) -> Tensor:
    features: Tensor = torch.export.load(path).module()(x)
    return features


@pytest.mark.parametrize(
    ("name", "spec", "form"),
    [
        ("small-convnet", images(3, 32, 32), "onnx"),
        ("small-convnet", images(1, 9, 9), "onnx"),
        ("vit-micro", images(3, 30, 30), "onnx"),
        ("series-convnet", series(2, 40), "onnx"),
        ("series-transformer", series(3, 37), "onnx"),
        ("series-transformer", series(3, 37), "torch"),
    ],
)
def test_an_exported_file_takes_raw_values_in_any_number(
    name: str, spec: Spec, form: str, tmp_path: Path
) -> None:
    if form == "onnx":
        pytest.importorskip("onnx")
    encoder = trained(name, spec)
    path = tmp_path / f"encoder.{'onnx' if form == 'onnx' else 'pt2'}"
    assert export_encoder(encoder, path, form) == path
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert encoder.training
    mean, std = (
        torch.tensor(values).view(-1, *(1 for _ in spec.shape[1:]))
        for values in (spec.mean, spec.std)
    )
    for samples in (1, 3, 8):
        raw = (
            torch.rand(samples, *spec.shape)
            if spec.modality == "image"
            else torch.randn(samples, *spec.shape) * std + mean
        )
        with torch.no_grad():
            expected = encoder.eval()((raw - mean) / std)
        torch.testing.assert_close(
            (run_onnx if form == "onnx" else run_program)(path, raw), expected, rtol=0, atol=1e-4
        )
        encoder.train()


def test_exported_files_say_what_they_are(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    save_encoder(networks.build("small-convnet", images(1, 8, 8)), tmp_path / "run", CARD)
    encoder, _ = load_encoder(tmp_path / "run")
    written = onnx.load(export_encoder(encoder, tmp_path / "encoder.onnx", "onnx"))
    described = json.loads({entry.key: entry.value for entry in written.metadata_props}["nearfar"])
    extra = {"nearfar.json": ""}
    torch.export.load(export_encoder(encoder, tmp_path / "encoder.pt2", "torch"), extra_files=extra)
    saved = json.loads((tmp_path / "run" / "encoder.json").read_text())
    assert saved.pop("digest")  # of the file of weights, which an exported file does not have
    assert described == json.loads(extra["nearfar.json"])
    assert described.pop("inputs") == ["input"]
    assert described == saved
    export_encoder(encoder, tmp_path / "exported")
    assert load_encoder(tmp_path / "exported")[1] == CARD


def test_of_two_towers_the_first_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    towers: Any = trained(None, pairs()).eval()
    path = export_encoder(towers, tmp_path / "encoder.onnx", "onnx")
    x = torch.rand(3, 3, 32, 32)
    mean = torch.tensor(pairs().first.mean).view(3, 1, 1)
    std = torch.tensor(pairs().first.std).view(3, 1, 1)
    expected = towers.part("image")((x - mean) / std)
    torch.testing.assert_close(run_onnx(path, x), expected, rtol=0, atol=1e-4)
    loaded: Any = load_encoder(export_encoder(towers, tmp_path / "both"))[0]
    words = Tokens(torch.arange(6).view(2, 3), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(loaded(words), towers(words))


@pytest.mark.parametrize("form", ["onnx", "torch", "safetensors"])
def test_nothing_is_overwritten_unasked(form: str, tmp_path: Path) -> None:
    encoder = networks.build("small-convnet", images(1, 8, 8))
    path = tmp_path / "encoder"
    path.write_text("precious")
    with pytest.raises(
        UserError, match="encoder exists already; choose another name or remove it first"
    ):
        export_encoder(encoder, path, form)
    assert path.read_text() == "precious"
    if form != "safetensors":
        pytest.importorskip("onnx")
        export_encoder(encoder, path, form, overwrite=True)
        assert path.stat().st_size > 1_000_000


def test_a_file_that_fails_the_check_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    encoder = networks.build("small-convnet", images(1, 8, 8))
    forward = portable.Portable.forward
    monkeypatch.setattr(
        portable.Portable,
        "forward",
        lambda self, *tensors: forward(self, *tensors) + 0.001 * torch.compiler.is_exporting(),
    )
    with pytest.raises(RuntimeError, match=r"differ from the original's by up to 0\.001 where"):
        export_encoder(encoder, tmp_path / "encoder.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = networks.build("small-convnet", images(1, 8, 8))
    with pytest.raises(UserError, match="Unknown format 'onxx': did you mean onnx"):
        export_encoder(encoder, tmp_path / "x", "onxx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        UserError,
        match=r"The format onnx needs onnx, which is not installed: pip install "
        r"'nearfar\[export\]'",
    ):
        export_encoder(encoder, tmp_path / "x", "onnx")
    assert not list(tmp_path.iterdir())


def test_the_tokenizer_travels_with_an_encoder_of_texts(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["the cat sat on the mat", "the hat"])
    save_encoder(
        networks.build("text-transformer", texts(len(tokenizer))),
        tmp_path / "first",
        CARD,
        tokenizer=tokenizer,
    )
    loaded = load_encoder(tmp_path / "first")[0]
    save_encoder(loaded, tmp_path / "second")
    for folder in ("first", "second"):
        found = tokenizer_of(load_encoder(tmp_path / folder)[0])
        assert found is not None
        assert found.merges == tokenizer.merges
    assert tokenizer_of(networks.build("small-convnet", images(1, 8, 8))) is None
