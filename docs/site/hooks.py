"""What MkDocs calls while it builds the site: pages made from classes, and those of the root."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from pages import ROOT, pages

FROM_THE_ROOT = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Place on the site to a page that lies in the repository's root."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
_MADE = {
    "Methods": "methods",
    "Losses": "losses",
    "Protocols": "protocols",
    "Preparations": "preparations",
    "Modalities": "modalities",
}
"""Sections whose pages are made from classes, and their folders."""


def on_config(config: Any) -> Any:
    """Name the pages that are made in the navigation, and all that lie in ``results``."""
    made = pages()
    results = sorted((ROOT / "docs" / "results").glob("*.md"))
    inside = {folder: [p for p in made if p.startswith(f"{folder}/")] for folder in _MADE.values()}
    inside["results"] = [f"results/{file.name}" for file in results]
    for entry in config.nav:
        for title, content in entry.items():
            if isinstance(content, str) and content in inside:
                entry[title] = inside[content]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of ``docs`` holds."""
    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    for place, source in FROM_THE_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make links of the repository links of the site.

    A link to a page of the site leads there. A link to any other file of the repository becomes its
    path, as the site does not hold the file.
    """
    place = page.file.src_uri
    source = FROM_THE_ROOT.get(place, f"docs/{place}")
    home = posixpath.dirname(source)
    sites = {source: place for place, source in FROM_THE_ROOT.items()}

    def mended(found: re.Match[str]) -> str:
        picture, words, given = found.groups()
        target, mark, part = given.partition("#")
        path = posixpath.normpath(posixpath.join(home, target))
        on_site = sites.get(path, path.removeprefix("docs/"))
        if path == "docs/results":
            on_site = "results/claims.md"
        if files.get_file_from_path(on_site) is not None:
            relative = posixpath.relpath(on_site, posixpath.dirname(place) or ".")
            return f"{picture}[{words}]({relative}{mark}{part})"
        if (ROOT / path).exists():
            return f"{words} (`{path}`)"
        return found[0]

    return _LINK.sub(mended, markdown)
