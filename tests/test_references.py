"""The reference values: every file is listed and read by a test, and a test that compares nothing
fails.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.references import GOLDEN, ReferenceCase, comparison, load_reference, reference_names

TESTS = Path(__file__).parent
FILES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


def patterns_in(source: str) -> Iterator[str]:
    """Names and patterns of reference cases among the strings of a program; a part filled in later
    is a "*".
    """
    for node in ast.walk(ast.parse(source)):
        text = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values
            )
        if text and re.fullmatch(r"[a-h]-[\w*\[\]!-]+", text):
            yield text


def test_every_file_is_read_by_a_test_and_every_name_in_a_test_has_a_file() -> None:
    sources = [
        path.read_text()
        for path in TESTS.rglob("test_*.py")
        if "golden" in path.read_text() and path != Path(__file__)
    ]
    patterns = {pattern for source in sources for pattern in patterns_in(source)}
    unread = [name for name in FILES if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert not unread, f"no test reads {', '.join(unread)}"
    missing = [
        pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in FILES)
    ]
    assert not missing, f"no file for {', '.join(missing)}"


def test_the_index_has_one_row_for_each_file() -> None:
    rows = re.findall(r"^\| ([a-h]-[^ ]+) \|", (GOLDEN / "INDEX.md").read_text(), re.MULTILINE)
    assert sorted(rows) == FILES


@pytest.mark.parametrize("name", FILES)
def test_every_file_holds_inputs_and_results_in_known_names(name: str) -> None:
    keys = list(load_reference(name))
    assert any(key.startswith("out_") or key == "out" for key in keys)
    assert all(key.startswith(("in_", "hp_", "out_")) or key == "out" for key in keys)


def test_a_test_that_reads_no_result_fails() -> None:
    case = load_reference("a-ntxent-case1")
    assert len(case["in_z1"]) > 0
    assert dict(case.items())
    with pytest.raises(AssertionError, match="compares nothing"):
        case.expect_that_a_result_was_read()
    assert case["out_loss"].ndim == 0
    case.expect_that_a_result_was_read()


def test_a_branch_on_a_key_that_no_case_has_fails() -> None:
    case = load_reference("c-cwcl-a")
    assert "out_loss" in case
    with pytest.raises(AssertionError, match="in_z_pretrained"):
        case.get("in_z_pretrained")
    uni = load_reference("b-conr-uni-1")
    assert uni.get("in_weights") is None or "in_weights" in uni


def test_a_missing_file_or_a_pattern_without_files_fails() -> None:
    with pytest.raises(FileNotFoundError):
        load_reference("a-ntxent-case99")
    with pytest.raises(AssertionError, match="no reference case matches"):
        reference_names("a-nothing-*")


def test_the_fixture_fails_a_test_that_compares_nothing(
    golden: Callable[[str], ReferenceCase],
) -> None:
    assert golden("a-ntxent-case1")["out_loss"] > 0
    with pytest.raises(AssertionError, match="loads none"), comparison():
        pass
    with pytest.raises(AssertionError, match="compares nothing"), comparison() as load:
        load("a-ntxent-case1")
