"""Where decoded data and the machine's probes are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$NEARFAR_CACHE`` or ``~/.cache/nearfar`` (below ``$XDG_CACHE_HOME`` where that is set); not
    created here.
    """
    if "NEARFAR_CACHE" in os.environ:
        return Path(os.environ["NEARFAR_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nearfar"
