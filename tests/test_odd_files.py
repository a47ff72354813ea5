"""Whatever a run folder holds, a verb works or answers with exit code 2 and one sentence; it never
ends in a traceback.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from nearfar.cli import main
from nearfar.comparison.gathering import MEMORY
from nearfar.errors import UserError
from nearfar.training import loop
from nearfar.verbs.run import Run
from tests.odd_files import ABSENT, BROKEN, WRONG, make_runs, mutations, places, replaced

pytestmark = pytest.mark.slow

VERBS: dict[str, list[str]] = {
    "report": ["report", "run", "--output", "out/page.html"],
    "embed": ["embed", "run", "--output", "out/found.npz"],
    "search": ["search", "run", "#1"],
    "dedupe": ["dedupe", "run"],
    "label": ["label", "run"],
    "export": ["export", "run", "--output", "out/encoder"],
    "push": ["push", "run", "./out/hub"],
    "resume": ["pretrain", "--resume", "run"],
    "config": ["pretrain", "--config", "run/config.toml", "--output", "out/run"],
    "reports": ["report", "run", "other", "--output", "out/page.html"],
    "evaluate": ["evaluate", "run", "--protocols", "knn", "--seeds", "1"],
}
FILES = {
    "config.toml": ("push", "config", "resume", "reports", "embed"),
    "encoder.json": ("embed", "push", "export", "embed", "report"),
    "evaluation.json": ("push", "reports"),
    "data.json": ("embed", "resume"),
    "metrics.jsonl": ("reports", "report"),
    MEMORY: ("reports",),
}
"""The files of a run folder, and the verbs that read each."""
STEP = 4
"""Each field takes every fourth of the wrong values; as there are 13, fields beside each other take
different ones."""
STEPS = {"data.json": 7, "metrics.jsonl": 9}
"""Of files whose fields are mostly alike, fewer."""
PLACED = 3
"""Of the six things that may lie in a file's place, each verb meets every third; another verb
meets the next ones."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of one configuration on two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder)
    return folder


