"""Which training labels are wrong, and how many of them were learned: for data whose labels were
made wrong on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn.functional import softmax

from nearfar import modalities
from nearfar.data.prepare.label_noise import CLEAN
from nearfar.evaluation.features import BATCH, Labelled, predicted, raw_features
from nearfar.evaluation.kernels.intervals import wilson
from nearfar.evaluation.probes.linear import fit_logistic
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task
from nearfar.evaluation.protocols.results.accuracy import commonest_class
from nearfar.evaluation.result import Score
from nearfar.evaluation.trust.outsiders import detect
from nearfar.found import at_home
from nearfar.methods.method import Method
from nearfar.results.classes import Classes

_PENALTY = 1e-3
"""Of the linear classifier of the raw input."""


def _noise(row: Row) -> Iterator[Score]:
    train = row.task.train
    wrong = train.label.cpu() != train.annotations[CLEAN].cpu()
    if not 0 < int(wrong.sum()) < len(wrong):
        return
    doubt = -_trust(row).double().cpu()
    found = detect(doubt[~wrong], doubt[wrong])
    over = "training samples"
    yield Score(
        row.name,
        NOISE.version,
        "wrong labels found (AUC)",
        *found.auroc,
        over,
        len(wrong),
        "%",
    )
    answer: Classes = predicted(
        _predict(row), train, row.task.view, device=row.task.wanted.device
    ).to("cpu")
    kept = float((answer.label == train.label.cpu())[wrong].double().mean())
    yield Score(
        row.name,
        NOISE.version,
        "wrong labels learned",
        *wilson(kept, int(wrong.sum())),
        "wrong training labels",
        int(wrong.sum()),
        "%",
        better="lower",
    )


def _predict(row: Row) -> Predict:
    assert row.predict is not None
    return row.predict


@torch.no_grad()
def _trust(row: Row) -> Tensor:
    """How much each given training label is trusted: by the method itself, or by the probability
    that is predicted for it.
    """
    task = row.task
    device = task.wanted.device
    method = row.encoder if isinstance(row.encoder, Method) else None
    parts = []
    for index in torch.split(torch.arange(len(task.train)), BATCH):
        x = task.view(task.train.take(index).to(device))
        label = task.train.label[index.to(task.train.label.device)].to(device)
        if method is not None:
            parts.append(method.trust(x, label))
        else:
            found = _predict(row)(x)
            assert isinstance(found, Classes)
            chance = found.probabilities.to(device)
            parts.append(chance.gather(1, label[:, None])[:, 0])
    return torch.cat(parts)


def _simple(task: Task) -> Mapping[str, Predict]:
    """The commonest class, and a plain classifier: a linear one of the raw input, fitted on the
    given labels, whose small losses are trusted.
    """
    found = dict(commonest_class(task))
    home = modalities.get(task.modality).raw
    if home is None:
        return found
    values_of = at_home(home)
    spec = task.source.spec

    def raw(x: object) -> Tensor:
        values: Tensor = values_of(x, spec)
        return values

    features = raw_features(task.train, task.view, raw, device=task.wanted.device)
    given = Labelled(features, task.train.label, task.classes)
    (model,) = fit_logistic(given, [_PENALTY])
    found["linear classifier"] = lambda x: Classes(softmax(model(raw(x)), dim=1), spec.classes)
    return found


def _lacks(task: Task) -> str | None:
    known = task.target == "class" and CLEAN in task.train.annotations
    return None if known else "labels that were made wrong (--with label-noise:rate=0.4)"


NOISE = Protocol(
    "noise",
    "noise-v1",
    "training samples whose labels were made wrong: how well the method's trust in given labels "
    "(its weights of samples, or the probability that it gives to the label) tells them from the "
    "others (AUC, interval by resampling), and the share of them that it predicts as they were "
    "given (Wilson); beside a linear classifier of the raw input, fitted on the given labels with "
    "penalty 0.001",
    _noise,
    _lacks,
    quick=True,
    judges=Classes,
    baselines=_simple,
    headline=("wrong labels found (AUC)",),
    rank=6,
)
PROTOCOLS = (NOISE,)
