"""Try other defaults on held-out parts of training samples; the test samples are not looked at.

    python benchmarks/choose_defaults.py FOLDER SET [SET ...] [--seeds N] [--first N]
        [--method NAME] [--note WORDS] [--options NAME=VALUE ...] [--settings NAME=VALUE ...]
        [--views NAME=VALUE ...]

FOLDER holds the files that `docs/results/defaults.md` names. A fifth of each set's training samples
(whole groups, where there are any) is held out, another for each seed; what is left is trained on.
Each trial adds a line to docs/results/defaults-trials.jsonl.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

from defaults import SETS
from small_runs import Trial, loaded, run, within_training

TRIALS = Path(__file__).parents[1] / "docs" / "results" / "defaults-trials.jsonl"


def values_of(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE as Python values; a value that is none is a string."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            found[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            found[name] = text
    return found


def main() -> None:
    """One trial on each of some sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="+", choices=[one.name for one in SETS])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--method", help="instead of the one that the page has")
    parser.add_argument("--note", default="")
    for name in ("options", "settings", "views"):
        parser.add_argument(f"--{name}", nargs="*", default=[])
    given = parser.parse_args()
    method = [f"method={given.method}"] if given.method else []
    words = [*method, *given.options, *given.settings, *given.views]
    trial = Trial(values_of(given.options), values_of(given.settings), values_of(given.views))
    for one in SETS:
        if one.name not in given.sets:
            continue
        tried = dataclasses.replace(one, method=given.method or one.method)
        whole = loaded(one, given.folder)
        for seed in range(given.first, given.first + given.seeds):
            judged = run(tried, within_training(whole, seed), given.folder, seed, trial)
            scores = {
                f"{score.metric}, {score.row}": round(100 * score.value, 1)
                for score in judged.evaluation.scores
            }
            line = {
                "set": one.name,
                "trial": " ".join([*words, given.note]).strip() or "defaults",
                "seed": seed,
                "encoder": judged.encoder,
                "samples": judged.samples,
                "held out": judged.tested,
                "steps": judged.steps,
                "seconds": round(judged.seconds),
                "scores": scores,
            }
            with TRIALS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            shown = "  ".join(
                f"{metric} "
                + "/".join(f"{scores[key]:.1f}" for key in scores if key.startswith(f"{metric}, "))
                for metric in judged.evaluation.metrics()
            )
            print(
                f"{one.name} [{line['trial']}] seed {seed}: {judged.steps} steps, "
                f"{judged.seconds:.0f} s; {shown}",
                flush=True,
            )


if __name__ == "__main__":
    main()
