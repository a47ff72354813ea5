"""``evaluate``: one encoder on one data set, beside a random encoder and the raw input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.evaluation.answers import Answers, fingerprint
from nearfar.evaluation.features import Encode, View, extract, raw_features, require_evaluation_mode
from nearfar.evaluation.protocol import Features, Protocol, Row, Task, Wanted
from nearfar.evaluation.protocols import check_names, chosen, statements
from nearfar.evaluation.result import Evaluation, Score
from nearfar.evaluation.shared import Judged, SharedRows
from nearfar.evaluation.simple import SIMPLE, simple_features
from nearfar.evaluation.splits import held_out
from nearfar.found import at_home
from nearfar.methods.method import Method


def evaluate(
    encode: Encode,
    source: Any,
    view: View,
    *,
    baselines: Mapping[str, Encode] | None = None,
    wanted: Wanted | None = None,
    given: Mapping[str, Features] | None = None,
    shared: SharedRows | None = None,
    watch: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Judge an encoder on a data set, beside baselines and the raw input.

    Args:
        encode: the trained encoder in evaluation mode: from a view of n samples to (n, D). For
            pairs a method with ``embed_part``, which is judged by retrieval and
            zero-shot too.
        source: spec, training and test samples; without test samples a fifth of the training
            samples is held out.
        view: from samples to what encoders take.
        baselines: further encoders by row name ("random encoder").
        wanted: protocols, seeds, outsiders and device; by default the quick protocols with three
            seeds on the CPU.
        given: Further rows by name, from samples and a view of them to features.
        shared: where rows of baselines lie that were judged before, and are kept for others.
        watch: is told what is judged now, as "trained: knn (1 of 12)".

    Returns:
        Rows "trained", the baselines, "raw input" (of texts: counts of tokens) and "simple
        features"; for pairs also
        "shuffled pairs" and "chance".

    Raises:
        UserError: for an unknown protocol or one that the data do not allow, if an encoder is in
            training mode, features are not finite, or the data cannot be split.
    """
    wanted = wanted or Wanted()
    check_names(wanted.protocols)
    train, test = held_out(source)
    target, notes = _target(source, train, test)
    method = encode if isinstance(encode, Method) and encode.predicts is not None else None
    task = Task(source, train, test, view, target, wanted, method)
    protocols, left_out = chosen(wanted.protocols, task)
    rows = _rows({"trained": encode, **(baselines or {})}, task)
    rows += [Row(name, features, task) for name, features in (given or {}).items()]
    rows += _answers(protocols, task)
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
    told = statements()
    used = {s.protocol: told[s.protocol] for s in scores}
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
        if (
            (row.predict is not None)
            if one.judges is not None
            else row.features is not _no_features
        ):
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


def _answers(protocols: Sequence[Protocol], task: Task) -> list[Row]:
    """A row for each baseline of the protocols that judge results."""
    found: dict[str, Row] = {}
    for protocol in protocols:
        if protocol.judges is not None:
            for name, predict in protocol.baselines(task).items():
                found.setdefault(name, Row(name, _no_features, task, None, predict))
    return list(found.values())


def _no_features(samples: Any, view: Callable[[Any], Any]) -> Tensor:
    raise RuntimeError("an answer that is no encoder has no features")


def _rows(encoders: Mapping[str, Any], task: Task) -> list[Row]:
    device = task.wanted.device

    def encoded(encode: Encode) -> Features:
        return lambda samples, view: extract(encode, samples, view, device=device)

    rows = []
    for name, one in encoders.items():
        require_evaluation_mode(one)
        module = one.to(device) if isinstance(one, nn.Module) else None
        # A method's call is its training step; its features come from ``encode``.
        encoding = one.encode if isinstance(one, Method) else one
        predict = one.predict if isinstance(one, Method) and one.predicts is not None else None
        rows.append(Row(name, encoded(encoding), task, module, predict))
    home = modalities.get(task.modality).raw
    if home is not None:
        values_of: Callable[[Any, Spec], Tensor] = at_home(home)

        def raw(samples: Any, view: Callable[[Any], Any]) -> Any:
            return raw_features(
                samples, view, lambda seen: values_of(seen, task.source.spec), device=device
            )

        rows.append(Row("raw input", raw, task))
        if made := simple_features(task.modality, raw, task.train):
            rows.append(Row(SIMPLE, made[0], task))
    return rows
