"""The choice of a number format."""

from pathlib import Path

import pytest
import torch

from nearfar.networks import build
from nearfar.training import precision
from tests.networks.specs import images

IMAGES = images(3, 16, 16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path))


@pytest.mark.parametrize(("seconds", "chosen"), [({False: 3.0, True: 2.0}, "bfloat16"), ({False: 2.2, True: 2.0}, "float32")])
def test_bfloat16_is_taken_where_it_gains_at_least_15_percent_and_the_answer_is_kept(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[bool, float], chosen: str
) -> None:
    asked = []

    def timed(encoder: object, example: torch.Tensor, device: object, *, bfloat16: bool) -> float:
        assert example.is_contiguous(memory_format=torch.channels_last)
        asked.append(bfloat16)
        return seconds[bfloat16]

    monkeypatch.setattr(precision, "_seconds", timed)
    encoder, example = build("small-convnet", IMAGES), torch.zeros(4, *IMAGES.shape)
    first = precision.choose_precision("auto", encoder, example, torch.device("cpu"))
    assert first[0] == chosen
    assert asked[:4] == [False, True, False, True], "in turns"
    calls = len(asked)
    assert precision.choose_precision("auto", encoder, example, torch.device("cpu")) == first
    assert len(asked) == calls


def test_the_probe_leaves_the_encoder_and_the_random_state_alone() -> None:
    encoder, example = build("small-convnet", IMAGES), torch.rand(4, *IMAGES.shape)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    precision.choose_precision("auto", encoder, example, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
