"""Real files, where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.errors import UserError
from nearfar.rows import Parts

Find = Callable[[str], Path]


def test_cifar_10(shared_data: Find) -> None:
    source = load(shared_data("cifar10/test.parquet"), limit=200)
    assert (source.spec.shape, source.spec.length, len(source.spec.classes)) == (
        (3, 32, 32),
        200,
        10,
    )
    assert source.spec.classes[0] == "airplane"
    assert source.spec.mean == pytest.approx((0.49, 0.48, 0.45), abs=0.03)
    assert source.spec.std == pytest.approx((0.247, 0.243, 0.262), abs=0.03)


def test_emoji_are_pairs(shared_data: Find) -> None:
    source = load(shared_data("emoji.parquet"), limit=100)
    assert (source.spec.modality, source.spec.length) == ("image+text", 100)
    assert source.spec.parts["image"].shape == (3, 64, 64)
    assert "Flags" in source.spec.classes
    found = source.train.take(torch.tensor([3, 5]))
    assert isinstance(found, Parts)
    assert torch.all(found.image[:, :, 0, 0] == 255)  # transparent corners are white
    assert found.text.ids.shape == (2, source.spec.parts["text"].context)


@pytest.mark.parametrize(
    ("name", "shape", "group", "classes"),
    [
        ("ecg.npz", (2, 720), "patient", ("N", "S", "V", "F", "Q")),
        ("eeg.npz", (19, 256), "patient", ("control", "alcoholic")),
        ("har_devices.npz", (30, 125), "subject", None),
    ],
)
def test_series_of_patients(
    shared_data: Find,
    name: str,
    shape: tuple[int, int],
    group: str,
    classes: tuple[str, ...] | None,
) -> None:
    source = load(shared_data(name))
    assert (source.spec.modality, source.spec.shape, source.spec.groups) == (
        "series",
        shape,
        (group,),
    )
    assert classes is None or source.spec.classes == classes
    assert source.test is not None
    assert not set(source.train.group[group].tolist()) & set(source.test.group[group].tolist())
    share = len(source.test) / (len(source.test) + len(source.train))
    assert 0.12 < share < 0.3
    assert source.train.label is not None
    assert source.test.label is not None
    assert set(np.unique(source.test.label)) <= set(np.unique(source.train.label))


def test_satellite_images_keep_their_split(shared_data: Find) -> None:
    source = load(shared_data("eurosat.parquet"), limit=60)
    assert source.test is not None
    assert (len(source.train), len(source.test), len(source.spec.classes)) == (60, 600, 10)


def test_ages_are_values(shared_data: Find) -> None:
    source = load(shared_data("face_ages.parquet"), limit=60, label="age")
    assert source.spec.target == "value"
    assert source.train.label is not None
    assert source.train.label.max() > 30


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cora.npz", "holds graphs"),
        (
            "volumes.npz",
            r"\(36, 52, 36\); expected images .* clips with --modality video",
        ),
    ],
)
def test_what_cannot_be_read_yet_is_said(shared_data: Find, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(shared_data(name))


def test_spoken_digits_are_split_by_speaker(shared_data: Find) -> None:
    source = load(shared_data("spoken_digits.parquet"), label="digit", limit=100)
    assert (
        source.spec.modality,
        source.spec.shape[0],
        source.spec.groups,
        len(source.spec.classes),
    ) == ("audio", 64, ("speaker",), 10)
    assert source.test is not None
    assert not set(source.train.group["speaker"].tolist()) & set(
        source.test.group["speaker"].tolist()
    )


def test_environmental_sounds(shared_data: Find) -> None:
    pytest.importorskip("soundfile", reason="compressed sound needs the extra audio")
    source = load(shared_data("esc10.parquet"), limit=40, group="fold")
    assert (source.spec.modality, source.spec.classes[0], source.spec.extra["sampling_rate"]) == (
        "audio",
        "dog_bark",
        16000,
    )
    assert source.spec.shape[1] <= 128


def test_clips_are_split_by_scene(shared_data: Find) -> None:
    source = load(shared_data("clips.parquet"), size=32)
    assert (source.spec.modality, source.spec.shape, source.spec.groups) == (
        "video",
        (3, 8, 32, 32),
        ("group",),
    )
    assert source.spec.classes == ("no_fight", "fight")


def test_lidar_objects_keep_their_split(shared_data: Find) -> None:
    source = load(shared_data("points.npz"))
    assert source.test is not None
    assert (source.spec.modality, source.spec.shape, len(source.train), len(source.test)) == (
        "points",
        (3, 1024),
        374,
        125,
    )


@pytest.mark.parametrize(("kind", "count"), [("brain_mri", 4), ("blood_cells", 3)])
def test_one_set_of_the_medical_images(shared_data: Find, kind: str, count: int) -> None:
    source = load(f"{shared_data('medical_images.parquet')}#set={kind}", limit=60)
    assert source.spec.shape[1:] == (64, 64)
    assert source.test is not None
    assert len(torch.unique(source.test.label)) == count


def test_captions_are_texts(shared_data: Find) -> None:
    source = load(shared_data("captions_en.parquet"), limit=200)
    assert (source.spec.modality, source.spec.target) == ("text", "none")
