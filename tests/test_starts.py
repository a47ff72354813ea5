"""What a run may start from: each kind gives its weights to the bit, and what does not fit is
refused in one sentence before anything is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import nearfar
from nearfar import networks
from nearfar.assembly.starts import finished_encoder, named_starts, part_encoder, started
from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.networks.encoder import Encoder
from nearfar.runs import bundle, hub
from nearfar.runs.encoder_files import save_encoder, tokenizer_of
from tests.networks.specs import images

SPEC = images(3, 32, 32)
TIMM = "timm:test_vit"


def _equal(one: Encoder, other: Encoder) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Encoder, Path]:
    """An encoder, and the folder that it was exported to."""
    encoder = networks.build("small-convnet", SPEC)
    save_encoder(encoder, tmp_path / "exported")
    return encoder, tmp_path / "exported"


def _timm_file(folder: Path) -> Path:
    """A timm model's weights as timm writes them, with its classifier."""
    import timm

    state = timm.create_model("test_vit", num_classes=7, img_size=(32, 32)).state_dict()
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_folders_hubs_and_bundles_give_their_weights(
    exported: tuple[Encoder, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, folder = exported
    monkeypatch.setattr(bundle, "_bundle", lambda: folder.parent)
    for start in (str(folder), f"hub:{folder}", "nearfar:exported"):
        assert _equal(started(start, SPEC, None), encoder)
        assert _equal(part_encoder(start, SPEC), encoder)
    with pytest.raises(UserError, match="Unknown encoder of nearfar-models 'exportde'"):
        finished_encoder("nearfar:exportde")
    with pytest.raises(UserError, match="holds the encoder small-convnet, not resnet18"):
        started(str(folder), SPEC, "resnet18")
    with pytest.raises(UserError, match="takes image samples of shape"):
        part_encoder(str(folder), images(1, 32, 32))


def test_without_the_bundle_a_sentence_says_how_to_get_it() -> None:
    with pytest.raises(UserError, match="wheel nearfar-models, which is not installed; build it"):
        finished_encoder("nearfar:digits-small")


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        @staticmethod
        def snapshot_download(*_: Any, **__: Any) -> str:
            raise OSError("offline mode is enabled")

    monkeypatch.setattr(hub, "_library", lambda: Offline)
    with pytest.raises(UserError, match="Cannot load me/net from the hub: offline mode"):
        started("hub:me/net", SPEC, None)


def test_a_file_fills_the_architecture_that_is_named(tmp_path: Path) -> None:
    import timm

    file = _timm_file(tmp_path)
    given = timm.create_model("test_vit", num_classes=0, img_size=(32, 32))
    given.load_state_dict(
        {key: one for key, one in load_file(file).items() if not key.startswith("head.")}
    )
    for start, name in ((str(file), TIMM), (f"{TIMM}@{file}", None), (f"{TIMM}@{file}", TIMM)):
        encoder = started(start, SPEC, name)
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(encoder.eval()(x), given.eval()(x))


def test_what_does_not_fit_a_file_is_named(tmp_path: Path) -> None:
    file = str(_timm_file(tmp_path))
    for start, name, sentence in (
        (file, None, "without an architecture; name it with --encoder"),
        (f"{file}.none.safetensors", None, "there is no such file"),
        ("hub:", None, "names no repository"),
        (file, "resnet18", r"weights \(first resnet.conv1.weight\).* missing .* unknown"),
        (file, f"{TIMM}@pretrained", "would be replaced"),
        (f"{TIMM}@{file}", "resnet18", "is another encoder than resnet18"),
        (str(tmp_path / "none.safetensors"), TIMM, "Cannot read"),
        ("timm:test_vit", None, "write timm:test_vit@pretrained"),
        ("timm:test_vit@pretrained", "resnet18", "is another encoder than resnet18"),
        (str(tmp_path), None, "is not a run folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            started(start, SPEC, name)
    with pytest.raises(UserError, match=r"patch_embed.proj.weight is of shape .* bring the data"):
        started(file, images(1, 32, 32), TIMM)
    Path(file).write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"is no \.safetensors file, or is damaged"):
        started(file, SPEC, TIMM)


def test_timms_own_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked = []
    create = timm.create_model

    def stand_in(name: str, pretrained: bool = False, **options: Any) -> Any:
        asked.append(pretrained)
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", stand_in)
    encoder: Any = started("timm:test_vit@pretrained", SPEC, "timm:test_vit")
    assert True in asked
    assert encoder.architecture["name"] == "timm:test_vit@pretrained"


def test_names_say_which_part_starts_from_what() -> None:
    simclr = registry.get("simclr")
    srgan = registry.get("srgan")
    assert named_starts(simclr, ("hub:me/net",)) == ({}, "hub:me/net")
    assert named_starts(simclr, ("encoder=timm:a@pretrained",)) == ({}, "timm:a@pretrained")
    given = named_starts(srgan, ("runs/a", "features=timm:resnet18@w.safetensors"))
    assert given == ({"srresnet": "runs/a", "features": "timm:resnet18@w.safetensors"}, None)
    for wrong, sentence in (
        (("feature=runs/a",), "from no part 'feature'; expected one of srresnet, features"),
        (("features=",), "Nothing was named"),
        (("features=a", "features=b"), "given twice"),
    ):
        with pytest.raises(UserError, match=sentence):
            named_starts(srgan, wrong)
    with pytest.raises(UserError, match="Two encoders were given"):
        named_starts(simclr, ("a", "encoder=b"))


def test_texts_are_encoded_by_the_tokenizer_of_what_is_started_from(tmp_path: Path) -> None:
    words = ["red", "green", "blue", "round", "square", "small"]
    texts = [f"a {one} {other} thing" for one in words for other in words]
    first, second = ([{"text": text + end} for text in texts] for end in ("", " of another sort"))
    how: dict[str, Any] = {"steps": 1, "batch_size": 8, "evaluate": False, "quiet": True}
    for name, rows in (("first", first), ("second", second)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    started_run = nearfar.pretrain(
        "simclr", data=str(tmp_path / "first.parquet"), output=tmp_path / "a", **how
    )
    expected = tokenizer_of(started_run.encoder())
    assert expected is not None
    for method, start in (("vicreg", started_run.folder), ("rkd", f"teacher={tmp_path / 'a'}")):
        run = nearfar.pretrain(
            method,
            data=str(tmp_path / "second.parquet"),
            start_from=start,
            output=tmp_path / method,
            **how,
        )
        found = tokenizer_of(run.encoder())
        assert found is not None
        assert found.to_json() == expected.to_json()


def test_the_command_starts_from_a_file_and_refuses_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = networks.build("perceptron", images(1, 8, 8))
    save_file(
        {key: value.contiguous() for key, value in encoder.state_dict().items()}, "w.safetensors"
    )
    words = "pretrain simclr --data digits --limit 64 --steps 2 --batch-size 32 --no-evaluate"
    words += " --device cpu --learning-rate 0 --output run"
    code = main([*words.split(), "--start-from.encoder", "missing.safetensors"])
    assert code == 2
    assert not Path("run").exists()
    assert "Cannot read missing.safetensors: there is no such file" in capsys.readouterr().err
    assert main([*words.split(), "--start-from.encoder"]) == 2
    assert "--start-from.encoder has no value" in capsys.readouterr().err
    code = main([*words.split(), "--start-from.encoder=w.safetensors", "--encoder", "perceptron"])
    assert code == 0
    found = finished_encoder("run").state_dict()
    weights = [key for key in found if key.endswith("weight")]
    assert weights
    assert all(torch.equal(found[key], encoder.state_dict()[key]) for key in weights)
    assert 'start_from = [\n    "encoder=w.safetensors",\n]' in Path("run/config.toml").read_text()
