"""From an encoded recording to a waveform, and from waveforms to log-mel spectrograms."""

from __future__ import annotations

import importlib.util
import io
import math
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.content.bounds import MOST_SOUND, RATES
from nearfar.errors import UserError

BANDS = 64
WINDOW = 0.025
"""Seconds of a frame, the usual window of speech; more where two steps are longer, so that no sound
falls between frames."""
_FLOOR = 1e-6
"""Added to each band's power before the logarithm: what is quieter is silence."""
_MARKS = (b"OggS", b"fLaC", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM")


class UnreadableError(Exception):
    """A recording that cannot be used; its text is the reason, or "" for mere damage."""


Encoded = bytes | Path
"""A file's content, or a file."""
Wave = NDArray[np.float32]


def is_sound(content: bytes) -> bool:
    """Whether a file's first bytes are those of a WAV, FLAC, Ogg or MP3 file."""
    return _is_wave(content) or content.startswith(_MARKS)


def decode(encoded: Encoded) -> tuple[Wave, int]:
    """A recording's mean over its channels, (samples,) float32 about in [-1, 1], and its samples a
    second.

    WAV is read by scipy, everything else by soundfile.

    Raises:
        UserError: if soundfile is needed and not installed.
        UnreadableError: if the recording is broken, empty, too long, or states a rate that no
            recording has.
    """
    try:
        wave, rate = _decoded(encoded)
    except (UserError, UnreadableError):
        raise
    except Exception as error:  # decoders raise nearly anything on broken files
        raise UnreadableError from error
    _check_rate(rate)
    if not len(wave) or not np.isfinite(wave).all():
        raise UnreadableError(
            "empty" if not len(wave) else "it holds values that are no finite numbers"
        )
    return wave, rate


def _check_rate(rate: int) -> None:
    least, most = RATES
    if not least <= rate <= most:
        raise UnreadableError(
            f"it states {rate:,} samples a second; expected {least:,} to {most:,}"
        )


def _check_length(samples: int) -> None:
    if samples > MOST_SOUND:
        raise UnreadableError(f"it has {samples:,} samples; at most {MOST_SOUND:,} are read")


def _decoded(encoded: Encoded) -> tuple[Wave, int]:
    if isinstance(encoded, Path):
        _check_length(encoded.stat().st_size // 4)
    content = encoded.read_bytes() if isinstance(encoded, Path) else encoded
    if _is_wave(content):
        return _decode_wave(content)
    if not importlib.util.find_spec("soundfile"):
        raise UserError(
            "Compressed sound (Ogg, FLAC, MP3) needs soundfile: pip install 'nearfar[audio]'."
        )
    import soundfile

    about = soundfile.info(io.BytesIO(content))
    _check_rate(int(about.samplerate))
    _check_length(int(about.frames) * int(about.channels))
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)


def resampled(wave: Wave, rate: int, wanted: int) -> Wave:
    """A waveform at another rate, by a polyphase filter."""
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly  # slow to import, seldom needed

    common = math.gcd(rate, wanted)
    found: Wave = resample_poly(wave, wanted // common, rate // common).astype(np.float32)
    return found


def log_mel(waves: Tensor, rate: int, hop: int) -> Tensor:
    """Logarithm of the power in mel bands over time.

    Args:
        waves: (N, samples) float.
        rate: samples a second.
        hop: samples from one frame to the next; frame t is centred on sample t * hop, with silence
            beyond the ends.

    Returns:
        (N, 64, 1 + samples // hop) float32.

    Source: Davis and Mermelstein 1980, "Comparison of Parametric Representations for Monosyllabic
        Word Recognition" (triangular
    filters equally spaced in mel).
    """
    window = max(round(WINDOW * rate), 2 * hop)
    size = 1 << math.ceil(
        math.log2(2 * window)
    )  # twice the window, so that the narrowest band still holds a frequency
    spectrum = torch.stft(
        waves.float(),
        size,
        hop,
        window,
        torch.hann_window(window),
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square() / window
    return torch.log(mel_filters(rate, size) @ power + _FLOOR)


@lru_cache(maxsize=8)
def mel_filters(rate: int, size: int, bands: int = BANDS) -> Tensor:
    """Weights (bands, size // 2 + 1) of the frequencies of a ``size``-point transform: triangles of
    height 1, each from its lower neighbour's centre to its upper one's, with centres equally spaced
    in mel from 0 to half the rate.

    Source: mel as 2595 log10(1 + f / 700), O'Shaughnessy 1987, "Speech Communication: Human and
        Machine".
    """
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    centres = 700 * (10 ** (torch.linspace(0, highest, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    rise = (frequencies - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    fall = (centres[2:, None] - frequencies) / (centres[2:] - centres[1:-1])[:, None]
    return torch.minimum(rise, fall).clamp(min=0).float()


def _is_wave(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WAVE"


def _decode_wave(content: bytes) -> tuple[Wave, int]:
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", wavfile.WavFileWarning
        )  # of chunks that hold no sound, such as titles
        rate, samples = wavfile.read(io.BytesIO(content))
    values = samples.astype(np.float32).reshape(len(samples), -1)
    if samples.dtype.kind == "u":
        values = (values - 128) / 128
    elif samples.dtype.kind == "i":
        values /= -float(np.iinfo(samples.dtype).min)
    return values.mean(axis=1), int(rate)
