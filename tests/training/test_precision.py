"""The choice of a number format."""

import json
from pathlib import Path

import pytest
import torch

from nearfar import precision
from nearfar.errors import UserError
from nearfar.networks import build
from tests.networks.specs import images

IMAGES = images(3, 16, 16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [({False: 3.0, True: 2.0}, "bfloat16"), ({False: 2.2, True: 2.0}, "float32")],
)
def test_bfloat16_is_taken_where_it_gains_at_least_15_percent_and_the_answer_is_kept(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[bool, float], chosen: str
) -> None:
    asked = []

    def timed(encoder: object, example: torch.Tensor, device: object, *, bfloat16: bool) -> float:
        assert example.is_contiguous(memory_format=torch.channels_last)
        asked.append(bfloat16)
        return seconds[bfloat16]

    monkeypatch.setattr(precision, "_seconds", timed)
    encoder = build("small-convnet", IMAGES)
    example = torch.zeros(4, *IMAGES.shape)
    first = precision.choose_precision("auto", encoder, example, torch.device("cpu"))
    assert first[0] == chosen
    assert asked[1:5] == [False, True, False, True], "in turns, after one to warm up"
    calls = len(asked)
    assert precision.choose_precision("auto", encoder, example, torch.device("cpu")) == first
    assert len(asked) == calls


def test_the_probe_leaves_the_encoder_and_the_random_state_alone() -> None:
    encoder = build("small-convnet", IMAGES)
    example = torch.rand(4, *IMAGES.shape)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    precision.choose_precision("auto", encoder, example, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_far_slower_bfloat16_is_seen_on_a_few_samples_and_not_tried_again_with_any_encoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def timed(encoder: object, example: torch.Tensor, device: object, *, bfloat16: bool) -> float:
        asked.append(len(example))
        return 60.0 if bfloat16 else 0.5

    monkeypatch.setattr(precision, "_seconds", timed)
    told: list[str] = []
    encoder = build("small-convnet", IMAGES)
    example = torch.zeros(100, *IMAGES.shape)
    chosen, why = precision.choose_precision(
        "auto", encoder, example, torch.device("cpu"), told.append
    )
    assert chosen == "float32"
    assert "bfloat16 runs at 0.01 x the speed" in why
    assert asked == [8, 8, 8]
    assert len(told) == 1
    assert "once on this machine" in told[0]
    other = build("perceptron", IMAGES)
    assert precision.choose_precision("auto", other, example, torch.device("cpu"), told.append) == (
        chosen,
        why,
    )
    assert len(asked) == 3
    assert len(told) == 1


@pytest.mark.parametrize(
    "content",
    [
        "null",
        "[1, 2]",
        "{",
        '"text"',
        "\0\0\0",
        "{%s: null}",
        "{%s: -1}",
        '{%s: "fast"}',
        "{%s: NaN}",
    ],
)
def test_a_damaged_cache_is_made_anew(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_seconds", lambda *given, bfloat16: 1.0 if bfloat16 else 2.0)
    encoder = build("small-convnet", IMAGES)
    example = torch.zeros(4, *IMAGES.shape)
    path = tmp_path / "precision.json"
    precision.choose_precision("auto", encoder, example, torch.device("cpu"))
    (key,) = json.loads(path.read_text())
    path.write_text(content.replace("%s", json.dumps(key)))
    assert (
        precision.choose_precision("auto", encoder, example, torch.device("cpu"))[0] == "bfloat16"
    )
    assert json.loads(path.read_text()) == {key: 2.0}


@pytest.mark.parametrize("name", ["meta", "", "cuda:99", "nonsense", "cpu:x"])
def test_devices_that_cannot_compute_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be used here"):
        precision.device_of(name)
