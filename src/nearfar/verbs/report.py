"""``nearfar report``: one self-contained page about a run, or about several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from nearfar.errors import UserError
from nearfar.files import check_writable
from nearfar.runs.folder import REPORT, RunFolder
from nearfar.verbs.handing import takes_own


@takes_own
def report(
    *runs: Path | str,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    encoder: str | None = None,
    data: str | None = None,
    views: str | None = None,
) -> Path:
    """Write a page that opens without a network.

    Of one run: headline figures beside the baselines, health, what the views look like, curves,
    similarities, a map of the embeddings, nearest neighbours, mistakes, likely label errors and
    duplicates, and how it was made. Of several runs on the same
    data: which is best, by how much and whether that is sure, side by side. Runs of one
        configuration with other seeds are one arm.

    Args:
        runs: run folders; the first one is what the others are compared with.
        output: the page's file; by default report.html in the run folder, for several runs
            comparison.html here.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.
        data: the data that the run was trained on, where they are your own, likewise.
        views: its views, likewise.

    Returns:
        The page's path.

    Raises:
        UserError: for no run, a folder that is none, or runs that cannot be compared.
    """
    if not runs:
        raise UserError("No run was named; give one run folder or several.")
    opened = [RunFolder(run) for run in runs]
    if len(opened) == 1:
        from nearfar.reports.page import write_page

        if output is None:
            check_writable(opened[0].folder)  # before long work
        return write_page(opened[0], Path(output) if output else opened[0].folder / REPORT)
    from nearfar.comparison.gathering import comparison_of
    from nearfar.reports.comparison_page import write_comparison

    return write_comparison(
        comparison_of(opened), Path(output) if output else Path("comparison.html")
    )
