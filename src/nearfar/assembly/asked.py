"""The configuration that a user asks for: words over a file over defaults, or that of a run that is
resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.assembly.resume import resumed_config
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.options import Config, PretrainOptions, changed, read_config


def asked_config(
    name: str | None,
    settings: Mapping[str, Any],
    config: Path | str | None,
    options: Mapping[str, Any],
) -> Config:
    """The configuration as asked for, before the data are known."""
    resume = options.get("resume")
    if resume is not None:
        return _resumed(
            Path(resume), name, settings, {k: v for k, v in options.items() if k != "resume"}
        )
    start = read_config(Path(config)) if config is not None else Config("", PretrainOptions())
    chosen = name or start.method
    if not chosen:
        raise UserError(f"No method was named; choose one of: {', '.join(registry.names())}.")
    if "output" not in options:
        start = dataclasses.replace(start, options=dataclasses.replace(start.options, output=None))
    kept = start.settings if chosen == start.method else {}
    return Config(chosen, changed(start.options, options), {**kept, **settings})


def _resumed(
    folder: Path, name: str | None, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Config:
    from nearfar.data.remembered import check_config

    config = resumed_config(folder)
    check_config(folder, {**vars(config.options), "settings": config.settings})
    if name not in (None, config.method):
        raise UserError(
            f"{folder} was started with {config.method}, not {name}; leave the method out to "
            "resume it."
        )
    free = ("evaluate", "shard")
    different = [
        key
        for key, value in options.items()
        if key not in free and getattr(config.options, key, value) != value
    ]
    different += [key for key, value in settings.items() if config.settings.get(key) != value]
    if different:
        raise UserError(
            f"A resumed run keeps its configuration, but {', '.join(different)} differ(s); leave "
            "it out or start a new run."
        )
    shard = options.get(
        "shard", config.options.shard
    )  # where a whole run keeps its parameters is no part of what it computes
    return dataclasses.replace(
        config,
        options=dataclasses.replace(config.options, resume=folder, output=folder, shard=shard),
    )
