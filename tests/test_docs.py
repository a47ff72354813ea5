"""The guides' code is run as it stands: Python blocks in one process and in order, shell blocks
with the real command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
_BLOCK = re.compile(r"^```(python|bash)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, file name or "", code) of each fenced block."""
    return [
        (lang, note.partition("file=")[2].strip(), code)
        for lang, note, code in _BLOCK.findall(page.read_text())
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in sorted(DOCS.glob("*.md")) if blocks(page)], ids=lambda page: page.stem
)
def test_the_code_of_a_guide_runs(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = []
    for language, name, code in blocks(page):
        if name:
            (tmp_path / name).write_text(code)
        elif language == "python":
            script.append(code)
        else:
            script.append(f"import subprocess\nsubprocess.run({code!r}, shell=True, check=True)\n")
    body = "".join("    " + line + "\n" for line in "\n".join(script).splitlines())
    (tmp_path / "guide.py").write_text("if __name__ == '__main__':\n" + body)
    done = subprocess.run(
        [sys.executable, "guide.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_own_method_has_at_most_40_lines() -> None:
    code = next(code for _, name, code in blocks(DOCS / "write-your-own-method.md") if name)
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
