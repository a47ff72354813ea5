"""Attack nearfar with random odd input, count what comes of it, and write docs/results/trust.md.

    python benchmarks/trust.py [--seed N] [--count N] [--output PATH]

Each family of attack runs in a process of its own, so that its memory is its own and a hang can be
ended. Another seed gives other inputs. Exit code 1 where anything ended in a traceback, hung for
over 60 seconds or took more than 4 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import random
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

REFUSED = "refused"
WORKED = "worked"
TRACEBACK = "traceback"
HANG = "hang"
LONGEST = 60.0
MOST = 4 << 30
_STRINGS = (
    "",
    "x",
    "[/x]",
    "a\0b",
    "\ud800",
    "../../x",
    "<script>alert(1)</script>",
    "\x1b[2J",
    "9" * 400,
    "\u2028",
    "nan",
    "-1",
)
_HEAVY = {"kills while saving": 0.05, "reports": 0.4}
"""Of these families fewer inputs are tried, as each takes seconds."""


def odd_value(draw: random.Random, depth: int = 0) -> Any:
    """A random value of JSON."""
    kind = draw.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [odd_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 8:
        return {draw.choice(_STRINGS): odd_value(draw, depth + 1) for _ in range(draw.randrange(4))}
    numbers = (
        draw.randrange(-5, 5),
        draw.choice([-1, 1]) * 10 ** draw.randrange(400),
        draw.uniform(-9, 9),
        float("inf"),
        float("nan"),
    )
    return (
        (None, draw.random() < 0.5, *numbers)[kind]
        if draw.random() < 0.7
        else draw.choice(_STRINGS)
    )


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Some bytes replaced, left out, put in or repeated."""
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(content) + 1)
        other = draw.randbytes(draw.randrange(1, 12))
        content = draw.choice(
            [
                content[:at] + other + content[at + len(other) :],
                content[:at] + other + content[at:],
                content[:at],
                content[:at] + content[at // 2 :],
            ]
        )
    return content


def command(*words: str) -> tuple[str, str]:
    """What a command line comes to, and what it says."""
    from nearfar.cli import main

    errors = io.StringIO()
    output = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
        try:
            code = main(list(words))
        except SystemExit as asked:
            code = int(str(asked.code))
    said = errors.getvalue()
    in_words = code == 0 or said.rstrip().rpartition("\n")[2].startswith("nearfar: ")
    if code not in (0, 2) or "Traceback" in said or not in_words:
        return TRACEBACK, said
    return (WORKED if code == 0 else REFUSED), said


def loaded(path: Path) -> tuple[str, str]:
    """What reading data comes to."""
    from nearfar.data import load
    from nearfar.errors import UserError

    try:
        load(str(path))
    except UserError as error:
        return REFUSED, str(error)
    except Exception:
        return TRACEBACK, traceback.format_exc()
    return WORKED, ""


def readers(draw: random.Random, place: Path) -> tuple[str, str]:
    """A data file with damaged bytes, alone or among others."""
    from tests.data.test_fuzz import WHOLE

    ending = draw.choice(sorted(WHOLE))
    folder = fresh(place / "data")
    for number in range(6):
        (folder / f"{number}.{ending}").write_bytes(WHOLE[ending])
    (folder / f"0.{ending}").write_bytes(damaged(draw, WHOLE[ending]))
    return loaded(folder if draw.random() < 0.5 else folder / f"0.{ending}")


def tables(draw: random.Random, place: Path) -> tuple[str, str]:
    """A CSV or parquet file of random columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = draw.sample(
        ["id", "text", "label", "split", "image", "group", "x", "[b]", "\u202e", "path"],
        draw.randrange(1, 6),
    )
    rows = draw.randrange(12)
    if draw.random() < 0.5:
        lines = [",".join(names)] + [
            ",".join(json.dumps(odd_value(draw, 3)) for _ in names) for _ in range(rows)
        ]
        path = place / "table.csv"
        path.write_bytes(
            "\n".join(lines).encode(draw.choice(["utf-8", "utf-16", "latin-1"]), "replace")
        )
        return loaded(path)
    columns = {}
    for name in names:
        kind = draw.choice([int, float, str, bytes, list, None])
        values: dict[Any, Callable[[], Any]] = {
            int: lambda: draw.randrange(-9, 9),
            float: lambda: draw.choice([float("nan"), 1e300, 0.5]),
            str: lambda: draw.choice(_STRINGS),
            bytes: lambda: draw.randbytes(9),
            list: lambda: [draw.random()] * draw.randrange(3),
            None: lambda: None,
        }
        cells = [values[kind]() for _ in range(rows)]
        columns[name] = [
            cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell
            for cell in cells
        ]
    path = place / "table.parquet"
    pq.write_table(pa.table(columns), path)
    return loaded(path)


def archives(draw: random.Random, place: Path) -> tuple[str, str]:
    """An npz of arrays of random types and shapes."""
    import numpy as np

    arrays = {}
    for name in draw.sample(
        ["x", "y", "images", "label", "group", "mask", "points", "split", "sampling_rate"],
        draw.randrange(1, 5),
    ):
        shape = tuple(draw.choice([0, 1, 2, 3, 6, 6, 16]) for _ in range(draw.randrange(5)))
        kind = draw.choice(["u1", "i2", "f4", "f8", "c8", "U3", "?", "M8[s]", "O"])
        numbers = np.asarray(np.random.default_rng(draw.getrandbits(32)).random(shape) * 9)
        arrays[name] = (
            np.zeros(shape, dtype=kind) if kind in ("U3", "O", "M8[s]") else numbers.astype(kind)
        )
    path = place / "arrays.npz"
    np.savez(path, **arrays)
    if draw.random() < 0.3:
        path.write_bytes(damaged(draw, path.read_bytes()))
    return loaded(path)


def _mutated(draw: random.Random, path: Path) -> None:
    """Put odd values into a JSON, JSON lines or TOML file."""
    import tomli_w
    from tests.odd_files import places, replaced

    content = path.read_text()
    if path.suffix == ".toml":
        document = tomllib.loads(content)
    else:
        document = json.loads(content.splitlines()[0] if path.suffix == ".jsonl" else content)
    for _ in range(draw.randrange(1, 3)):
        document = replaced(document, draw.choice(list(places(document))), odd_value(draw))
        if not isinstance(document, dict) or not document:
            break
    try:
        path.write_bytes(
            (tomli_w.dumps if path.suffix == ".toml" else json.dumps)(document).encode(
                "utf-8", "replace"
            )
        )
    except (TypeError, ValueError, OverflowError):  # TOML has no null and no such number
        path.write_bytes(damaged(draw, content.encode()))


def _on_a_copy(
    draw: random.Random, place: Path, name: str, verbs: list[list[str]]
) -> tuple[str, str]:
    run = fresh(place / "run")
    shutil.copytree(place / "made" / "run", run, dirs_exist_ok=True)
    _mutated(draw, run / name)
    fresh(place / "out")
    with contextlib.chdir(place):
        return command(*draw.choice(verbs))


_REPORT = ["report", "run", "-o", "out/p.html"]
_EMBED = ["embed", "run", "-o", "out/e.npz"]
_PUSH = ["push", "run", "./out/hub"]
_RESUME = ["pretrain", "--resume", "run"]
_CONFIG = ["pretrain", "--config", "run/config.toml", "--output", "out/run"]


def configs(draw: random.Random, place: Path) -> tuple[str, str]:
    """A config.toml with odd values."""
    return _on_a_copy(draw, place, "config.toml", [_REPORT, _EMBED, _PUSH, _RESUME, _CONFIG])


def encoder_files(draw: random.Random, place: Path) -> tuple[str, str]:
    """An encoder.json with odd values."""
    return _on_a_copy(
        draw,
        place,
        "encoder.json",
        [_REPORT, _EMBED, _PUSH, ["export", "run", "--output", "out/encoder"]],
    )


def indexes(draw: random.Random, place: Path) -> tuple[str, str]:
    """An index with damaged bytes."""
    ending = draw.choice(["npz", "parquet"])
    path = place / f"index.{ending}"
    path.write_bytes(damaged(draw, (place / "made" / path.name).read_bytes()))
    with contextlib.chdir(place):
        return command(
            *draw.choice(
                [["search", "made/run", "#1"], ["dedupe", "made/run"], ["label", "made/run"]]
            ),
            "--index",
            path.name,
        )


def run_folders(draw: random.Random, place: Path) -> tuple[str, str]:
    """A run folder with a file damaged, gone, or a folder or link in its place."""
    run = fresh(place / "run")
    shutil.copytree(place / "made" / "run", run, dirs_exist_ok=True)
    path = draw.choice(sorted(one for one in run.rglob("*") if one.is_file()))
    content = path.read_bytes()
    way = draw.randrange(7)
    path.unlink()
    if way == 0:
        path.mkdir()
    elif way == 1:
        path.symlink_to(draw.choice([path, place / "nowhere"]))
    elif way == 2:
        os.mkfifo(path)
    elif way > 3:
        path.write_bytes(damaged(draw, content))
    fresh(place / "out")
    with contextlib.chdir(place):
        return command(
            *draw.choice(
                [
                    _REPORT,
                    _EMBED,
                    _PUSH,
                    _RESUME,
                    ["dedupe", "run"],
                    ["evaluate", "run", "--protocols", "knn"],
                ]
            )
        )


def kills(draw: random.Random, place: Path) -> tuple[str, str]:
    """A run killed at a random moment while it saves after every step, and resumed."""
    run = place / "killed"
    shutil.rmtree(run, ignore_errors=True)
    words = [sys.executable, "-m", "nearfar", "pretrain"]
    start = [
        *words,
        "simclr",
        "--data",
        "digits",
        "--limit",
        "40",
        "--encoder",
        "perceptron",
        "--batch-size",
        "10",
        "--epochs",
        "8",
        "--checkpoint-minutes",
        "0",
        "--no-evaluate",
        "--output",
        str(run),
    ]
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list((run / "checkpoints").glob("*.pt")):
        time.sleep(0.02)
    time.sleep(draw.random() * 1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(
        [*words, "--resume", str(run)], capture_output=True, text=True, timeout=LONGEST * 2
    )
    left = [path.name for path in run.rglob("*.part")]
    if done.returncode or "Traceback" in done.stderr or left:
        return TRACEBACK, f"{done.stderr}\nleft behind: {left}"
    return WORKED, ""


class _Elements(HTMLParser):
    """Counts the scripts of a page and finds what could run beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.bad = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag in ("iframe", "object", "embed", "form", "base") or any(
            name.startswith("on") for name, _ in attrs
        ):
            self.bad = f"<{tag} {attrs}>"


def reports(draw: random.Random, place: Path) -> tuple[str, str]:
    """A run whose names and labels are markup; the page must hold none of it."""
    run = fresh(place / "run")
    shutil.copytree(place / "made" / "run", run, dirs_exist_ok=True)
    text = draw.choice(
        [
            '"><img src=x onerror=alert(1)>',
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "<iframe src=x>",
        ]
    )
    text = text[: draw.randrange(3, len(text) + 1)] + draw.choice(["", "x", "'"])
    name = draw.choice(
        ["metrics.jsonl", "evaluation.json", "encoder.json", "config.toml", "data.json"]
    )
    content = (run / name).read_text()
    if name == "metrics.jsonl":
        content += json.dumps({"step": 3, text: 1.0, "alarm": text, "terms": {text: 1.0}}) + "\n"
    else:
        words = [
            word
            for word in (
                "simclr",
                "digits",
                "knn-v1",
                "trained",
                "kNN accuracy",
                "perceptron",
                "torch",
            )
            if word in content
        ]
        escaped = json.dumps(text)[1:-1]
        content = content.replace(draw.choice(words), escaped) if words else content
    (run / name).write_text(content)
    fresh(place / "out")
    with contextlib.chdir(place):
        outcome, said = command(*_REPORT)
    if outcome != WORKED:
        return outcome, said
    page = _Elements()
    page.feed((place / "out" / "p.html").read_text())
    return (
        (TRACEBACK, f"markup on the page: {page.bad}, {page.scripts} scripts")
        if page.bad or page.scripts != 2
        else (WORKED, "")
    )


FAMILIES: dict[str, Callable[[random.Random, Path], tuple[str, str]]] = {
    "readers": readers,
    "tables": tables,
    "archives": archives,
    "configs": configs,
    "encoder files": encoder_files,
    "indexes": indexes,
    "run folders": run_folders,
    "kills while saving": kills,
    "reports": reports,
}


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def work(family: str, seed: int, numbers: range, place: Path) -> None:
    """In a process of its own: one line of JSON for each input. Training ends before its first
    step.
    """
    import nearfar.training.loop as loop
    from nearfar.errors import UserError

    def stop(*_: Any, **__: Any) -> None:
        raise UserError("This is as far as the attack goes.")

    loop.fit = stop  # type: ignore[assignment]
    for number in numbers:
        outcome, said = FAMILIES[family](random.Random(f"{seed} {family} {number}"), place)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            json.dumps(
                {
                    "outcome": outcome,
                    "said": said[-2000:] if outcome == TRACEBACK else "",
                    "memory": most,
                }
            ),
            flush=True,
        )


