"""Encoders on a Hugging Face hub repository: pushed with a model card written from the run, loaded
by name.

A repository is "owner/name" on the hub, or a local folder that stands in for it, named by a path
that begins with "." or "/".
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

from nearfar.errors import UserError
from nearfar.files import write_text, writing
from nearfar.networks.encoder import Encoder
from nearfar.options import Config
from nearfar.runs.encoder_files import (
    DESCRIPTION,
    TOKENIZER,
    WEIGHTS,
    encoder_spec,
    load_encoder,
    name_of,
    versions_of,
)
from nearfar.runs.folder import CONFIG, EVALUATION, RunFolder
from nearfar.runs.method_files import METHOD, METHOD_WEIGHTS
from nearfar.stored import check_file

CARD = "README.md"
_FILES = (WEIGHTS, DESCRIPTION, TOKENIZER, METHOD, METHOD_WEIGHTS, CONFIG, EVALUATION)


def push(run: PathLike[str] | str, repository: str, *, private: bool = False) -> str:
    """Upload a run's encoder, configuration, evaluation and a model card.

    Args:
        run: the run folder.
        repository: "owner/name", made if it does not exist, or a local folder.
        private: whether a new repository is private.

    Returns:
        Where it is now.

    Raises:
        UserError: if the hub cannot be reached or refuses, or huggingface_hub is not installed.
    """
    opened = RunFolder(run)
    opened.encoder()  # refuses a run that has none
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in _FILES:
            if os.path.lexists(opened.folder / file):
                check_file(opened.folder / file, "restore it, or remove it to push the run without")
                shutil.copyfile(opened.folder / file, folder / file)
        write_text(folder / CONFIG, public_config(opened.config).to_toml(), overwrite=True)
        write_text(folder / CARD, model_card(opened, repository))
        return (
            _copied(folder, Path(repository))
            if _is_local(repository)
            else _uploaded(folder, repository, private)
        )


def load(repository: str, *, revision: str | None = None) -> Encoder:
    """An encoder that ``push`` uploaded, in evaluation mode; no code from the repository is run.

    Args:
        repository: "owner/name", or a local folder.
        revision: branch, tag or commit.

    Raises:
        UserError: if it cannot be reached, or holds no encoder.
    """
    folder = Path(repository) if _is_local(repository) else _downloaded(repository, revision)
    return load_encoder(folder)[0]


def public_config(config: Config) -> Config:
    """A configuration as it may be published: where files lie on this machine is left out, their
    last names stay.
    """
    options = config.options
    values: dict[str, Any] = {"output": None, "resume": None}
    if Path(options.data).is_absolute():
        values["data"] = Path(options.data).name
    values["start_from"] = tuple(_bare(place) for place in options.start_from)
    return dataclasses.replace(config, options=dataclasses.replace(options, **values))


def _bare(start: str) -> str:
    """Where a run started from, of an absolute path the last name alone.

    >>> _bare("teacher=/home/me/runs/first"), _bare("timm:vit@/home/me/w.safetensors")
    ('teacher=first', 'timm:vit@w.safetensors')
    """
    return re.sub(r"(^|[=@:])/.*/", r"\1", start.rstrip("/"))


def model_card(run: RunFolder, repository: str) -> str:
    """The model card of a run: how it was made, on what, how good it is beside its baselines, and
    how to use it.
    """
    encoder = run.encoder()
    config = run.config
    spec = encoder_spec(encoder)
    head = [
        "---",
        "library_name: nearfar",
        "pipeline_tag: feature-extraction",
        "tags:",
        "- self-supervised",
        f"- {config.method}",
    ]
    lines = [
        *head,
        f"- {spec.modality}",
        "---",
        "",
        f"# {name_of(encoder)}, pretrained with {config.method} on {spec.name}",
        "",
        f"Features of {encoder.dimension} dimensions for {spec.modality} samples of "
        f"{spec.size},"
        f" learned from {spec.length:,} samples.",
        "",
        "```python",
        "import nearfar.runs.hub",
        "",
        f'encoder = nearfar.runs.hub.load("{repository}")',
        "```",
        "",
    ]
    evaluation = run.evaluation()
    if evaluation is not None:
        rows = evaluation.rows()
        lines += [
            "## How good it is",
            "",
            "| | " + " | ".join(rows) + " |",
            "|---" * (len(rows) + 1) + "|",
        ]
        texts = {(score.metric, score.row): score.text() for score in evaluation.scores}
        lines += [
            f"| {m} | " + " | ".join(texts.get((m, row), "–") for row in rows) + " |"
            for m in evaluation.metrics()
        ]
        lines += ["", *(f"- {name}: {what}" for name, what in evaluation.protocols.items()), ""]
    versions = ", ".join(f"{name} {version}" for name, version in versions_of(run.folder).items())
    lines += [
        "## How it was made",
        "",
        f"`nearfar pretrain --config config.toml`, with {versions}:",
        "",
    ]
    lines += ["```toml", public_config(run.config).to_toml().strip(), "```", ""]
    return "\n".join(lines)


def _is_local(repository: str) -> bool:
    return repository.startswith((".", "/"))


def _copied(folder: Path, target: Path) -> str:
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            shutil.copyfile(file, target / file.name)
    return str(target)


def _uploaded(folder: Path, repository: str, private: bool) -> str:
    hub = _library()
    try:
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="Upload from nearfar"
        )
    except Exception as error:  # of the network, of the service, of its client
        raise UserError(
            f"Cannot push to {repository}: {_first_line(error)}; log in with `hf auth login` and "
            "check the name."
        ) from error
    return f"https://huggingface.co/{repository}"


def _downloaded(repository: str, revision: str | None) -> Path:
    hub = _library()
    try:
        return Path(
            hub.snapshot_download(repository, revision=revision, allow_patterns=list(_FILES))
        )
    except Exception as error:  # of the network, of the service, of its client
        raise UserError(
            f"Cannot load {repository} from the hub: {_first_line(error)}; check the name and the "
            "connection."
        ) from error


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "The hub needs the package huggingface_hub: pip install huggingface_hub."
        ) from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
