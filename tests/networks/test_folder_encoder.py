"""Models in folders of the transformers library: built, saved, resumed, evaluated and exported."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar import networks
from nearfar.cli import main
from nearfar.data.content.folder_tokenizer import FolderTokenizer, read_tokenizer
from nearfar.data.content.tokenizer import END, START
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.catalogue import short
from nearfar.rows import Tokens
from nearfar.runs.encoder_files import export_encoder, load_encoder, save_encoder
from nearfar.verbs.run import Run

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "cat", "dog", "house"]
SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
SPECS = {
    "vit": Spec("pictures", "image", (1, 16, 16), 20, mean=(0.5,), std=(0.3,)),
    "resnet": Spec("pictures", "image", (3, 32, 32), 20, mean=(0.5,) * 3, std=(0.3,) * 3),
    "bert": Spec("words", "text", (8,), 20, vocabulary=len(WORDS) + 5, context=8),
    "ast": Spec("sounds", "audio", (16, 24), 20, mean=(0.0,) * 16, std=(1.0,) * 16),
    "wav2vec2": Spec("waves", "series", (1, 400), 20, mean=(0.0,), std=(1.0,)),
}


def config_of(kind: str) -> Any:
    """A tiny model's configuration, with dropout as the library has it."""
    if kind == "vit":
        return transformers.ViTConfig(image_size=16, patch_size=8, num_channels=1, **SMALL)
    if kind == "resnet":
        return transformers.ResNetConfig(
            embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic"
        )
    if kind == "bert":
        return transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **SMALL)
    if kind == "ast":
        return transformers.ASTConfig(
            num_mel_bins=16, max_length=24, patch_size=8, time_stride=8, frequency_stride=8, **SMALL
        )
    return transformers.Wav2Vec2Config(
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **SMALL,
    )


def folder_of(kind: str, place: Path) -> Path:
    """A folder with a tiny model of this kind, and of a model of texts its tokenizer."""
    torch.manual_seed(0)
    transformers.AutoModel.from_config(config_of(kind)).save_pretrained(place)
    if kind == "bert":
        numbers = {word: number for number, word in enumerate(WORDS)}
        words = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
        words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        words.save(str(place / "tokenizer.json"))
    return place


def samples(spec: Spec) -> Any:
    if spec.modality != "text":
        return torch.randn(3, *spec.shape, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[2, 12, 13, 3], [2, 11, 3, 0], [2, 14, 15, 3]])
    ids = torch.nn.functional.pad(ids, (0, spec.context - 4))
    return Tokens(ids, ids != 0)


@pytest.mark.parametrize("kind", SPECS)
def test_a_folders_model_is_built_and_read_again_without_the_folder(
    kind: str, tmp_path: Path
) -> None:
    place = folder_of(kind, tmp_path / "model")
    spec = SPECS[kind]
    encoder = networks.build(f"hf:{place}@pretrained", spec)
    name: Any = encoder.architecture["name"]  # type: ignore[index]
    assert short(name) == f"hf:{place}@pretrained"
    held = transformers.AutoModel.from_pretrained(place).state_dict()
    own = {key.removeprefix("model."): value for key, value in encoder.state_dict().items()}
    assert all(torch.equal(own[key], held[key]) for key in own)
    x = samples(spec)
    assert torch.equal(encoder.train()(x), encoder(x)) or kind == "resnet"
    expected = encoder.eval()(x)
    assert expected.shape == (3, encoder.dimension)
    save_encoder(encoder, tmp_path / "saved")
    shutil.rmtree(place)
    again, _ = load_encoder(tmp_path / "saved")
    assert torch.equal(again(x), expected)
    assert again.architecture["name"] == name  # type: ignore[index]
    torch.manual_seed(3)
    fresh = networks.build(name.replace("@pretrained", ""), spec).eval()
    assert not torch.equal(fresh(x), expected)


def test_features_are_those_that_the_library_gives(tmp_path: Path) -> None:
    place = folder_of("bert", tmp_path / "model")
    encoder = networks.build(f"hf:{place}@pretrained", SPECS["bert"]).eval()
    model = transformers.AutoModel.from_pretrained(place).eval()
    ids = torch.tensor([[2, 7, 8, 3, 0, 0, 0, 0]])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output
    assert torch.allclose(encoder(samples(SPECS["bert"])[:1]), expected, atol=1e-6)


