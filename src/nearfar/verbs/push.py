"""``nearfar push``: a run's encoder on the Hugging Face hub."""

from __future__ import annotations

from os import PathLike

from nearfar.verbs.handing import takes_own


@takes_own
def push(
    run: PathLike[str] | str,
    repository: str,
    *,
    private: bool = False,
    encoder: str | None = None,
) -> None:
    """Upload a run's encoder with a model card; `nearfar.runs.hub.load` reads it back.

    Args:
        run: the run folder.
        repository: "owner/name" on the hub, or a local folder whose path begins with "." or "/".
        private: whether a new repository is private.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.
    """
    from nearfar.runs import hub

    print(hub.push(run, repository, private=private))