def attack(family: str, seed: int, count: int, place: Path) -> tuple[Counter[str], int]:
    """How often each came of a family's inputs, and the most memory in bytes."""
    outcomes: Counter[str] = Counter()
    most = done = 0
    while done < count:
        words = [
            sys.executable,
            __file__,
            "--family",
            family,
            "--seed",
            str(seed),
            "--first",
            str(done),
            "--count",
            str(count),
            "--place",
            str(place),
        ]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while done < count and ready.select(
                timeout=LONGEST + (LONGEST if family in _HEAVY else 0)
            ):
                line = process.stdout.readline()
                if not line:
                    break
                found = json.loads(line)
                outcomes[found["outcome"]] += 1
                most = max(most, found["memory"])
                done = done + 1
                if found["said"]:
                    print(f"{family} {done - 1}: {found['said']}", file=sys.stderr)
        if done < count:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            if process.returncode is not None and process.returncode >= 0:
                raise RuntimeError(f"the attack itself failed: {family}, input {done}")
            outcomes[HANG if process.returncode is None else TRACEBACK] += (
                1  # ended by the system, for its memory
            )
            done += 1
        process.kill()
        process.wait()
    return outcomes, most


def prepared(place: Path) -> None:
    """Two runs and two indexes that the families damage."""
    from tests.odd_files import make_runs

    make_runs(place / "made")
    for ending in ("npz", "parquet"):
        assert (
            command(
                "embed",
                str(place / "made" / "run"),
                "--output",
                str(place / "made" / f"index.{ending}"),
            )[0]
            == WORKED
        )


