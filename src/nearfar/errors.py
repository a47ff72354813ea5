"""The one exception that means "you can mend this", and how a wrong name is answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake of the user's: one sentence that names the thing, what was found, what was expected and how to mend it.

    The command line prints it without a traceback and exits with 2; everything else is a defect of ours (exit code 1).
    """


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UserError:
    """The error for a name that is not in ``valid``, with the nearest valid names.

    Args:
        kind: what is named, as the user would call it ("method", "encoder", "setting").
        name: what was given.
        valid: all names that would have been accepted.
    """
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"valid names: {', '.join(names)}."
    return UserError(f"Unknown {kind} {name!r}: {hint}")
