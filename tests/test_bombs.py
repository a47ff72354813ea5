"""Small inputs that ask for more memory or time than there is are refused before any is taken."""

from __future__ import annotations

import dataclasses
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import nearfar
from nearfar import networks
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.finding.index import facts_of, read_index
from nearfar.networks import room
from nearfar.runs.encoder_files import DESCRIPTION, TOKENIZER, load_encoder, save_encoder
from tests.networks.specs import images, texts


@contextmanager
def refused(sentence: str) -> Iterator[None]:
    """The block ends in a ``UserError`` of that sentence within a minute, on a loaded machine,
    too.
    """
    started = time.monotonic()
    with pytest.raises(UserError, match=sentence):
        yield
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "name",
    ["1000000000*perceptron", "999999*point-net", f"{'9' * 5000}*perceptron", "257*small-convnet"],
)
def test_more_encoders_than_any_run_has_are_refused(name: str) -> None:
    with refused("stands for more than 256 encoders; expected at most 256 side by side"):
        networks.build(name, images(1, 8, 8))


@pytest.mark.parametrize(
    "name", ["0*perceptron", "\u00b2*perceptron", "-1*perceptron", "2*2*perceptron", "*"]
)
def test_other_numbers_of_encoders_are_unknown_names(name: str) -> None:
    with refused("Unknown encoder"):
        networks.build(name, images(1, 8, 8))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("perceptron", images(3, 1 << 20, 1 << 20)),
        ("perceptron", images(3, 1 << 40, 1 << 40)),
        ("series-perceptron", Spec("s", "series", (1, 1 << 40), 10, mean=(0.0,), std=(1.0,))),
        ("text-transformer", texts(1 << 34, 16)),
    ],
)
def test_an_encoder_that_fits_no_machine_is_refused_before_it_is_made(
    name: str, spec: Spec
) -> None:
    with refused("of memory, and .* are free; choose a smaller encoder"):
        networks.build(name, spec)


def test_what_is_free_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = sum(
        value.numel()
        for value in networks.build("perceptron", images(1, 8, 8)).state_dict().values()
    )
    monkeypatch.setattr(room, "free_bytes", lambda: 9 * weights)
    networks.build("2*perceptron", images(1, 8, 8))
    with refused("3\\*perceptron would take"):
        networks.build("3*perceptron", images(1, 8, 8))


def test_a_limit_of_the_process_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    assert room.free_bytes() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(room, "_MEMORY", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 7 kB\n")
    assert room.free_bytes() == 7 * 1024


def test_looking_for_room_changes_no_weight() -> None:
    torch.manual_seed(3)
    found = networks.build("small-convnet", images(1, 8, 8)).state_dict()
    torch.manual_seed(3)
    plain = networks._built("small-convnet", images(1, 8, 8), "any").state_dict()
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("simclr", {"hidden": 1 << 20, "projection": 1 << 20}),
        ("moco-v2", {"hidden": 1 << 20, "projection": 1 << 20}),
        ("dino", {"prototypes": 1 << 20, "bottleneck": 1 << 20}),
    ],
)
def test_settings_whose_networks_fit_no_machine_are_refused(
    method: str, settings: dict[str, int], tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "data": "digits",
        "limit": 40,
        "batch_size": 20,
        "epochs": 1,
        "quiet": True,
    }
    with refused(
        f"The networks of {method} with these settings would take .* choose smaller widths"
    ):
        nearfar.pretrain(method, settings=settings, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder with an encoder of texts."""
    tokenizer = Tokenizer.train(["one two three", "two three four"], 280)
    save_encoder(
        networks.build("text-transformer", texts(len(tokenizer), 12)),
        tmp_path / "encoder",
        tokenizer=tokenizer,
    )
    return tmp_path / "encoder"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "1000000000*text-transformer"}, "more than 256 encoders"),
        ({"spec": {"shape": [1 << 39]}}, "expected at most 1,073,741,824"),
        ({"spec": {"vocabulary": 1 << 24, "context": 1 << 24}}, "does not fit|would take"),
    ],
)
def test_an_encoder_file_that_asks_for_too_much(
    changes: dict[str, Any], sentence: str, encoder: Path
) -> None:
    described = json.loads((encoder / DESCRIPTION).read_text())
    spec = {**described["spec"], **changes.get("spec", {})}
    (encoder / DESCRIPTION).write_text(json.dumps({**described, **changes, "spec": spec}))
    with refused(sentence):
        load_encoder(encoder)


@pytest.mark.parametrize(
    ("merges", "sentence"),
    [
        (
            [[102, 102], *([261 + i, 261 + i] for i in range(40))],
            "bytes long; expected at most 260",
        ),
        ([[102, 103]] * 900_000, "there twice"),
        ([[5 + i // 200, 5 + i % 200] for i in range(40_000)], "tokens, and the encoder knows"),
    ],
    ids=["doubling", "repeated", "many"],
)
def test_a_tokenizer_that_asks_for_too_much(
    merges: list[list[int]], sentence: str, encoder: Path
) -> None:
    (encoder / TOKENIZER).write_text(json.dumps({"merges": merges}))
    with refused(sentence):
        load_encoder(encoder)


def _zeros_npz(path: Path) -> None:
    """1.1 GB of zeros in a megabyte."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("embedding.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (280_000, 1000)}
        )  # type: ignore[arg-type]
        for _ in range(1120):
            member.write(bytes(1_000_000))


def _header_npz(path: Path) -> None:
    """A header of 10^12 rows and nothing behind it."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("embedding.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 64)}
        )  # type: ignore[arg-type]


def _pickled_npz(path: Path) -> None:
    np.savez(path, embedding=np.zeros((2, 3)), id=np.array([Bomb(), "b"], dtype=object))


class Bomb:
    """Unpickling it would be an assertion."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (pytest.fail, ("an object was unpickled",))


def _not_finite(path: Path) -> None:
    np.savez(path, embedding=np.array([[1.0, np.nan], [0.0, 1.0]]), id=np.array(["a", "b"]))


def _too_few_names(path: Path) -> None:
    np.savez(path, embedding=np.ones((3, 2)), id=np.array(["a", "b"]))


def _facts_of_another_kind(path: Path) -> None:
    np.savez(
        path, embedding=np.ones((2, 2)), id=np.array(["a", "b"]), nearfar=np.array("[" * 100_000)
    )


@pytest.mark.parametrize(
    "make",
    [_zeros_npz, _header_npz, _pickled_npz, _not_finite, _too_few_names, _facts_of_another_kind],
)
def test_an_index_that_asks_for_too_much(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "index.npz")
    with refused("index.npz"):
        read_index(tmp_path / "index.npz")


def test_a_table_that_unpacks_beyond_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(400_000, dtype=np.float32)), 4)
    pq.write_table(pa.table({"id": ["x"] * 100_000, "embedding": rows}), tmp_path / "index.parquet")
    assert len(read_index(tmp_path / "index.parquet")) == 100_000
    monkeypatch.setattr("nearfar.data.content.bounds.memory_bytes", lambda: 1000)
    with refused("would take"):
        read_index(tmp_path / "index.parquet")


def test_an_honest_index_is_read(tmp_path: Path) -> None:
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    facts = json.dumps(facts_of(["a", "b", "c"], features, "one"))
    np.savez(
        tmp_path / "index.npz",
        embedding=features,
        id=np.array(["a", "b", "c"]),
        nearfar=np.array(facts),
    )
    found = read_index(tmp_path / "index.npz")
    assert (list(found.ids), found.encoder) == (["a", "b", "c"], "one")
    assert dataclasses.is_dataclass(found)
