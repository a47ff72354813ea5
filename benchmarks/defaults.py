"""What the default run is worth on each set: docs/results/defaults.md and defaults.json.

    python benchmarks/defaults.py FOLDER [--sets NAME ...] [--seeds N]

FOLDER holds the files that the page names. Each run is what `nearfar pretrain simclr --data FILE`
does, the split being that of seed 0 whatever the seed of the training. Finished runs lie in
build/defaults and are not repeated. A set that has no runs there keeps its row of defaults.json,
and the page keeps what stands under its last heading. Other defaults are chosen by
choose_defaults.py on held-out training samples.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from small_runs import WORK, DataSet, loaded, run

import nearfar
from nearfar.comparison.differences import Side, difference, mean, standard_error
from nearfar.comparison.judged import JUDGED, judged_metrics
from nearfar.comparison.verdict import Finding, findings
from nearfar.evaluation.answers import ANSWERS, Answers
from nearfar.evaluation.result import BASELINES, Evaluation
from nearfar.stored import with_nan, with_null

TARGET = Path(__file__).parents[1] / "docs" / "results"
TRIALS = TARGET / "defaults-trials.jsonl"
NOTES = "## What was tried"
"""The heading under which the page is written by hand."""

Stored = dict[str, Any]
"""A part of defaults.json."""

SETS = (
    DataSet(name="cluttered digits", data="cluttered-digits"),
    DataSet(name="EuroSAT", data="eurosat.parquet"),
    DataSet(name="medical images", data="medical_images.parquet"),
    DataSet(name="CIFAR-10", data="cifar10", limit=10_000, seeds=2),
    DataSet(name="ESC-10", data="esc10.parquet"),
    DataSet(name="spoken digits", data="spoken_digits.parquet", label="digit", seeds=2),
    DataSet(name="activities", data="har_devices.npz", label="activity"),
    DataSet(name="heartbeats", data="ecg.npz", seeds=2),
    DataSet(name="lidar objects", data="points.npz"),
    DataSet(name="clips", data="clips.parquet"),
    DataSet(name="sentences", data="stsb_en.parquet", steps=100, seeds=2, protocols=("quick",)),
    DataSet(name="emoji and names", data="emoji.parquet", method="clip", protocols=("quick",)),
)


@dataclass(frozen=True)
class Row:
    """All runs on one set.

    Attributes:
        about: Of the first run: encoder, samples, steps ...
        seconds: Of each run.
        sides: By metric and row what was scored.
        units: By metric.
        beside: By metric and baseline what is known of the trained encoders beside it.
    """

    of: DataSet
    about: dict[str, Any]
    seconds: list[float]
    sides: dict[tuple[str, str], Side]
    units: dict[str, str]
    beside: dict[tuple[str, str], Finding]


def measure(one: DataSet, folder: Path, place: Path, seeds: int) -> None:
    """The runs of a set that are not there yet."""
    source = None
    for seed in range(min(seeds, one.seeds)):
        run_place = place / f"{one.name.replace(' ', '-')}-{seed}"
        if (run_place / "run.json").exists():
            continue
        source = source or loaded(one, folder)
        judged = run(one, source, folder, seed)
        run_place.mkdir(parents=True, exist_ok=True)
        (run_place / "evaluation.json").write_text(judged.evaluation.to_json(), encoding="utf-8")
        judged.evaluation.answers.write(run_place / ANSWERS)
        about = {name: value for name, value in vars(judged).items() if name != "evaluation"}
        text = json.dumps(with_null(about), allow_nan=False)
        (run_place / "run.json").write_text(text, encoding="utf-8")
        told = [f"{s.metric} {s.row} {s.text()}" for s in judged.evaluation.scores]
        print(f"{one.name}, seed {seed}: {judged.seconds:.0f} s; {'; '.join(told)}", flush=True)


def gathered(one: DataSet, place: Path) -> Row | None:
    """What the finished runs of a set come to; None where there are none."""
    folders = sorted(place.glob(f"{one.name.replace(' ', '-')}-[0-9]"))
    runs = [with_nan(json.loads((folder / "run.json").read_text())) for folder in folders]
    if not runs:
        return None
    found = [
        Evaluation.from_json((folder / "evaluation.json").read_text(), str(folder))
        for folder in folders
    ]
    answers = [Answers.read(folder / ANSWERS) for folder in folders]
    metrics = judged_metrics(found[0])
    sides = {
        (metric, row): _side(found, answers, metric, row)
        for metric in metrics
        for row in found[0].rows()
        if all(any((s.metric, s.row) == (metric, row) for s in one.scores) for one in found)
    }
    units = {metric: found[0].score(metric).unit for metric in metrics}
    asked = [key for key in sides if key[1] in BASELINES]
    compared = [
        (metric, units[metric], difference(sides[metric, row], sides[metric, "trained"]))
        for metric, row in asked
    ]
    beside = dict(zip(asked, findings(compared), strict=True))
    return Row(one, runs[0], [one["seconds"] for one in runs], sides, units, beside)


def _side(found: Sequence[Evaluation], answers: Sequence[Answers], metric: str, row: str) -> Side:
    scores = [one.score(metric, row) for one in found]
    values = [score.value for score in scores]
    kept = [one.of(metric, row, value) for one, value in zip(answers, values, strict=True)]
    samples = [one for one in kept if one is not None]
    return Side(
        values,
        samples if len(samples) == len(kept) else None,
        errors=[standard_error(score) for score in scores],
    )


def _shown(score: Stored | None) -> str:
    if score is None:
        return ""
    scale, digits = (100, 1) if score["unit"] == "%" else (1, 3)
    text = f"{scale * score['mean']:.{digits}f}"
    if score["low"] is None:
        return text
    return f"{text} ({scale * score['low']:.{digits}f} to {scale * score['high']:.{digits}f})"


def _verdict(found: Stored | None, unit: str) -> str:
    if found is None:
        return ""
    scale, digits = (100, 1) if unit == "%" else (1, 3)
    state = "not sure" if found["state"] == "unsure" else f"surely {found['state']}"
    return f"{scale * found['value']:+.{digits}f}, {state}"


def _units(row: Stored) -> dict[str, str]:
    """The unit of each metric that judged a set, in the order of its scores."""
    return {score["metric"]: score["unit"] for score in row["scores"]}


def page(rows: Sequence[Stored], notes: str) -> str:
    """The page as Markdown, from the rows of ``defaults.json``; ``notes`` stand at its end."""
    lines = [
        "# What the default run is worth",
        "",
        f"Made by `python benchmarks/defaults.py FOLDER` with nearfar {nearfar.__version__}, torch "
        f"{torch.__version__}, Python {platform.python_version()}, one thread. Each run is what "
        "the command below does without any other word (the small recipe), judged on the test "
        "samples. Where the command has --steps, the run is shorter than the default. Seeds differ "
        "in training; the split is that of seed 0. Seconds are the processor's, of training alone; "
        "other work on the same core makes them longer.",
        "",
        "| set | kind | command | training and test samples | steps x batch | seeds | processor "
        "seconds a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        seconds = sum(row["seconds"]) / len(row["seconds"])
        lines.append(
            f"| {row['set']} | {row['modality']} | `{row['command']}` | "
            f"{row['samples']:,} and {row['tested']:,} | {row['steps']:,} x "
            f"{row['batch']}, {row['precision']} | {len(row['seconds'])} | {seconds:,.0f} |"
        )
    lines += [
        "",
        "Shares in %. Intervals are of 95 %, by seeds and test samples (with two seeds there are "
        "none). What is sure is so by the paired test that every page of nearfar uses, corrected "
        "for the metrics and baselines of a set. With one seed it is said of that encoder alone.",
        "",
        "| set | metric | trained | random encoder | raw values | simple features | beside the "
        "random encoder | beside raw values | beside simple features |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        scores = {(one["metric"], one["row"]): one for one in row["scores"]}
        beside = {(one["metric"], one["baseline"]): one for one in row["beside"]}
        for metric, unit in _units(row).items():
            shown = [_shown(scores.get((metric, one))) for one in ("trained", *BASELINES)]
            told = [_verdict(beside.get((metric, one)), unit) for one in BASELINES]
            lines.append(f"| {row['set']} | {metric} | {' | '.join(shown + told)} |")
    missing = [one.name for one in SETS if one.name not in {row["set"] for row in rows}]
    if missing:
        lines += ["", f"Not measured yet, the reasons stand at the end: {', '.join(missing)}."]
    return "\n".join([*lines, "", *_sentences(rows), "", *_tried(), notes]) + "\n"


def _sentences(rows: Sequence[Stored]) -> list[str]:
    """Where the trained encoder is not surely better than the random one."""
    told = []
    for row in rows:
        units = _units(row)
        open_ones = [
            f"{one['metric']} ({_verdict(one, units[one['metric']])})"
            for one in row["beside"]
            if one["baseline"] == BASELINES[0] and one["state"] != "better"
        ]
        if open_ones:
            told.append(f"- {row['set']}: not surely by {' nor by '.join(open_ones)}.")
    if not told:
        return ["On each of these sets the trained encoder is surely better than the random one."]
    return [
        "The trained encoder is surely better than the random one by each metric, but for:",
        "",
        *told,
    ]


def _tried() -> list[str]:
    """The trials on held-out training samples as a table."""
    if not TRIALS.exists():
        return []
    lines = [
        "## Trials on held-out training samples",
        "",
        "Made by `python benchmarks/choose_defaults.py`; test samples were not looked at. A fifth "
        "of the training samples is held out (whole groups, where the data have any), another for "
        "each seed. kNN and linear accuracy in %.",
        "",
        "| set | what differs from the defaults | seed | steps | held out | trained | random "
        "encoder | simple features |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in TRIALS.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        scores = [
            ", ".join(
                f"{one['scores'][f'{metric}, {row}']:.1f}"
                for metric in JUDGED
                if f"{metric}, {row}" in one["scores"]
            )
            for row in ("trained", "random encoder", "simple features")
        ]
        lines.append(
            f"| {one['set']} | {one['trial']} | {one['seed']} | {one['steps']:,} | "
            f"{one['held out']:,} | {' | '.join(scores)} |"
        )
    return [*lines, ""]


def summary(row: Row) -> Stored:
    """What ``defaults.json`` holds of a set: its runs, their scores, and the verdicts."""
    return {
        "set": row.of.name,
        "command": row.of.command(),
        **row.about,
        "seconds": row.seconds,
        "scores": [
            {"metric": metric, "row": name, **_interval(side, row.units[metric])}
            for (metric, name), side in row.sides.items()
        ],
        "beside": [
            {"metric": metric, "baseline": baseline, "state": one.state, **asdict(one.of)}
            for (metric, baseline), one in row.beside.items()
        ],
    }


def _interval(side: Side, unit: str) -> Stored:
    """The values of a side, their mean, and its interval of 95 % (None where there is none)."""
    found = mean(side, share=unit == "%")
    return {
        "unit": unit,
        "values": list(side.values),
        "mean": found.value,
        "low": found.low,
        "high": found.high,
    }


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", choices=[one.name for one in SETS])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    wanted = [one for one in SETS if given.sets is None or one.name in given.sets]
    for one in wanted:
        measure(one, given.folder, WORK, given.seeds)
    stored = TARGET / "defaults.json"
    kept = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else []
    by_name = {row["set"]: row for row in kept}
    for one in SETS:
        row = gathered(one, WORK)
        if row is not None:
            by_name[one.name] = with_null(summary(row))
    rows = [by_name[one.name] for one in SETS if one.name in by_name]
    target = TARGET / "defaults.md"
    old = target.read_text(encoding="utf-8") if target.exists() else ""
    notes = NOTES + old.partition(NOTES)[2].rstrip("\n") if NOTES in old else NOTES
    target.write_text(page(rows, notes), encoding="utf-8")
    text = json.dumps(rows, indent=1, allow_nan=False)
    stored.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
