"""What nearfar is installed with: exact versions without a host's name, no remote code, and an
audit that needs no network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

from nearfar.data.options import DataOptions
from nearfar.data.readers.hugging_face import read_hugging_face
from nearfar.errors import UserError

ROOT = Path(__file__).parents[1]


def locked() -> dict[str, str]:
    """Name to exact version in requirements.lock."""
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), "a line is no NAME==VERSION"
    return {_plain(name): version for name, version in pairs}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_holds_every_dependency_in_an_exact_version_that_is_allowed() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        Requirement(text)
        for text in (*project["dependencies"], *project["optional-dependencies"]["dev"])
    ]
    versions = locked()
    for requirement in wanted:
        assert requirement.specifier.contains(versions[_plain(requirement.name)]), requirement
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|@|^-|[^=]=[^=]", text, re.MULTILINE), "a host, a folder or an option"


def test_the_library_of_hub_data_is_one_that_runs_no_scripts() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (bound,) = [text for text in extras["hub"] if text.startswith("datasets")]
    assert bound == "datasets>=4.0"


@pytest.mark.parametrize(
    ("version", "given"), [("2.21.0", {"trust_remote_code": False}), ("4.0.0", {}), ("5.1.0", {})]
)
def test_no_data_set_may_bring_code(
    version: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def load(*_: Any, **keywords: Any) -> None:
        calls.append(keywords)
        raise ValueError("no such data")

    library = types.ModuleType("datasets")
    library.__version__ = version  # type: ignore[attr-defined]
    library.load_dataset = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.setattr("nearfar.data.readers.hugging_face.missing", lambda _: "")
    with pytest.raises(UserError, match="cannot be loaded"):
        read_hugging_face("owner/name", DataOptions())
    assert calls == [given]


def test_nothing_in_the_package_trusts_remote_code_or_unpickles() -> None:
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        found += [
            f"{path.name}: {hit}"
            for hit in re.findall(
                r"trust_remote_code\W+True|allow_pickle=True|weights_only=False", text
            )
        ]
        found += [
            f"{path.name}: torch.load"
            for hit in re.findall(r"torch\.load\(([^)]*)\)", text)
            if "weights_only=True" not in hit
        ]
        pattern = r"^\s*import (?:pickle|shelve|marshal|dill)\b|Unpickler\b|shell=True"
        found += [f"{path.name}: {hit}" for hit in re.findall(pattern, text, re.MULTILINE)]
    assert found == []


def _stub(folder: Path, *, probe: int, audit: int, said: str) -> Path:
    """A stand-in for Python that answers the probe of the database and the audit."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\ncase "$2" in\n  import*) exit {probe};;\n  pip) exit 0;;\n  pip_audit) echo '
        f'"{said}"; exit {audit};;\nesac\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("probe", "audit", "said", "code", "told"),
    [
        (
            1,
            0,
            "",
            0,
            "dependencies not audited: the database of vulnerabilities cannot be reached",
        ),
        (0, 0, "No known vulnerabilities found", 0, "No known vulnerabilities found"),
        (0, 1, "Found 2 known vulnerabilities in 1 package", 1, "Found 2 known"),
        (0, 1, "ConnectionError", 0, "dependencies not audited: pip-audit did not come to an end"),
    ],
)
def test_the_audit_fails_for_vulnerabilities_and_not_for_lack_of_network(
    probe: int, audit: int, said: str, code: int, told: str, tmp_path: Path
) -> None:
    stub = _stub(tmp_path, probe=probe, audit=audit, said=said)
    done = subprocess.run(
        [str(ROOT / ".ci/audit")],
        env={**os.environ, "PYTHON": str(stub)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stdout