@pytest.fixture
def workplace(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with copies of both runs, in which training ends before its first step."""

    def stop(*_: Any, **__: Any) -> None:
        raise UserError("This is as far as the test goes.")

    monkeypatch.setattr(loop, "fit", stop)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def checked_call(words: list[str], what: object, capsys: pytest.CaptureFixture[str]) -> int:
    """The exit code of a command line, which must be 0, or 2 with one sentence."""
    shutil.rmtree("out", ignore_errors=True)
    try:
        code = main(words)
    except SystemExit as asked:
        code = int(str(asked.code))
    errors = capsys.readouterr().err
    if "Traceback" in errors:
        pytest.fail(f"{what}: nearfar {' '.join(words)}\n{errors[-3000:]}")
    assert code in (0, 2), (what, words)
    if code == 2:
        last = errors.strip().splitlines()[-1]
        assert last.startswith("nearfar: "), (what, words, errors)
        assert len(last) < 3000, (what, words)
    return code


def refusal(call: Callable[[], object]) -> str:
    """The sentence with which a call is refused; "" where it is not."""
    try:
        call()
    except UserError as error:
        return str(error)
    return ""


def written_toml(values: Any, place: tuple[Any, ...], value: Any) -> bytes:
    """TOML of values of which one may be a whole number that is too long for the writer."""
    if value == 10**400 and not isinstance(value, bool):
        return tomli_w.dumps(replaced(values, place, "@")).replace('"@"', hex(value)).encode()
    return tomli_w.dumps(values).encode()


def spoilt(path: Path) -> Iterator[tuple[object, bytes]]:
    """Everything that the file may hold instead."""
    if path.suffix == ".toml":
        for place, value, document in mutations(tomllib.loads(path.read_text())):
            if not any(one is None for one in (value, document)):  # TOML has no null
                yield (place, value), written_toml(document, place, value)
    elif path.suffix == ".jsonl":
        first, *others = path.read_text().splitlines(keepends=True)
        for place, value, document in mutations(json.loads(first)):
            yield (place, value), (json.dumps(document) + "\n" + "".join(others)).encode()
    else:
        for place, value, document in mutations(json.loads(path.read_text())):
            yield (place, value), json.dumps(document).encode()
    yield from BROKEN.items()


@pytest.mark.parametrize("name", FILES)
def test_every_field_of_every_file_may_hold_anything(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workplace / "run" / name
    content = path.read_bytes()
    codes = []
    for number, (what, data) in enumerate(list(spoilt(path))[:: STEPS.get(name, STEP)]):
        verb = FILES[name][number % len(FILES[name])]
        path.write_bytes(data)
        codes.append(checked_call(VERBS[verb], what, capsys))
    assert codes.count(2) > 10 or name in ("metrics.jsonl", MEMORY), "no wrong value was noticed"
    path.write_bytes(content)
    for verb in FILES[name]:
        code = checked_call(VERBS[verb], "as it was", capsys)
        assert code == (2 if verb in ("config", "resume") else 0), verb


@pytest.mark.parametrize("verb", VERBS)
def test_places_where_files_belong(
    verb: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder, a broken and a circular link, a pipe, an empty and an unknown file in the place of
    each file of a run.
    """
    names = [
        *(
            one.name
            for one in (workplace / "run").iterdir()
            if one.is_file() and one.suffix != ".html"
        ),
        "tokenizer.json",
    ]
    puts = (Path.mkdir, _broken_link, _circular_link, os.mkfifo, Path.touch, _noise)
    for number, name in enumerate(names, list(VERBS).index(verb)):
        path = workplace / "run" / name
        kept = path.read_bytes() if path.exists() else None
        for put in puts[number % PLACED :: PLACED]:
            path.unlink(missing_ok=True)
            put(path)
            checked_call(VERBS[verb], (name, put), capsys)
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        if kept is not None:
            path.write_bytes(kept)


def _broken_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def _circular_link(path: Path) -> None:
    path.symlink_to(path)


def _noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


def test_a_comparison_folder_may_hold_anything(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "compare",
        "simclr",
        "--data",
        "digits",
        "--limit",
        "40",
        "--encoder",
        "perceptron",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--output",
        "compared",
    ]
    options = {"data": "digits", "limit": 40, "encoder": "perceptron", "epochs": 1, "seeds": 1}
    arms = [["simclr", {}]]
    asked = {"arms": arms, "options": options}
    plan = {
        "steps": {"simclr": 0},
        "encoder": "perceptron",
        "batch_size": 20,
        "epochs": 1,
        "budget": "1 epochs each",
        "asked": asked,
    }
    place = workplace / "compared" / "simclr" / "seed-0"
    shutil.copytree(workplace / "other", place)
    path = workplace / "compared" / "comparison.json"
    path.write_text(json.dumps(plan))
    assert checked_call(words, "as it was", capsys) == 0
    content = path.read_bytes()
    for what, data in list(spoilt(path)):
        path.write_bytes(data)
        checked_call(words, what, capsys)
    path.write_bytes(content)
    for what, data in BROKEN.items():
        (place / "evaluation.json").write_bytes(data)
        assert checked_call(words, what, capsys) == 2


def test_claims_may_hold_anything(tmp_path: Path) -> None:
    from nearfar.claims.table import read_results, render

    values = {"A": [{"accuracy": 0.5, "loss": 1.0}], "B": [{"accuracy": 0.25}]}
    result = {
        "name": "dcl",
        "statement": "s",
        "setting": "t",
        "first": "A",
        "second": "B",
        "metric": "accuracy",
        "values": values,
        "difference": 0.25,
        "low": 0.1,
        "high": 0.4,
        "verdict": "holds",
        "seconds": 1.0,
        "seeds": [1000],
    }
    path = tmp_path / "dcl.json"
    path.write_text(json.dumps(result))
    assert "0.25" in render(read_results(tmp_path))
    for what, data in list(spoilt(path)):
        path.write_bytes(data)
        found = refusal(lambda: render(read_results(tmp_path)))
        assert not found or str(path) in found, what


def test_a_repository_may_hold_anything(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nearfar.runs import hub

    assert checked_call(VERBS["push"], "as it was", capsys) == 0
    path = workplace / "out" / "hub" / "encoder.json"
    hub.load(str(path.parent))
    for what, data in list(spoilt(path))[::3]:
        path.write_bytes(data)
        found = refusal(lambda: hub.load(str(path.parent)))
        assert not found or "encoder" in found, what


def test_the_walker_visits_every_field() -> None:
    document = {"a": {"b": [1, 2]}, "c": "x"}
    assert list(places(document)) == [("a",), ("a", "b"), ("a", "b", 0), ("c",)]
    assert len(list(mutations(document))) == 4 * (len(WRONG) + 1)
    assert replaced(document, ("a", "b"), ABSENT) == {"a": {}, "c": "x"}
    assert document == {"a": {"b": [1, 2]}, "c": "x"}


def test_ten_megabytes_of_brackets(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dots = (b"a." * 30_000 + b"a=1", b"[" + b'"a".' * 15_000 + b"a]")
    for name, verbs in FILES.items():
        for data in (b"[" * 10_000_000, b"a = " + b"[" * 10_000_000, b'{"x":' * 2_000_000, *dots):
            content = (workplace / "run" / name).read_bytes()
            (workplace / "run" / name).write_bytes(data)
            checked_call(VERBS[verbs[0]], name, capsys)
            (workplace / "run" / name).write_bytes(content)


def test_a_run_is_still_opened_by_its_class(workplace: Path) -> None:
    evaluation = Run(workplace / "run").evaluation()
    assert evaluation is not None
    assert evaluation.value("kNN accuracy") > 0
