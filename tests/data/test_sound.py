"""Recordings: decoding, log-mel spectrograms, one rate and length for all."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.io import wavfile

from nearfar.data import load
from nearfar.data.content import sound
from nearfar.errors import UserError

RATE = 8000


def tone(frequency: float, seconds: float, rate: int = RATE) -> np.ndarray[Any, Any]:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def wav(samples: np.ndarray[Any, Any], rate: int = RATE, kind: Any = np.int16) -> bytes:
    file = io.BytesIO()
    scaled = (
        samples
        if kind is np.float32
        else 128 + 127 * samples
        if kind is np.uint8
        else samples * np.iinfo(kind).max
    )
    wavfile.write(file, rate, scaled.astype(kind))
    return file.getvalue()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.float32])
def test_wav_of_every_depth_is_decoded(kind: Any) -> None:
    samples = tone(440, 0.1)
    found, rate = sound.decode(wav(np.stack([samples, 0 * samples], axis=1), kind=kind))
    assert rate == RATE
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, samples / 2, atol=0.01 if kind is np.uint8 else 1e-3)


def test_a_tone_is_in_the_band_of_its_frequency_and_in_time() -> None:
    wave = torch.zeros(1, RATE)
    wave[0, RATE // 2 :] = torch.from_numpy(tone(1000, 0.5)).float()
    found = sound.log_mel(wave, RATE, 80)[0]
    assert found.shape == (64, 101)
    mel = [2595 * np.log10(1 + f / 700) for f in (1000, RATE / 2)]
    assert abs(int(found[:, 75].argmax()) - (mel[0] / mel[1] * 65 - 1)) <= 1
    assert float(found[:, 20].max()) == pytest.approx(np.log(1e-6))
    assert float(found[:, 75].max()) > float(found[:, 20].max()) + 10


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_every_mel_band_has_a_frequency_and_neighbours_sum_to_one(rate: int) -> None:
    size = 1 << int(np.ceil(np.log2(0.05 * rate)))
    filters = sound.mel_filters(rate, size)
    assert bool((filters.sum(dim=1) > 0).all())
    frequencies = torch.arange(size // 2 + 1) * rate / size
    inside = filters.sum(dim=0)[(frequencies > 100) & (frequencies < 0.45 * rate)]
    torch.testing.assert_close(inside, torch.ones_like(inside))


def write(path: Path, blobs: list[bytes], **columns: Any) -> Path:
    audio = pa.array([{"bytes": blob, "path": None} for blob in blobs])
    pq.write_table(pa.table({"audio": audio, **columns}), path)
    return path


def test_recordings_of_other_lengths_and_rates_are_brought_together(tmp_path: Path) -> None:
    blobs = [wav(tone(300 + 10 * i, 0.4)) for i in range(38)] + [
        wav(tone(500, 0.8, 16000), 16000),
        wav(tone(500, 0.2)),
    ]
    source = load(
        write(
            tmp_path / "a.parquet",
            blobs,
            digit=np.arange(40) % 2,
            speaker=[f"s{i % 5}" for i in range(40)],
        ),
        label="digit",
    )
    assert (source.spec.modality, source.spec.groups, len(source.spec.classes)) == (
        "audio",
        ("speaker",),
        2,
    )
    assert source.spec.shape == (64, 1 + 3200 // 80)
    assert source.spec.extra["sampling_rate"] == RATE
    assert (
        "Of 40 recordings 1 were cropped in the middle and 1 followed by silence, to 0.40 s."
        in source.notes
    )
    assert len(source.spec.mean) == 64
    other = load(
        write(tmp_path / "b.parquet", [wav(tone(400, 1.0, 16000), 16000)] * 4),
        like=source.spec,
        split=False,
    )
    assert other.spec.shape == source.spec.shape


def test_long_recordings_get_wider_steps(tmp_path: Path) -> None:
    source = load(
        write(tmp_path / "a.parquet", [wav(tone(300 + i, 4.0)) for i in range(4)]), split=False
    )
    assert 100 < source.spec.shape[1] <= 128
    assert load(tmp_path / "a.parquet", split=False, size=20).spec.shape == (64, 20)


def test_broken_recordings_are_skipped_and_counted(tmp_path: Path) -> None:
    blobs = [wav(tone(300 + i, 0.2)) for i in range(9)]
    blobs[4] = blobs[4][:30]
    source = load(write(tmp_path / "a.parquet", blobs), split=False)
    assert len(source.train) == 8
    assert source.notes[0].startswith("1 of 9 recordings of a cannot be read: 4")
    with pytest.raises(UserError, match="repair or remove"):
        load(tmp_path / "a.parquet", split=False, strict=True)


def test_a_folder_of_recordings_with_classes(tmp_path: Path) -> None:
    for i in range(10):
        path = tmp_path / "sounds" / ("low" if i < 5 else "high") / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(tone(200 if i < 5 else 2000, 0.2)))
    source = load(tmp_path / "sounds", split=False)
    assert (source.spec.modality, source.spec.classes) == ("audio", ("high", "low"))


def test_compressed_sound_without_its_decoder_gets_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs soundfile: pip install 'nearfar\[audio\]'"):
        load(write(tmp_path / "a.parquet", [b"OggS" + bytes(40)] * 4), split=False)


def test_compressed_sound_is_decoded(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="compressed sound needs the extra audio")
    file = io.BytesIO()
    soundfile.write(file, tone(440, 0.5), RATE, format="OGG", subtype="VORBIS")
    found, rate = sound.decode(file.getvalue())
    assert rate == RATE
    assert np.abs(found - tone(440, 0.5)).mean() < 0.02


def test_sound_cannot_be_paired_with_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [wav(tone(300, 0.2))] * 4, caption=["a b"] * 4)
    assert load(path, split=False).spec.modality == "audio"
    with pytest.raises(
        UserError, match="holds audio data, which cannot be paired with the texts in 'caption'"
    ):
        load(path, split=False, text_column="caption")
