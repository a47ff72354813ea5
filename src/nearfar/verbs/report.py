"""``nearfar report``: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path

from nearfar.run import REPORT, Run


def report(run: Path | str) -> Path:
    """Write report.html into the run folder: curves, results, nearest neighbours and a map of the embeddings.

    Args:
        run: the run folder.

    Returns:
        The page's path; it opens without a network.
    """
    from nearfar.reports.page import write_page

    opened = Run(run)
    return write_page(opened, opened.folder / REPORT)
