"""The configuration that a user asks for: words over a file over defaults, or that of a run that is
resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar import own
from nearfar.assembly.resume import resumed_config
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.options import Config, PretrainOptions, changed, read_config


def asked_config(
    name: str | None,
    settings: Mapping[str, Any],
    views: Mapping[str, Any] | str,
    config: Path | str | None,
    options: Mapping[str, Any],
) -> Config:
    """The configuration as asked for, before the data are known."""
    resume = options.get("resume")
    if resume is not None:
        others = {k: v for k, v in options.items() if k != "resume"}
        return _resumed(Path(resume), name, settings, views, others)
    start = read_config(Path(config)) if config is not None else Config("", PretrainOptions())
    chosen = name or start.method
    if not chosen:
        raise UserError(f"No method was named; choose one of: {', '.join(registry.names())}.")
    if "output" not in options:
        start = dataclasses.replace(start, options=dataclasses.replace(start.options, output=None))
    kept = start.settings if chosen == start.method else {}
    if isinstance(views, Mapping) and isinstance(start.views, Mapping):
        views = {**start.views, **views}
    return Config(
        chosen, changed(start.options, options), {**kept, **settings}, views or start.views
    )


def _resumed(
    folder: Path,
    name: str | None,
    settings: Mapping[str, Any],
    views: Mapping[str, Any] | str,
    options: Mapping[str, Any],
) -> Config:
    from nearfar.data.remembered import check_config

    config = resumed_config(folder)
    check_config(folder, config.facts)
    if name not in (None, config.method):
        raise UserError(
            f"{folder} was started with {config.method}, not {name}; leave the method out to "
            "resume it."
        )
    free = ("evaluate", "shard")
    different = [
        key
        for key, value in options.items()
        if key not in free and not _same(getattr(config.options, key, value), value)
    ]
    if views and not _same(views, config.views):
        different.append("views")
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


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an option are equal, or name what the user hands over."""
    texts = isinstance(one, str) and isinstance(other, str)
    return one == other or (texts and own.same(one, other))
