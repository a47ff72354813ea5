"""The guides' code is run as it stands: Python blocks in one process and in order, shell blocks
with the real command.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import sys
import tomllib
import typing
from pathlib import Path

import pytest

import nearfar
from nearfar.cli import _VERBS as VERBS
from nearfar.comparison.options import CompareOptions
from nearfar.data.prepare import names as preparations
from nearfar.data.readers.endings import KINDS
from nearfar.networks import catalogue
from nearfar.options import FLAGS, OPTION_GROUPS, PretrainOptions
from nearfar.training.schedules import names as schedules
from tests.warm import folder_of_commands
from tests.warm import nearfar as warm

DOCS = Path(__file__).resolve().parents[1] / "docs"
SOURCE = Path(nearfar.__file__).resolve().parents[1]
"""What is tested, wherever else a nearfar may be installed."""
_BLOCK = re.compile(r"^```(python|bash)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, file name or "", code) of each fenced block."""
    return [
        (lang, note.partition("file=")[2].strip(), code)
        for lang, note, code in _BLOCK.findall(page.read_text())
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a machine that has more to do
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=pytest.mark.xdist_group(page.stem))
        for page in sorted(DOCS.glob("*.md"))
        if blocks(page)
    ],
)
def test_the_code_of_a_guide_runs(page: Path, tmp_path: Path) -> None:
    python = Path(sys.executable).parent
    environment = {
        **os.environ,
        **folder_of_commands(tmp_path / "commands"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(SOURCE)]),
        "PATH": f"{tmp_path / 'commands'}:{python}:{os.environ['PATH']}",
    }
    script = []
    for language, name, code in blocks(page):
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(code)
        elif language == "python":
            script.append(code)
        else:
            script.append(f"import subprocess\nsubprocess.run({code!r}, shell=True, check=True)\n")
    body = "".join("    " + line + "\n" for line in "\n".join(script).splitlines())
    (tmp_path / "guide.py").write_text("if __name__ == '__main__':\n" + body)
    done = warm([], script="guide.py", cwd=tmp_path, env=environment, timeout=880)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_own_method_has_at_most_40_lines() -> None:
    code = next(code for _, name, code in blocks(DOCS / "write-your-own-method.md") if name)
    assert len([line for line in code.splitlines() if line.strip()]) <= 40


PAGES = sorted(DOCS.glob("*.md"))
TEXT = "\n".join(page.read_text() for page in PAGES)
RUN = "\n".join(code for page in PAGES for _, _, code in blocks(page))
"""All code of the guides that is run."""
ENCODERS = (DOCS / "encoders.md").read_text()


def _dashed(name: str) -> str:
    return f"--{FLAGS.get(name, name).replace('_', '-')}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_runs_in_a_guide(verb: str) -> None:
    assert re.search(rf"^([A-Z_]+=\S+ )?nearfar {verb}\b", RUN, re.MULTILINE) or re.search(
        rf"\bnearfar\.{verb}\(", RUN
    )


def test_the_list_of_commands_is_whole() -> None:
    listed = (DOCS / "commands.md").read_text().partition("| command |")[2].partition("\n\n")[0]
    names = [line.split("|")[1] for line in listed.splitlines()[2:]]
    assert set(re.findall(r"`([\w-]+)`", " ".join(names))) == set(VERBS)


@pytest.mark.parametrize("group", OPTION_GROUPS)
def test_every_group_of_options_is_in_a_guide_and_one_of_each_is_run(group: str) -> None:
    section = (DOCS / "commands.md").read_text().partition(f"### {group}\n")[2].partition("\n#")[0]
    listed = re.findall(
        r"`(--[\w-]+)`",
        " ".join(line.split("|")[1] for line in section.splitlines() if "|" in line),
    )
    assert sorted(listed) == sorted(map(_dashed, OPTION_GROUPS[group]))
    assert any(f"{option} " in RUN for option in listed)