def page(seed: int, rows: list[tuple[str, Counter[str], int, float]]) -> str:
    """The figures as Markdown."""
    import torch

    import nearfar

    about = (
        f"{datetime.now(UTC).date().isoformat()} with nearfar {nearfar.__version__}, Python "
        f"{platform.python_version()}"
    )
    lines = [
        "# What odd and hostile input comes to",
        "",
        f"Made by `python benchmarks/trust.py --seed {seed}` on {about}, torch "
        f"{torch.__version__}. Another seed makes other inputs;"
        " the memory is the most that a family's process held, what it imports included.",
        "",
        "| family | what it is | inputs | refused in a sentence | worked | tracebacks | hangs over "
        "60 s | over 4 GB | most MB | s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for family, outcomes, most, seconds in rows:
        what = (FAMILIES[family].__doc__ or "").rstrip(".")
        counts = [
            sum(outcomes.values()),
            *(outcomes[kind] for kind in (REFUSED, WORKED, TRACEBACK, HANG)),
            int(most > MOST),
        ]
        lines.append(
            f"| {family} | {what} | {' | '.join(map(str, counts))} | {most / 1e6:,.0f} | "
            f"{seconds:.0f} |"
        )
    total = sum((outcomes for _, outcomes, _, _ in rows), Counter[str]())
    lines += [
        "",
        f"In all {sum(total.values()):,} inputs, {total[TRACEBACK]} tracebacks, {total[HANG]} "
        "hangs.",
    ]
    lines += [
        "A killed run counts as worked when its resumed run ends well and no half-written file is "
        "left; a report, when the page"
        " holds nothing that could run. What is trusted: [security](../security.md)."
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run all families, or as a worker one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100, help="inputs of each family")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/trust.md")
    parser.add_argument(
        "--family", choices=FAMILIES, help="only this one, a line of JSON for each input"
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    if given.family:
        work(given.family, given.seed, range(given.first, given.count), given.place)
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        prepared(place)
        for family in FAMILIES:
            started = time.monotonic()
            outcomes, most = attack(
                family, given.seed, max(2, int(given.count * _HEAVY.get(family, 1))), place
            )
            rows.append((family, outcomes, most, time.monotonic() - started))
            print(family, dict(outcomes), f"{most / 1e6:,.0f} MB", flush=True)
    given.output.write_text(page(given.seed, rows), encoding="utf-8")
    failed = any(
        outcomes[TRACEBACK] or outcomes[HANG] or most > MOST for _, outcomes, most, _ in rows
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
