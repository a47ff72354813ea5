"""All benchmarks, in turn: writes docs/results/speed.md and speed.json, and docs/results/parity.md.

    make bench                                       # installs the peers into .venv-bench and
    runs this
    make bench ARGS="--quick --data FOLDER"          # fewer sizes and rounds; CIFAR-10 from a
    folder for the end-to-end part
    python benchmarks/run.py --only views losses     # replaces these parts of what was measured
    before

Each part runs in a process of its own on one thread.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import Table, machine, parser_of

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results"
PARTS = ("views", "losses", "end_to_end", "to_accuracy", "evaluation")
ON_IMAGES = ("end_to_end", "to_accuracy")


def part(name: str, words: list[str]) -> list[Any]:
    """The tables of one part."""
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.json"
        run(name, [*words, "--json", str(path)])
        found: list[Any] = json.loads(path.read_text())
        return found


def run(name: str, words: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # a part that wants more threads says so
    subprocess.run([sys.executable, str(HERE / f"{name}.py"), *words], check=True, env=environment)


def bars(measured: dict[str, Any]) -> Table | None:
    """What was aimed at, and what was reached, from the other tables."""
    tables = {
        table["title"]: table["rows"] for part in measured.values() for table in part["tables"]
    }
    rows: list[dict[str, Any]] = []

    def add(name: str, title: str, column: str, aim: float, least: bool, /, **where: Any) -> None:
        for row in tables.get(title, []):
            if all(row[key] == value for key, value in where.items()):
                reached = row[column]["median"] if isinstance(row[column], dict) else row[column]
                met = reached >= aim if least else reached <= aim
                rows.append(
                    {
                        "what": name,
                        "aim": f"{'at least' if least else 'at most'} {aim:,.4g}",
                        "reached": row[column],
                        "met": "yes" if met else "no",
                    }
                )

    for loss, library in (
        ("NT-Xent", "lightly"),
        ("CLIP", "open_clip"),
        ("InfoNCE", "info_nce"),
        ("SigLIP", "open_clip"),
    ):
        for pairs in (4096, 8192):
            peer = {"loss": loss, "pairs": pairs, "library": library}
            add(
                f"{loss}, {pairs} pairs: {library}'s time / ours",
                "Losses",
                "time / ours",
                2,
                True,
                **peer,
            )
            add(
                f"{loss}, {pairs} pairs: {library}'s extra memory / ours",
                "Losses",
                "extra / ours",
                6,
                True,
                **peer,
            )
    add(
        "NT-Xent, 32768 pairs: extra MiB",
        "Losses",
        "extra MiB",
        1000,
        False,
        loss="NT-Xent",
        pairs=32768,
    )
    for pixels, library, aim in ((32, "lightly", 15), (32, "kornia", 2.5), (224, "lightly", 2)):
        add(
            f"views, {pixels} pixels: {library}'s time / ours",
            "Views",
            "time / ours",
            aim,
            True,
            pixels=pixels,
            library=library,
        )
    add(
        "end to end, float32: lightly's time / ours",
        "End to end",
        "time / ours",
        1.6,
        True,
        precision="float32",
        what="lightly",
    )
    add(
        "end to end, each one's default: lightly's time / ours",
        "End to end, defaults",
        "lightly's time / ours",
        3.2,
        True,
    )
    for precision in ("float32", "bfloat16"):
        add(
            f"end to end, {precision}: step / bound",
            "End to end",
            "time / bound",
            1 / 0.9,
            False,
            precision=precision,
            what="nearfar",
        )
    add(
        "kNN, linear probe and geometry: CPU s",
        "Evaluation",
        "CPU s",
        60,
        False,
        protocol="knn + linear + geometry",
    )
    about = """The aims are for an idle machine with two cores, those end to end for wall-clock
time on both; what was measured here is said
with each table below. Not measured: solo-learn, whose released package wants torch 1.9.1 and does
not install beside the others."""
    return Table("Aims", about, rows) if rows else None


def document(measured: dict[str, Any]) -> str:
    """speed.md."""
    text = """# Speed

Made by `make bench`; all numbers are in `speed.json` beside this page. A value that was measured
several times is a median with its least
and most; "time / ours" is the library's time over nearfar's in the same round, all taking turns,
so above 1 nearfar is faster. CPU
times of one thread, as other programs may run beside: they then hardly touch ratios, but caches
and memory bandwidth are shared.
"""
    aims = bars(measured)
    text += f"\n{aims.markdown()}" if aims else ""
    for name in PARTS:
        if name in measured:
            about = measured[name]["machine"]
            versions = ", ".join(
                f"{package} {version}" for package, version in about["versions"].items()
            )
            for table in measured[name]["tables"]:
                text += "\n" + Table(**table).markdown()
            text += (
                f"\n{measured[name]['date']}{', --quick' if measured[name]['quick'] else ''}; "
                f"{about['processor']}, {about['cores']} cores,"
                f" load {about['load at the start']} from other programs at the start; Python "
                f"{about['python']}, {versions}.\n"
            )
    return text


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        help="folder or file with CIFAR-10's images and labels; random ones without",
    )
    parser.add_argument(
        "--wall",
        action="store_true",
        help="end to end by the wall clock on all cores, for an idle machine",
    )
    parser.add_argument("--only", nargs="+", choices=(*PARTS, "parity"), default=(*PARTS, "parity"))
    options = parser.parse_args()
    path = RESULTS / "speed.json"
    measured: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in (one for one in PARTS if one in options.only):
        words = ["--quick"] if options.quick else []
        if name == "to_accuracy" and not options.data:
            print("== to_accuracy is left out: it needs labelled images, --data FOLDER", flush=True)
            continue
        if name in ON_IMAGES and options.data:
            words += ["--data", str(options.data)]
        if name == "end_to_end" and options.wall:
            words.append("--wall")
        about = machine()
        measured[name] = {
            "date": str(datetime.date.today()),
            "quick": options.quick,
            "machine": about,
            "tables": part(name, words),
        }
        path.write_text(json.dumps(measured, indent=1) + "\n")
        (RESULTS / "speed.md").write_text(document(measured))
    if "parity" in options.only:
        run("parity", [])


if __name__ == "__main__":
    main()
