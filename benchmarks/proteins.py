"""Judge ProteinRPN on the test chains of a table, and write docs/results/proteins.md.

    python benchmarks/proteins.py proteins.parquet [--seed N] [--output PATH]

The table lies beside its .obo file. The method is trained as for its claim, with proposals and
without, and stands beside simple answers: a regression on what surrounds a residue, gradients of
the same network, how often each term occurs, and the composition of a chain.
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

import nearfar
from nearfar.claims.protein_rpn import BATCH, EPOCHS, PROPOSALS, SALIENCY, proteins, trained
from nearfar.data.samples import Source
from nearfar.evaluation.features import predicted
from nearfar.evaluation.judge import evaluate
from nearfar.evaluation.kernels.intervals import mean_interval
from nearfar.evaluation.protocol import Task, Wanted
from nearfar.evaluation.protocols.results.terms import SITES as SITES_PROTOCOL
from nearfar.evaluation.protocols.results.terms import site_areas
from nearfar.evaluation.result import Score
from nearfar.methods.method import Method
from nearfar.views import plain_view

ROOT = Path(__file__).resolve().parents[1]
SITES = ("site AUC", "site precision")
TERMS = ("Fmax", "Smin", "AUPR, micro", "AUPR, macro")
KEPT = {"trained", "term frequencies", "composition", "residue geometry", "gradient saliency"}
"""Rows of an evaluation that the page shows."""


def judged(arm: str, path: str, seed: int) -> tuple[list[Score], dict[str, list[float]], float]:
    """Scores of one arm and of the simple answers beside it, the ROC-AUC of each test chain by
    row, and the seconds of the training.
    """
    source = proteins(path)
    start = time.perf_counter()
    method = trained(arm, source, seed)
    seconds = time.perf_counter() - start
    found = evaluate(
        method, source, plain_view(source.spec), wanted=Wanted(("terms", "localisation"))
    )
    shown = KEPT if arm == PROPOSALS else {"trained"}
    return [one for one in found.scores if one.row in shown], by_chain(arm, source, method), seconds


def by_chain(arm: str, source: Source, method: Method) -> dict[str, list[float]]:
    """The ROC-AUC of the importance of residues for each test chain with a known site."""
    view = plain_view(source.spec)
    task = Task(source, source.train, source.test, view, "classes", Wanted(), method)
    assert source.test is not None
    assert SITES_PROTOCOL.baselines is not None
    answers = {"trained": method.predict, **SITES_PROTOCOL.baselines(task)}
    graphs = source.test.take(torch.arange(len(source.test)))
    return {
        _called(arm, row): site_areas(predicted(answer, source.test, view, batch_size=16), graphs)[
            0
        ]
        for row, answer in answers.items()
        if arm == PROPOSALS or row == "trained"
    }


def differences(areas: dict[str, list[float]]) -> str:
    """How far the first row is ahead of each other one, chain by chain."""
    (first, ours), *others = areas.items()
    lines = [f"| {first} against | site AUC, difference |", "|---|---|"]
    for name, theirs in others:
        each = [one - other for one, other in zip(ours, theirs, strict=True)]
        mean, low, high = mean_interval(each)
        lines.append(f"| {name} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) |")
    return "\n".join(lines)


def table(scores: dict[str, list[Score]], metrics: tuple[str, ...]) -> str:
    """Rows of what was judged, columns of metrics, each with its interval."""
    lines = [
        "| | " + " | ".join(metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    seen: set[str] = set()
    for arm, found in scores.items():
        for row in dict.fromkeys(score.row for score in found):
            name = _called(arm, row)
            known = {score.metric: score for score in found if score.row == row}
            if name in seen or not known.keys() & set(metrics):
                continue
            seen.add(name)
            cells = [_cell(known[metric]) if metric in known else "" for metric in metrics]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _called(arm: str, row: str) -> str:
    names = {PROPOSALS: "ProteinRPN", SALIENCY: "the same network without proposals"}
    if row == "trained":
        return names[arm]
    return "gradients of ProteinRPN" if row == "gradient saliency" else row


def _cell(score: Score) -> str:
    return f"{score.value:.3f} ({score.low:.3f}–{score.high:.3f})"


def main() -> None:
    """Train, judge and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results/proteins.md")
    options = parser.parse_args()
    source = proteins(options.table)
    scores, seconds = {}, {}
    areas: dict[str, list[float]] = {}
    for arm in (PROPOSALS, SALIENCY):
        scores[arm], of_chains, seconds[arm] = judged(arm, options.table, options.seed)
        areas |= of_chains
    sites = next(one.count for one in scores[PROPOSALS] if one.metric == SITES[0])
    chains = next(one.count for one in scores[PROPOSALS] if one.metric == TERMS[0])
    described = next((note for note in source.notes if note.startswith("Residues")), "")
    text = f"""# Proteins

Made by `python benchmarks/proteins.py proteins.parquet --seed {options.seed}` on \
{datetime.now(UTC):%Y-%m-%d} with nearfar {nearfar.__version__}, \
Python {platform.python_version()}, torch {torch.__version__}, on one thread of a busy machine.

{len(source.train):,} chains for training, {EPOCHS} passes in batches of {BATCH}: \
{seconds[PROPOSALS]:.0f} s with proposals, {seconds[SALIENCY]:.0f} s without. {described} \
One training each, judged on test chains that no choice has seen. Intervals are of 95 %, over test \
chains alone; how far trainings with other seeds differ is in the claim \
[protein-rpn](claims.md#protein-rpn). Chains are of the Protein Data Bank, terms are derived from \
enzyme classes (Gene Ontology, molecular function), sites are residues within 4.5 angstrom of a \
ligand.

## Residues of the site

Means over {sites} test chains with a known site, of the ROC-AUC and of the average precision of \
the residues in the order of their importance. Without proposals importance is the gradient of the \
scores times the input. "residue geometry" is a logistic regression on a \
residue's kind, packing and neighbours, fitted on the sites of the training chains.

{table(scores, SITES)}

Chain by chain, with t-intervals of 95 %:

{differences(areas)}

## Terms

{len(source.spec.classes)} terms, {chains} annotated test chains. Smin is normalised, and low is \
better.

{table(scores, TERMS)}
"""
    options.output.write_text(text, encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
