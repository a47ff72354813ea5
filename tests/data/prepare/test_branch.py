"""``--with branch``: the terms of one branch of an ontology."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearfar.data import load
from nearfar.data.prepare.branch import Branch
from nearfar.errors import UserError
from tests.data.test_proteins import table_at

OBO = """format-version: 1.2
default-namespace: molecular_function

[Term]
id: T:0
name: root

[Term]
id: T:1
name: binding
is_a: T:0

[Term]
id: T:2
name: metal binding
is_a: T:1

[Term]
id: P:0
name: process
namespace: biological_process

[Term]
id: P:1
name: growth
namespace: biological_process
is_a: P:0
"""


def test_one_branch_keeps_its_terms_and_what_follows_from_them(tmp_path: Path) -> None:
    (tmp_path / "any.obo").write_text(OBO)
    held = [["T:2"], ["P:1"], ["T:1", "P:1"], [], ["T:2", "P:1"], ["P:1"]]
    source = load(table_at(tmp_path / "chains.parquet", go_terms=held))
    assert source.spec.classes == ("P:1", "T:1", "T:2")
    molecular = "molecular_function"
    assert source.spec.extra["branches"] == ["biological_process", molecular, molecular]
    functions = Branch(of="mf")(source, seed=0)
    assert functions.spec.classes == ("T:1", "T:2")
    assert functions.spec.extra["above"] == [[0], [0, 1]]
    assert functions.spec.extra["term names"] == ["binding", "metal binding"]
    assert functions.train.label is not None
    assert functions.train.label.tolist() == [
        [True, True],
        [False, False],
        [True, False],
        [False, False],
    ]
    assert functions.test is not None
    assert functions.test.label is not None
    assert functions.test.label.tolist() == [[True, True], [False, False]]
    assert functions.notes[-1] == "2 of 3 terms are of the branch molecular_function."
    processes = Branch(of="biological_process")(source, seed=0)
    assert processes.spec.classes == ("P:1",)
    with pytest.raises(UserError, match="'cellular_component'; its branches are: biological_proc"):
        Branch(of="cc")(source, seed=0)
