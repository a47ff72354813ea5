"""A run opened again: its data, and its whole method, also of runs older than method files."""

from __future__ import annotations

from nearfar.assembly.assemble import assemble
from nearfar.assembly.loaded import own_data
from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.runs.folder import CHECKPOINTS, CONFIG, RunFolder
from nearfar.runs.method_files import METHOD
from nearfar.training.care.checkpoints import newest_good


def source_of(run: RunFolder) -> Source:
    """The data that a run was trained on, with the split that it was made with."""
    return own_data(run.folder, run.config.options)


def method_of(run: RunFolder) -> Method:
    """The whole method, in evaluation mode; of older runs as of their last checkpoint.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    if (run.folder / METHOD).exists():
        return run.method()
    found = newest_good(run.folder / CHECKPOINTS)
    if found is None:
        raise UserError(f"{run.folder} has no checkpoint; start the run again.")
    method = assemble(run.config, source_of(run)).method
    try:
        method.load_state_dict(found[1]["method"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"The checkpoint {found[0]} does not fit {run.folder / CONFIG}; restore the pair."
        ) from error
    return method.eval()
