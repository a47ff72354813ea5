"""Degraded copies beside the clean images: what they are, that they repeat, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nearfar import data
from nearfar.data.degradations.degradation import gaussian_blur
from nearfar.data.degradations.resampling import bicubic_down
from nearfar.data.prepare import prepared
from nearfar.data.prepare.degrade import Degrade
from nearfar.data.samples import Source
from nearfar.errors import UserError


@pytest.fixture
def source() -> Source:
    return data.load("digits", limit=40)


def degraded(source: Source, text: str, seed: int = 0) -> Source:
    return prepared(source, (text,), seed=seed)


def test_bicubic_makes_small_images_beside_the_clean_ones(source: Source) -> None:
    made = degraded(source, "degrade:bicubic,factor=4")
    assert made.spec.modality == "image+image"
    small = made.spec.parts["degraded"]
    assert (small.shape, small.extra["factor"]) == ((1, 2, 2), 4)
    assert (small.mean, small.std) == ((0.0,), (1.0,))
    for samples, before in ((made.train, source.train), (made.test, source.test)):
        assert samples is not None
        assert before is not None
        clean = before.take(torch.arange(len(before)))
        assert torch.equal(samples.content["clean"], clean)
        expected = (bicubic_down(clean / 255, 4).clamp(0, 1) * 255).round().to(torch.uint8)
        assert torch.equal(samples.content["degraded"], expected)
        assert samples.ids == before.ids
    assert any("degraded" in note for note in made.notes)


def test_images_are_cut_to_a_multiple_of_the_factor(source: Source) -> None:
    train = replace(source.train, content=torch.zeros(40, 1, 7, 10, dtype=torch.uint8), rows=None)
    spec = replace(source.spec, shape=(1, 7, 10))
    made = degraded(replace(source, spec=spec, train=train, test=None), "degrade:factor=2")
    assert made.spec.parts["clean"].shape == (1, 6, 10)
    assert made.spec.parts["degraded"].shape == (1, 3, 5)
    assert made.train.content["degraded"].shape == (40, 1, 3, 5)


def test_the_blur_is_the_pure_one(source: Source) -> None:
    made = degraded(source, "degrade:blur,amount=1")
    clean = made.train.content["clean"] / 255
    expected = (gaussian_blur(clean, (7, 7), (1.0, 1.0)) * 255).round().to(torch.uint8)
    assert torch.equal(made.train.content["degraded"], expected)


@pytest.mark.parametrize("kind", ["noise", "correlated-noise", "camera-noise", "motion"])
def test_what_is_drawn_depends_on_the_sample_and_the_seed_alone(source: Source, kind: str) -> None:
    first = degraded(source, f"degrade:{kind}")
    again = degraded(replace(source, train=source.train.subset(torch.arange(7))), f"degrade:{kind}")
    images = first.train.content["degraded"]
    assert torch.equal(again.train.content["degraded"], images[:7])
    other = degraded(source, f"degrade:{kind}", seed=1)
    assert not torch.equal(other.train.content["degraded"], images)
    assert not torch.equal(images, first.train.content["clean"])


def test_no_noise_changes_nothing(source: Source) -> None:
    made = degraded(source, "degrade:noise,amount=0")
    assert torch.equal(made.train.content["degraded"], made.train.content["clean"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("degrade:factor=3", "expected 1, 2, 4 or 8"),
        ("degrade:factor=0", "factor"),
        ("degrade:bicubic,amount=2", "has no amount"),
        ("degrade:fog", "kind"),
        ("degrade:noise,amount=-1", "amount"),
    ],
)
def test_options_out_of_range_are_refused(source: Source, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        degraded(source, text)


def test_what_is_no_image_is_refused(source: Source) -> None:
    made = degraded(source, "degrade:factor=2")
    with pytest.raises(UserError, match="degrade takes images, and digits holds image"):
        Degrade()(made, seed=0)
    tiny = replace(source, spec=replace(source.spec, shape=(1, 3, 3)))
    with pytest.raises(UserError, match="choose a smaller factor"):
        degraded(tiny, "degrade:factor=4")