@pytest.mark.parametrize(
    "verb", ["evaluate", "embed", "search", "dedupe", "label", "export", "push", "claim", "compare"]
)
def test_the_options_of_the_other_verbs_exist_where_a_guide_runs_them(verb: str) -> None:
    function = getattr(nearfar, verb, None) or getattr(
        importlib.import_module(nearfar.HOMES.get(verb, f"nearfar.verbs.{verb}")), verb
    )
    known = {_dashed(name) for name in inspect.signature(function).parameters}
    if verb == "compare":
        known = {_dashed(f.name) for f in dataclasses.fields(CompareOptions)} | {"--advise"}
    lines = re.findall(rf"^nearfar {verb}\b([^#\n]*)", RUN.replace("\\\n", " "), re.MULTILINE)
    used = {word for line in lines for word in re.findall(r"(--[a-z][\w-]*)", line)}
    assert {word.replace("--no-", "--") for word in used} <= known


def test_every_option_of_a_comparison_is_in_a_guide() -> None:
    section = (DOCS / "compare-methods.md").read_text()
    missing = [f.name for f in dataclasses.fields(CompareOptions) if _dashed(f.name) not in section]
    assert missing == []


@pytest.mark.parametrize(
    "name",
    [*catalogue.names(), "timm:NAME", "timm:NAME@pretrained", "hf:PATH", "hf:PATH@pretrained"],
)
def test_every_name_of_an_encoder_is_in_the_guide(name: str) -> None:
    assert f"`{name}`" in ENCODERS


def test_the_guide_of_encoders_builds_them_all_and_names_no_other() -> None:
    table = ENCODERS.partition("## The names")[2].partition("\n\nImage-text")[0]
    listed = [
        word
        for line in table.splitlines()
        if "|" in line
        for word in re.findall(r"`([\w-]+)`", line.split("|")[1])
    ]
    assert sorted(listed) == sorted(catalogue.names())
    code = "\n".join(code for _, _, code in blocks(DOCS / "encoders.md"))
    assert "in catalogue.entries().items()" in code
    assert "timm:" in code
    assert "--start-from" in code


@pytest.mark.parametrize("kind", [*KINDS, "arrays"])
def test_every_kind_of_file_is_written_and_read_in_the_guide(kind: str) -> None:
    page = (DOCS / "data.md").read_text()
    endings = KINDS.get(kind, (".npz",))
    assert [ending for ending in endings if not re.search(rf"{re.escape(ending)}\b", page)] == []
    code = "\n".join(code for _, _, code in blocks(DOCS / "data.md"))
    assert any(ending in code for ending in endings)


@pytest.mark.parametrize("name", preparations())
def test_every_preparation_is_in_the_guide(name: str) -> None:
    assert f"`{name}`" in (DOCS / "data.md").read_text()


@pytest.mark.parametrize("name", schedules())
def test_every_schedule_is_in_the_guide(name: str) -> None:
    line = next(one for one in TEXT.splitlines() if one.startswith("| `--schedule`"))
    assert re.search(rf"\b{name}\b", line)


INTEGRATIONS = {
    "scikit-learn": "from nearfar.sklearn import",
    "lightning": "from nearfar.integrations.lightning import",
    "tensorboard": "--log tensorboard",
    "pyg": "from nearfar.integrations.pyg import",
    "timm": "--encoder timm:",
    "hub": "hub.load(",
    "safetensors": "from safetensors.torch import load_file",
    "onnx": "--format onnx",
    "onnxruntime": "onnxruntime.InferenceSession(",
    "torch.export": "torch.export.load(",
}
"""What each is run by."""


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_every_integration_runs_in_a_guide(name: str) -> None:
    assert INTEGRATIONS[name] in RUN


def test_no_integration_is_left_out() -> None:
    modules = {path.stem for path in (SOURCE / "nearfar" / "integrations").glob("[a-z]*.py")}
    assert modules <= set(INTEGRATIONS)
    trackers = typing.get_args(typing.get_args(typing.get_type_hints(PretrainOptions)["log"])[0])
    assert [tracker for tracker in trackers if f"--log {tracker}" not in TEXT] == []
    formats = importlib.import_module("nearfar.verbs.export")._ENDING
    assert [one for one in formats if not re.search(rf"--format\s+{one}\b", TEXT)] == []
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    tools = {"dev", "site"}  # of those who build nearfar
    extras = set(project["optional-dependencies"]) - tools
    assert [extra for extra in extras if f"nearfar[{extra}]" not in TEXT] == []


def test_every_guide_is_named_in_the_readme() -> None:
    readme = (DOCS.parent / "README.md").read_text()
    assert [page.name for page in PAGES if f"docs/{page.name}" not in readme] == []
    assert len(readme.splitlines()) <= 70