def test_tokens_are_averaged_where_the_folder_has_no_pooling(tmp_path: Path) -> None:
    place = folder_of("vit", tmp_path / "model")
    model = transformers.ViTModel(config_of("vit"), add_pooling_layer=False).eval()
    model.save_pretrained(place)
    encoder = networks.build(f"hf:{place}@pretrained", SPECS["vit"]).eval()
    x = samples(SPECS["vit"])
    with torch.no_grad():
        expected = model(pixel_values=x).last_hidden_state.mean(1)
    assert torch.allclose(encoder(x), expected, atol=1e-6)


def test_a_fresh_model_fits_the_channels_and_size_of_the_data(tmp_path: Path) -> None:
    place = folder_of("vit", tmp_path / "model")
    spec = Spec("pictures", "image", (3, 20, 20), 20)
    assert networks.build(f"hf:{place}", spec)(torch.rand(2, 3, 20, 20)).shape == (2, 8)
    with pytest.raises(UserError, match=r"Cannot build hf:.* for image data of 3 x 20 x 20"):
        networks.build(f"hf:{place}@pretrained", spec)


def test_the_folders_tokenizer_is_kept(tmp_path: Path) -> None:
    found = FolderTokenizer.of_folder(str(folder_of("bert", tmp_path / "model")))
    tokens = found.encode(["a red cat", "house"], 5)
    assert tokens.ids.tolist() == [[START, 10, 11, 13, END], [START, 15, END, 0, 0]]
    again = read_tokenizer(found.to_json())
    assert isinstance(again, FolderTokenizer)
    assert len(again) == len(WORDS) + 5
    assert again.decode(tokens.ids[0].tolist()) == "a red cat"


def test_a_run_on_texts_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_of("bert", tmp_path / "model")
    texts = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in WORDS[8:]] * 8
    pq.write_table(pa.table({"text": texts}), tmp_path / "texts.parquet")
    asked = ["--data", str(tmp_path / "texts.parquet"), "--batch-size", "8", "--no-evaluate"]
    run = tmp_path / "run"
    words = ["pretrain", "simclr", *asked, "--encoder", f"hf:{place}@pretrained", "--steps", "2"]
    assert main([*words, "--output", str(run)]) == 0
    assert main(["pretrain", "--resume", str(run)]) == 0
    shutil.rmtree(place)
    assert main(["pretrain", "--resume", str(run)]) == 2
    assert "is gone; bring it back to go on" in " ".join(capsys.readouterr().err.split())
    assert main(["embed", str(run), "--output", str(tmp_path / "own.npz")]) == 0
    assert isinstance(Run(run).encoder().architecture["tokenizer"], FolderTokenizer)


def test_a_run_on_pictures_is_judged_beside_a_random_twin(tmp_path: Path) -> None:
    place = folder_of("vit", tmp_path / "model")
    asked = ["--data", "digits", "--encoder", f"hf:{place}", "--limit", "64"]
    run = tmp_path / "run"
    more = ["--steps", "2", "--batch-size", "16", "--output", str(run), "--no-evaluate"]
    assert main(["pretrain", "simclr", *asked, *more]) == 0
    shutil.rmtree(place)
    assert main(["evaluate", str(run)]) == 0


@pytest.mark.parametrize("kind", ["safetensors", "torch", "onnx"])
def test_exports(kind: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    place = folder_of("vit", tmp_path / "model")
    encoder = networks.build(f"hf:{place}", SPECS["vit"]).eval()
    assert export_encoder(encoder, tmp_path / "out", kind).exists()


def test_mistakes_get_a_sentence_and_leave_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder_of("vit", tmp_path / "model")
    (place / "model.safetensors").unlink()
    asked = ["pretrain", "simclr", "--data", "digits", "--output", str(tmp_path / "run")]

    def said(name: str) -> str:
        assert main([*asked, "--encoder", name]) == 2
        assert not (tmp_path / "run").exists()
        return " ".join(capsys.readouterr().err.split())

    assert "nothing is fetched from the hub" in said("hf:google/some-model")
    assert "holds no weights as safetensors" in said(f"hf:{place}@pretrained")
    (place / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoModel": "m.M"}}')
    assert "Cannot build hf:" in said(f"hf:{place}")
    assert "damaged description" in said(f"hf:{place}#abc")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "not installed: pip install 'nearfar[hf]'" in said(f"hf:{place}")
