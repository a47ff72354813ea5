"""The configuration of a run that is to go on, from its folder or, where that has lost it, from a
checkpoint.
"""

from __future__ import annotations

import os
from pathlib import Path

from nearfar.errors import UserError
from nearfar.files import write_text
from nearfar.options import Config, config_from, toml_values
from nearfar.runs.folder import CHECKPOINTS, CONFIG, RunFolder


def resumed_config(folder: Path) -> Config:
    """The configuration of the run in a folder.

    Raises:
        UserError: if the folder is no run folder, or its configuration is neither there nor in a
            checkpoint.
    """
    kept = kept_config(folder)
    return config_from(kept, folder / CONFIG) if kept else RunFolder(folder).config


def restore_config(folder: Path) -> str:
    """Write the configuration again where it was lost; a sentence about that, or "" where it was
    not.

    Raises:
        UserError: if it cannot be written.
    """
    kept = kept_config(folder)
    if not kept:
        return ""
    write_text(folder / CONFIG, kept, overwrite=True)
    return f"{folder / CONFIG} was lost or damaged; it was restored from a checkpoint."


def kept_config(folder: Path) -> str:
    """The text of a lost or damaged config.toml as a checkpoint has it; "" where nothing is lost,
    or no checkpoint has it.
    """
    if not _is_lost(folder / CONFIG):
        return ""
    from nearfar.training.care.checkpoints import newest_good

    try:
        found = newest_good(folder / CHECKPOINTS)
    except UserError:
        return ""
    text = "" if found is None else found[1].get("config", "")
    return text if isinstance(text, str) else ""


def _is_lost(path: Path) -> bool:
    """Whether a configuration is missing or is no longer TOML that names a method."""
    if not os.path.lexists(path):
        return True
    if not path.is_file():
        return False
    try:
        return "method" not in toml_values(path.read_text(encoding="utf-8"), path)
    except (UserError, UnicodeDecodeError):
        return True
    except OSError:
        return False
