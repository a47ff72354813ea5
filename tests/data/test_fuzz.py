"""Files with flipped, cut, doubled and foreign bytes: every reader loads them or refuses them in a
sentence.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import wavfile

from nearfar.data import load
from nearfar.errors import UserError
from nearfar.finding.index import read_index
from tests.data.conftest import encoded, picture

Damage = list[tuple[str, float, bytes]]

_DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "cut", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=6,
)


def _whole() -> dict[str, bytes]:
    """A small good file of every kind."""
    random = np.random.default_rng(0)
    found = {}
    file = io.BytesIO()
    np.savez(file, x=random.normal(size=(6, 2, 16)), y=np.arange(6) % 2)
    found["npz"] = file.getvalue()
    file = io.BytesIO()
    columns = {
        "image": [encoded(picture(i)) for i in range(6)],
        "label": [0, 1] * 3,
        "text": ["some words"] * 6,
    }
    pq.write_table(pa.table(columns), file)
    found["parquet"] = file.getvalue()
    rows = "".join(f"{i:03d},some words {i},{i % 2},train\n" for i in range(12))
    found["csv"] = f"id,text,label,split\n{rows}".encode()
    file = io.BytesIO()
    wavfile.write(file, 8000, random.integers(-9000, 9000, 400).astype(np.int16))
    found["wav"] = file.getvalue()
    for ending, kind in {
        "png": "PNG",
        "jpg": "JPEG",
        "tif": "TIFF",
        "webp": "WEBP",
        "gif": "GIF",
        "bmp": "BMP",
    }.items():
        found[ending] = encoded(picture(0), kind)
    return found


WHOLE = _whole()


def damaged(content: bytes, damage: Damage) -> bytes:
    """The bytes after some mishaps, each at a share of their length."""
    found = bytearray(content)
    for kind, where, what in damage:
        place = int(where * len(found))
        if kind == "replace":
            found[place : place + len(what)] = what
        elif kind == "insert":
            found[place:place] = what
        elif kind == "cut":
            del found[place:]
        else:
            found[place:place] = found[place : place + 64]
    return bytes(found)


@pytest.mark.parametrize("ending", WHOLE)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=_DAMAGE, alone=st.booleans())
def test_damaged_files_are_read_or_refused(ending: str, damage: Damage, alone: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(3):
            content = WHOLE[ending] if number == 0 else damaged(WHOLE[ending], damage)
            (folder / f"{number}.{ending}").write_bytes(content)
        with suppress(UserError):  # anything else fails the test
            load(folder / f"1.{ending}" if alone else folder)
        if ending in ("npz", "parquet"):
            with suppress(UserError):
                read_index(folder / f"1.{ending}")
