"""``evaluate`` on classes, values, pairs and unlabelled data, and the notes it must give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import MeanAbsoluteError, R2Score

from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError
from nearfar.evaluation import Evaluation, Wanted, evaluate
from nearfar.evaluation.features import Labelled, averaged, extract, raw_features
from nearfar.evaluation.probes.fine_tuning import Budget
from nearfar.evaluation.probes.linear import linear_probes, ridge_probes
from nearfar.evaluation.protocol import Row, Task
from nearfar.evaluation.protocols import all_protocols, statements
from nearfar.evaluation.result import Score
from nearfar.views import plain_view

from .toys import BarsAndLetters, Flatten, blobs, image_source, images, pair_source

ROWS = ["trained", "random encoder", "raw input", "simple features"]


def scores_of(names: str, train: Labelled, test: Labelled, *, seeds: int) -> dict[str, Score]:
    """Scores of ready features by metric."""

    class Ready:
        def __init__(self, label: torch.Tensor) -> None:
            self.label = label

        def __len__(self) -> int:
            return len(self.label)

    source = image_source(classes=train.classes)
    first = Ready(train.labels)
    second = Ready(test.labels)
    features = {id(first): train.features, id(second): test.features}
    task = Task(source, first, second, plain_view(source.spec), "class", Wanted(seeds=seeds))
    row = Row("row", lambda samples, _: features[id(samples)], task)
    return {
        s.metric: s for one in all_protocols() if one.name in names.split() for s in one.judge(row)
    }


def judged(source: Source, seeds: int = 1) -> Evaluation:
    return evaluate(Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(seeds=seeds))


@pytest.fixture(scope="module")
def of_classes() -> Evaluation:
    source = image_source()
    return evaluate(
        Flatten().eval(),
        source,
        plain_view(source.spec),
        baselines={"random encoder": Flatten(8).eval()},
    )


def test_classes_get_every_row_metric_and_interval(of_classes: Evaluation) -> None:
    found = of_classes
    assert found.rows() == ROWS
    assert found.metrics() == [
        "kNN accuracy",
        "linear accuracy",
        "1 label a class",
        "5 labels a class",
        "10 labels a class",
        "10 % of labels",
        "uniformity",
        "alignment",
        "penalty entropy",
        "std per dimension",
        "effective rank",
        "tolerance",
        "purity, 10 nearest",
    ]
    assert len(found.scores) == 4 * 13
    assert found.protocols.keys() == {"knn-v1", "linear-v1", "few-labels-v3", "geometry-v2"}
    assert "Probes were fitted on 60 training samples and judged on 30 test samples." in found.notes
    for score in found.scores:
        assert math.isfinite(score.value)
        if score.protocol != "geometry-v2":
            assert 0 <= score.low <= score.value <= score.high <= 1
            assert (score.over, score.count) in {("test samples", 30), ("draws", 5), ("splits", 3)}
    assert found.value("linear accuracy") > 0.9
    assert found.score("linear accuracy").setting.startswith("penalty ")
    assert found.score("10 % of labels").setting == "6 labels"


def test_the_evaluation_is_repeatable_and_draws_nothing_global(of_classes: Evaluation) -> None:
    before = torch.get_rng_state()
    again = judged(image_source(), seeds=3)
    assert again.scores == tuple(
        score for score in of_classes.scores if score.row != "random encoder"
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_accuracies_equal_torchmetrics(of_classes: Evaluation) -> None:
    source = image_source()
    view = plain_view(source.spec)
    train, test = (
        Labelled(raw_features(s, view, averaged), s.label, 3) for s in (source.train, source.test)
    )  # type: ignore[arg-type]
    (probe,) = linear_probes(train, seeds=(0,))
    predicted = probe.model(test.features).argmax(dim=1)
    reference = MulticlassAccuracy(3, average="micro")(predicted, test.labels)
    assert probe.accuracy(test) == pytest.approx(float(reference))
    assert of_classes.value("kNN accuracy", "raw input") > 0.9


def test_values_are_regressed() -> None:
    source = image_source(target="value", train=120)
    found = judged(source)
    assert found.metrics()[:3] == ["mean absolute error", "balanced mean absolute error", "R2"]
    error = found.score("mean absolute error")
    explained = found.score("R2")
    assert 0 < error.low < error.value < error.high < 0.5
    assert error.over == "test samples"
    assert 0.5 < explained.low < explained.value < explained.high <= 1
    assert "tolerance" not in found.metrics()


def test_value_scores_equal_torchmetrics() -> None:
    source = image_source(target="value", train=120)
    found = judged(source)
    view = plain_view(source.spec)
    train, test = (
        extract(Flatten().eval(), samples, view) for samples in (source.train, source.test)
    )
    assert source.test is not None
    targets = source.test.label
    (probe,) = ridge_probes(train, source.train.label)  # type: ignore[arg-type]
    predicted = probe.model(test)[:, 0]
    assert found.value("mean absolute error") == pytest.approx(
        float(MeanAbsoluteError()(predicted, targets)), rel=1e-5
    )
    assert found.value("R2") == pytest.approx(float(R2Score()(predicted, targets)), rel=1e-4)


def test_constant_test_targets_leave_r2_undefined() -> None:
    source = image_source(target="value", train=40, test=6)
    assert source.test is not None
    source = Source(
        source.spec, source.train, dataclasses.replace(source.test, label=torch.ones(6))
    )
    found = judged(source)
    assert math.isnan(found.value("R2"))
    assert found.value("balanced mean absolute error") == pytest.approx(
        found.value("mean absolute error")
    )


@pytest.mark.parametrize("hide", ["target", "labels"])
def test_without_labels_only_the_geometry_is_measured(hide: str) -> None:
    source = image_source(target="none")
    if hide == "labels":
        source = Source(image_source().spec, source.train, source.test)
    found = judged(source)
    assert found.protocols.keys() == {"geometry-v2"}
    assert "The data have no labels: only what needs none was measured." in found.notes


def test_one_class_only_is_said() -> None:
    picture, label = images(40, 0, classes=1)
    samples = Samples(picture, [str(i) for i in range(40)], label)
    found = judged(Source(image_source().spec, samples, samples))
    assert found.protocols.keys() == {"geometry-v2"}
    assert any("all of one class" in note for note in found.notes)


def test_classes_without_training_samples_are_said() -> None:
    source = image_source(classes=4, train=30)
    few = source.train.subset(
        torch.tensor([0, 1, 4, 5])
    )  # classes 0 and 1, fewer samples than classes
    found = judged(Source(source.spec, few, source.test))
    assert any("Only 2 of the 4 classes have training samples" in note for note in found.notes)
    assert found.value("linear accuracy") <= 0.6


def test_without_a_test_set_a_fifth_is_held_out_and_said() -> None:
    found = judged(image_source(train=60, test=None))
    assert any("a fifth of the training samples was held out" in note for note in found.notes)
    assert "Probes were fitted on 48 training samples and judged on 12 test samples." in found.notes


def test_a_single_test_sample_is_enough() -> None:
    source = image_source(test=1)
    assert judged(source).protocols.keys() == {"knn-v1", "linear-v1", "few-labels-v3"}


def test_pairs_get_retrieval_controls_and_probes() -> None:
    source = pair_source()
    found = evaluate(
        BarsAndLetters().eval(),
        source,
        plain_view(source.spec),
        baselines={"random encoder": BarsAndLetters().eval().encode},
    )
    assert found.rows() == [
        "trained",
        "shuffled pairs",
        "chance",
        "random encoder",
        "raw input",
        "simple features",
    ]
    for way in ("image to text", "text to image"):
        assert found.value(f"{way} recall@1") == 1
        assert found.value(f"{way} mean rank") == 1
        assert found.value(f"{way} recall@1", "chance") == pytest.approx(1 / 3)
        assert found.value(f"{way} recall@5", "chance") == 1
        assert found.value(f"{way} mean rank", "chance") == 2
        assert found.value(f"{way} recall@1", "shuffled pairs") < 1
    assert found.value("zero-shot accuracy") == 1
    assert found.value("zero-shot accuracy", "chance") == pytest.approx(1 / 3)
    assert found.value("kNN accuracy") == found.value("kNN accuracy", "raw input")
    low = found.score("image to text recall@1").low
    high = found.score("image to text recall@1").high
    assert 0 < low < 1 == high


def test_more_seeds_fit_more_probes_and_the_wider_interval_is_given() -> None:
    train = blobs(200, spread=2.0)
    test = blobs(4000, spread=2.0, seed=1)
    scores = scores_of("few-labels", train, test, seeds=3)
    assert (scores["1 label a class"].over, scores["1 label a class"].count) == ("draws", 5)
    small = scores_of("linear", train, test[torch.arange(4000) < 10], seeds=3)
    assert (small["linear accuracy"].over, small["linear accuracy"].count) == ("test samples", 10)


def test_protocols_are_chosen_by_name() -> None:
    source = image_source()
    view = plain_view(image_source().spec)

    def metrics(*names: str) -> list[str]:
        return evaluate(Flatten().eval(), source, view, wanted=Wanted(names, seeds=1)).metrics()

    assert metrics("knn", "linear-v1") == ["kNN accuracy", "linear accuracy"]
    assert metrics("linear", "knn") == ["kNN accuracy", "linear accuracy"], (
        "the order of the table does not depend on the question"
    )
    with pytest.raises(UserError, match="Unknown protocol 'knnn': did you mean knn"):
        metrics("knnn")
    with pytest.raises(
        UserError,
        match="'ridge' needs real-valued labels, one a sample, which bars has not; leave it out",
    ):
        metrics("ridge")
    with pytest.raises(UserError, match="No protocol was named; choose from quick, all, "):
        metrics()


def test_all_protocols_that_the_data_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearfar.evaluation.protocols.tuning._BUDGET", Budget(steps=5))
    source = image_source()
    found = evaluate(
        Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(("all",), seeds=1)
    )
    assert {"retrieval-v1", "clustering-v1"} < found.protocols.keys()
    assert "ridge was left out: it needs real-valued labels, one a sample." in found.notes
    for score in found.scores:
        assert math.isfinite(score.value)


def test_errors(of_classes: Evaluation) -> None:
    source = image_source()
    view: Callable[..., torch.Tensor] = plain_view(source.spec)
    with pytest.raises(UserError, match="number of seeds is 0"):
        judged(source, seeds=0)
    with pytest.raises(UserError, match="Flatten is in training mode"):
        evaluate(Flatten().train(), source, view)
    with pytest.raises(UserError, match="BarsAndLetters is in training mode"):
        evaluate(BarsAndLetters().train(), pair_source(), plain_view(pair_source().spec))
    with pytest.raises(UserError, match="60 of 60 samples are NaN"):
        evaluate(lambda x: x.flatten(1) * float("nan"), source, view)


def test_every_protocol_has_a_version_and_a_statement() -> None:
    assert all(
        name.rpartition("-v")[2].isdigit() and meaning for name, meaning in statements().items()
    )


def test_features_of_a_plain_function_are_accepted() -> None:
    source = image_source()
    assert extract(lambda x: x.flatten(1), source.train, plain_view(source.spec)).shape == (60, 64)
