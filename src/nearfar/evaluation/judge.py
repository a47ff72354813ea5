"""``evaluate``: one encoder on one data set, beside a random encoder and the raw input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.batch import Pair, Tokens
from nearfar.evaluation.answers import Answers, fingerprint
from nearfar.evaluation.features import Encode, View, extract, raw_features, require_evaluation_mode
from nearfar.evaluation.protocol import Features, Protocol, Row, Task, Wanted
from nearfar.evaluation.protocols import PROTOCOLS, check_names, chosen
from nearfar.evaluation.result import Evaluation, Score
from nearfar.evaluation.shared import Judged, SharedRows
from nearfar.evaluation.splits import held_out


def evaluate(
    encode: Encode,
    source: Any,
    view: View,
    *,
    baselines: Mapping[str, Encode] | None = None,
    wanted: Wanted | None = None,
    shared: SharedRows | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Judge an encoder on a data set, beside baselines and the raw input.

    Args:
        encode: the trained encoder in evaluation mode: from a view of n samples to (n, D). For
            image-text pairs a method with ``embed_pair``, which is judged by retrieval and
            zero-shot too.
        source: spec, training and test samples; without test samples a fifth of the training
            samples is held out.
        view: from samples to what encoders take.
        baselines: further encoders by row name ("random encoder").
        wanted: protocols, seeds, outsiders and device; by default the quick protocols with three
            seeds on the CPU.
        shared: where rows of baselines lie that were judged before, and are kept for others.
        watch: is told what is judged now, as "trained: knn (1 of 12)".

    Returns:
        Rows "trained", the baselines and "raw input" (of texts: counts of tokens); for pairs also
        "shuffled pairs" and "chance".

    Raises:
        UserError: for an unknown protocol or one that the data do not allow, if an encoder is in
            training mode, features are not finite, or the data cannot be split.
    """
    wanted = wanted or Wanted()
    check_names(wanted.protocols)
    train, test = held_out(source)
    target, notes = _target(source, train, test)
    task = Task(source, train, test, view, target, wanted)
    protocols, left_out = chosen(wanted.protocols, task)
    rows = _rows({"trained": encode, **(baselines or {})}, task)
    judged = Judged(train, test, tuple(one.version for one in protocols), wanted.seeds)
    scores: list[Score] = []
    values: dict[tuple[str, str], NDArray[np.float32]] = {}
    for number, row in enumerate(rows):
        sharing = shared is not None and row.name in shared.encoders and wanted.outsiders is None
        part = shared.read(row.name, judged.key) if shared is not None and sharing else None
        if part is None:
            part = _judged(row, protocols, source.spec.name, watch, (number, len(rows)))
            if shared is not None and sharing:
                shared.write(row.name, judged.key, part)
        scores += part.scores
        values |= part.answers.values
    used = {s.protocol: PROTOCOLS[s.protocol] for s in scores}
    answers = Answers(fingerprint(test) if values else "", values)
    return Evaluation(source.spec.name, tuple(scores), used, (*notes, *left_out), answers)


def _judged(
    row: Row,
    protocols: Sequence[Protocol],
    data: str,
    watch: Callable[[str], None],
    place: tuple[int, int],
) -> Evaluation:
    """The scores and answers of one row; ``place``: its number and that of all rows."""
    scores: list[Score] = []
    for number, one in enumerate(protocols):
        watch(
            f"{row.name}: {one.name} ({place[0] * len(protocols) + number + 1} of "
            f"{place[1] * len(protocols)})"
        )
        scores += one.judge(row)
    values = {(metric, row.name): _kept(one) for metric, one in row.answers.items()}
    return Evaluation(data, tuple(scores), answers=Answers("", values))


def _kept(values: Tensor) -> NDArray[np.float32]:
    kept: NDArray[np.float32] = values.cpu().numpy().astype(np.float32)
    return kept


def _target(source: Any, train: Any, test: Any) -> tuple[str, list[str]]:
    """The target that the labels allow, and what the reader must know of them."""
    notes = [
        f"Probes were fitted on {len(train):,} training samples and judged on {len(test):,} test "
        "samples."
    ]
    if source.test is None or not len(source.test):
        notes.append(
            "The data have no test set: a fifth of the training samples was held out, which the "
            "encoder has seen."
        )
    target = source.spec.target
    if target == "none" or train.label is None or test.label is None:
        return "none", [*notes, "The data have no labels: only what needs none was measured."]
    if target != "class":
        return target, notes
    seen = len(torch.unique(train.label))
    classes = len(source.spec.classes)
    if seen < 2:
        return "none", [
            *notes,
            "The training samples are all of one class, so their labels say nothing: only what "
            "needs none was measured.",
        ]
    if seen < classes:
        notes.append(
            f"Only {seen} of the {classes} classes have training samples; test samples of the "
            "others count as wrong."
        )
    return target, notes


def _rows(encoders: Mapping[str, Any], task: Task) -> list[Row]:
    device = task.wanted.device

    def encoded(encode: Encode) -> Features:
        return lambda samples, view: extract(encode, samples, view, device=device)

    rows = []
    for name, one in encoders.items():
        require_evaluation_mode(one)
        module = one.to(device) if isinstance(one, nn.Module) else None
        # A method's call is its training step; its features come from ``encode``.
        rows.append(
            Row(name, encoded(one.encode if hasattr(one, "embed_pair") else one), task, module)
        )
    if isinstance(_first_part(task.view(task.train.take(torch.arange(1)))), Tensor | Tokens):

        def raw(samples: Any, view: Callable[[Any], Any]) -> Any:
            return raw_features(samples, lambda s: _first_part(view(s)), device=device)

        rows.append(Row("raw input", raw, task))
    return rows


def _first_part(view: Any) -> Any:
    return view.first if isinstance(view, Pair) else view
