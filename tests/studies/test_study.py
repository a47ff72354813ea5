"""A study trains every arm under every condition, goes on where it stopped, and reads off what it
should.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nearfar import studies
from nearfar.comparison import Comparison, Entry
from nearfar.errors import UserError
from nearfar.evaluation import Evaluation
from nearfar.evaluation.result import Score
from nearfar.methods.method import Paper
from nearfar.studies.outcome import Carried, Outcome
from nearfar.studies.page import write_study
from nearfar.studies.running import run_study
from nearfar.studies.study import Study, with_data

PAPER = Paper(title="<Two> sets", authors="Nobody", year=2026)


def study(**changes: Any) -> Study:
    same: dict[str, Any] = {
        "paper": PAPER,
        "question": "Which?",
        "arms": ("simclr", "vicreg"),
        "conditions": {
            "small": {"data": "digits", "size": 16},
            "striped": {"data": "striped-digits", "label": "digit"},
        },
        "options": {"steps": 100},
    }
    return Study(**{**same, **changes})


def comparison(values: dict[str, float], metric: str = "kNN accuracy", **score: Any) -> Comparison:
    """Each arm with one value on seeds 0 and 1."""
    entries = []
    for arm, value in values.items():
        for seed in range(2):
            scores = (
                Score("trained", "knn-v1", metric, value + 0.01 * seed, unit="%", **score),
                Score("random encoder", "knn-v1", metric, 0.1, unit="%", **score),
            )
            found = Evaluation("made", scores, {"knn-v1": "told"})
            entries.append(Entry(arm, arm, {}, seed, Path(arm), found, 1.0, math.nan, 1.0))
    return Comparison("made", "5 steps each", tuple(entries))


def outcome(carried: tuple[Carried, ...] = (), **better: Any) -> Outcome:
    first = comparison({"simclr": 0.5, "vicreg": 0.4, "byol": 0.3}, **better)
    second = comparison({"simclr": 0.5, "vicreg": 0.6, "byol": 0.5}, **better)
    return Outcome("toy", study(), {"one": first, "two": second}, {"one": {}, "two": {}}, carried)


def test_ranks_are_means_over_conditions_and_ties_share_their_places() -> None:
    assert outcome().ranks() == {"simclr": (1 + 2.5) / 2, "vicreg": 1.5, "byol": (3 + 2.5) / 2}
    assert outcome(better="lower").ranks()["byol"] == (1 + 1.5) / 2, "less is better"


def test_an_undefined_score_gives_no_place(tmp_path: Path) -> None:
    known = outcome()
    gone = comparison({"simclr": math.nan, "vicreg": 0.6, "byol": 0.5})
    half = dataclasses.replace(known, comparisons={"one": known.comparisons["one"], "two": gone})
    assert half.ranks() == {"simclr": 1, "vicreg": 2, "byol": 3}
    none = dataclasses.replace(known, comparisons={"one": gone, "two": gone})
    assert {line[-1] for line in none.lines()[1]} == {"–", ""}
    page = write_study(half, tmp_path / "study.html").read_text(encoding="utf-8")
    assert "undefined" in page
    assert not re.search(r"\bnan\b", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "carried", "a\nb"])
def test_a_condition_has_the_name_of_a_folder(name: str) -> None:
    with pytest.raises(UserError, match="names a folder"):
        study(conditions={name: {"data": "digits"}})
    with pytest.raises(UserError, match="names a folder"):
        study(small_conditions={name: {"data": "digits"}})


def test_the_matrix_holds_own_and_carried_scores() -> None:
    carried = tuple(
        Carried("simclr", "one", "two", seed, {"kNN accuracy": 0.2 + 0.2 * seed})
        for seed in range(2)
    )
    found = outcome(carried)
    (own, other), (missing, _) = found.matrix("simclr")
    assert own == pytest.approx(0.505)
    assert other == pytest.approx(0.3)
    assert math.isnan(missing)
    assert found.generalisation("simclr") == pytest.approx(0.3)
    assert math.isnan(found.generalisation("byol"))


def test_the_page_and_the_parquet_hold_every_arm(tmp_path: Path) -> None:
    found = outcome((Carried("simclr", "one", "two", 0, {"kNN accuracy": 0.25}),))
    page = write_study(found, tmp_path / "report.html").read_text()
    assert "&lt;Two&gt; sets" in page
    assert "<Two>" not in page
    assert "What carries over" in page
    assert "0.250" in page
    found.write_parquet(tmp_path / "study.parquet")
    rows = pq.read_table(tmp_path / "study.parquet").to_pylist()
    assert {row["arm"] for row in rows} == {"simclr", "vicreg", "byol"}
    carried = [row for row in rows if row["trained_on"] != row["judged_on"]]
    assert [(row["metric"], row["value"]) for row in carried] == [("kNN accuracy", 0.25)]


class Verbs:
    """Stand-ins for the verbs that write what these would and note how they were called."""

    def __init__(self) -> None:
        self.compared: list[dict[str, Any]] = []
        self.judged: list[tuple[str, dict[str, Any]]] = []

    def compare(self, *arms: str, **options: Any) -> Comparison:
        self.compared.append({"arms": arms, **options})
        return comparison(dict.fromkeys(arms, 0.5))

    def judge(self, run: Path, **options: Any) -> Evaluation:
        self.judged.append((str(run), options))
        found = comparison({"simclr": 0.5}).entries[0].evaluation
        options["output"].write_text(found.to_json())
        return found


def run(asked: Study, folder: Path, verbs: Verbs) -> Outcome:
    quiet: Callable[[str], None] = lambda _: None  # noqa: E731
    return run_study(
        "toy",
        asked,
        folder,
        seeds=2,
        full=False,
        compare=verbs.compare,
        judge=verbs.judge,
        watch=quiet,
    )


def test_conditions_are_compared_and_judged_on_each_others_data_once(tmp_path: Path) -> None:
    verbs = Verbs()
    asked = study(judged_on="all", small={"limit": 50})
    run(asked, tmp_path, verbs)
    assert [call["data"] for call in verbs.compared] == ["digits", "striped-digits"]
    assert [call["output"].name for call in verbs.compared] == ["small", "striped"]
    assert all(call["steps"] == 100 and call["limit"] == 50 for call in verbs.compared)
    assert len(verbs.judged) == 2 * 2 * 2, "two arms and two seeds, each on the other data"
    data = {options["data"]: options.get("label") for _, options in verbs.judged}
    assert data == {"digits": None, "striped-digits": "digit"}
    again = run(asked, tmp_path, verbs)
    assert len(verbs.judged) == 8, "what was judged stands"
    assert again.matrix("simclr")[0][1] == pytest.approx(0.5)


def test_encoders_are_not_carried_to_samples_of_another_shape(tmp_path: Path) -> None:
    verbs = Verbs()
    other = {"plain": {"data": "digits"}, "coloured": {"data": "colour-digits", "label": "digit"}}
    found = run(study(judged_on="all", conditions=other), tmp_path, verbs)
    assert verbs.judged == []
    assert found.carried == ()


def test_data_that_cannot_be_had_stop_a_study_before_it_trains(tmp_path: Path) -> None:
    verbs = Verbs()
    asked = with_data(study(), ["striped=nowhere.npz"])
    with pytest.raises(UserError, match=r"nowhere\.npz"):
        run(asked, tmp_path / "new", verbs)
    assert verbs.compared == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: study(arms=()), "at least one arm"),
        (lambda: study(options={"stepz": 1}), "steps"),
        (lambda: with_data(study(), ["digits"]), "CONDITION=DATA"),
        (lambda: with_data(study(), ["smal=digits"]), "small"),
        (lambda: studies.get("medica"), "medical"),
    ],
)
def test_wrong_studies_get_one_sentence(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


@pytest.mark.parametrize("name", studies.names())
def test_every_study_names_methods_that_are_there(name: str) -> None:
    from nearfar.methods import registry

    asked = studies.get(name)
    assert set(asked.arms) <= set(registry.names())
    assert asked.paper.title
