"""The site's pages are made from every method, protocol, preparation, modality and schedule, and
the notebooks run. ``make site`` builds the whole.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from nearfar import modalities
from nearfar.data import prepare
from nearfar.evaluation.protocols import all_protocols
from nearfar.methods import registry
from nearfar.training import schedules

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "site" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, str] = module.pages()
    return found


def test_every_part_has_a_page(made: dict[str, str]) -> None:
    wanted = {
        *(f"methods/{name}.md" for name in registry.names()),
        *(f"protocols/{one.name}.md" for one in all_protocols()),
        *(f"preparations/{name}.md" for name in prepare.names()),
        *(f"modalities/{name}.md" for name in modalities.names()),
    }
    assert wanted <= set(made)
    assert all(f"## {name}\n" in made["schedules.md"] for name in schedules.names())


def test_a_methods_page_tells_its_choices_settings_departures_and_claim(
    made: dict[str, str],
) -> None:
    for name in registry.names():
        kind = registry.get(name)
        page = made[f"methods/{name}.md"]
        assert all(f"| {choice} | " in page for choice in kind.choices), name
        assert all(sentence in page for sentence in kind.paper.departures), name
        assert ("## The paper's claim, measured" in page) == (
            ROOT / "docs" / "results" / "claims" / f"{name}.json"
        ).exists(), name


def test_every_option_says_what_it_is(made: dict[str, str]) -> None:
    for path, page in made.items():
        silent = re.findall(r"^\| `([^`]+)` \|\s*\|", page, re.MULTILINE)
        assert not silent, (path, silent)


def test_the_navigation_names_pages_that_are_there(made: dict[str, str]) -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r": ([\w/-]+\.(?:md|ipynb))$", text, re.MULTILINE)
    root = {"index.md", "architecture.md", "contributing.md", "changelog.md"}
    assert len(named) > 20
    for place in named:
        assert place in root or place in made or (ROOT / "docs" / place).exists(), place


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=250, kernel_name="python3", resources=where).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)


def test_the_citation_is_complete() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(cited)
