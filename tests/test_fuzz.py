"""Random configurations, encoder files, indexes and run folders: a verb works or refuses them, and
leaves everything else alone.

Damaged data files are in ``tests/data/test_fuzz.py``. What is drawn is the same in every run;
``benchmarks/trust.py`` draws anew.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.training import loop
from tests.data.test_fuzz import _DAMAGE, Damage, damaged
from tests.odd_files import make_runs, places, replaced
from tests.test_odd_files import FILES, VERBS

PAGES = ("metrics.jsonl",)
"""Files of a run from which every example makes a page, which takes seconds."""
_FEW = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_MOST_GROWTH = 1 << 30
"""Bytes by which the process may grow; no input is larger than 100 kB."""
_OURS = {"run", "other", "out", "index.npz", "index.parquet"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and two indexes of the first."""
    folder = tmp_path_factory.mktemp("fuzz")
    make_runs(folder)
    for ending in ("npz", "parquet"):
        assert (
            main(["embed", str(folder / "run"), "--output", str(folder / f"index.{ending}")]) == 0
        )
    return folder


@pytest.fixture
def workplace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with copies of them, in which training ends before its first step."""

    def stop(*_: Any, **__: Any) -> None:
        raise UserError("This is as far as the test goes.")

    monkeypatch.setattr(loop, "fit", stop)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _call(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One command line, which may be refused and may not fail, write elsewhere or take much
    memory.
    """
    shutil.rmtree("out", ignore_errors=True)
    before = _memory()
    try:
        code = main(words)
    except SystemExit as asked:
        code = int(str(asked.code))
    errors = capsys.readouterr().err
    if code not in (0, 2) or "Traceback" in errors:
        pytest.fail(f"nearfar {' '.join(words)} gave {code}\n{errors[-3000:]}")
    assert {path.name for path in Path().iterdir()} <= _OURS
    assert _memory() - before < _MOST_GROWTH


def _memory() -> int:
    """The most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _bytes_of(name: str, document: Any) -> bytes | None:
    """A document as the file holds it; None where the format has no such value."""
    if not name.endswith(".toml"):
        return json.dumps(document).encode()
    try:
        return tomli_w.dumps(document).encode("utf-8", "replace")
    except (TypeError, ValueError, OverflowError):
        return None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in PAGES else [])  # each draws a page
        for name in FILES
    ],
)
def test_random_values_in_a_file_of_a_run(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workplace / "run" / name
    content = path.read_text()
    first = content.splitlines()[0] if name.endswith(".jsonl") else content
    document = tomllib.loads(first) if name.endswith(".toml") else json.loads(first)

    @_FEW
    @given(
        place=st.sampled_from(list(places(document))),
        value=_VALUES,
        verb=st.sampled_from(FILES[name]),
    )
    def try_one(place: Any, value: Any, verb: str) -> None:
        data = _bytes_of(name, replaced(document, place, value))
        if data is not None:
            path.write_bytes(data)
            _call(VERBS[verb], capsys)

    try_one()


def test_random_damage_to_any_file_of_a_run(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(
        str(path.relative_to(workplace))
        for path in (workplace / "run").rglob("*")
        if path.is_file()
    )
    verbs = [verb for verb in VERBS if verb not in ("evaluate", "label")]

    @_FEW
    @given(name=st.sampled_from(names), damage=_DAMAGE, verb=st.sampled_from(verbs))
    def try_one(name: str, damage: Damage, verb: str) -> None:
        path = workplace / name
        content = path.read_bytes() if path.exists() else b""
        path.write_bytes(damaged(content, damage))
        _call(VERBS[verb], capsys)
        shutil.rmtree(workplace / "run")
        shutil.copytree(workplace / "other", workplace / "run")

    try_one()


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_random_damage_to_an_index(
    ending: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workplace / f"index.{ending}"
    content = path.read_bytes()

    @_FEW
    @given(damage=_DAMAGE, verb=st.sampled_from(["search", "dedupe", "label"]))
    def try_one(damage: Damage, verb: str) -> None:
        path.write_bytes(damaged(content, damage))
        _call([*VERBS[verb], "--index", path.name], capsys)

    try_one()


def test_links_out_of_a_run_are_followed_by_nothing_that_writes(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link in the place of a file that a verb writes is replaced; what it points to stays as it
    is.
    """
    outside = workplace / "out-of-it"
    outside.write_text("mine")
    for name, verb in (
        ("report.html", ["report", "run"]),
        ("evaluation.json", ["evaluate", "run", "--protocols", "knn"]),
    ):
        (workplace / "run" / name).unlink(missing_ok=True)
        os.symlink(outside, workplace / "run" / name)
        assert main(verb) in (0, 2)
        capsys.readouterr()
        assert outside.read_text() == "mine"
