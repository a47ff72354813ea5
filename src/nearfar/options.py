"""The options of ``nearfar pretrain``: one dataclass from which the command line, the Python call
and ``config.toml`` are made.

Nothing here imports torch, so that help is instant.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from nearfar.data.prepare import preparation_of
from nearfar.errors import UserError, brief, unknown_name
from nearfar.ranges import at_least, checked, unit_interval, whole_number
from nearfar.stored import check_depth, read_text
from nearfar.training.optimisers.choices import optimizer_choice
from nearfar.training.schedules import schedule_of

MOST_SAMPLES = 1 << 40
MOST_SEED = (1 << 31) - 1
_LARGEST_CONFIG = 1 << 16  # bytes; what nearfar writes has about 1,000
_MANY_DOTS = re.compile(r"(?:[^\s.=]*[ \t]*\.[ \t]*){50}")


@dataclass(frozen=True)
class PretrainOptions:
    """How to pretrain. ``None`` means: as the method's recipe says.

    Attributes:
        data: name of a known data set or a path (see ``nearfar datasets``); DATA#COLUMN=VALUE takes
            the rows with that value.
        encoder: name of an encoder; by default a small one that fits the data.
        output: run folder to create; by default runs/METHOD-DATA, numbered when that exists.
        start_from: what to start from: a run folder, a .safetensors file of weights (with
            --encoder timm:NAME), timm:NAME@pretrained, hf:PATH, hub:OWNER/NAME or nearfar:NAME; it
            gives the encoder's weights, or the finished part that the method needs. NAME=START, or
            --start-from.NAME START, says which part.
        resume: run folder to continue, to the bit, from its last checkpoint.
        recipe: "small" for laptops and small samples, "paper" for the published settings, "auto" to
            choose by the amount of data, "continue" to go on with a finished encoder: as "auto",
            with a tenth of the learning rate, --layer-decay 0.75, --freeze 1 and a short warm-up.
        prepare: what is done to the data before training, in order, each as NAME:key=value, such as
            label-noise:rate=0.4.
        epochs: passes over the training samples.
        steps: optimiser steps in all, instead of epochs.
        batch_size: samples in one optimiser step, over all processes.
        learning_rate: peak for a batch of 256; scales linearly with the batch.
        weight_decay: for weight matrices.
        final_weight_decay: the same at the end of the run, reached along half a cosine; by default
            it stays.
        layer_decay: factor of the learning rate from each layer of the encoder to the one before
            it, such as 0.75; by default all learn alike.
        freeze: depths of the encoder, from the input on, that stay as they are; by default all
            learn.
        optimizer: adamw, adam, sgd, lars, larc or muon, with options as in adam:beta1=0.5.
        schedule: how the learning rate moves: cosine, constant, linear, steps, infinite ..., with
            options as in infinite:constant=0.3.
        scale: whether the learning rate grows with the batch.
        warmup: share of the steps in which the learning rate rises.
        clip: largest gradient norm; 0 means no clipping.
        weight_average: decay of a running average of the weights, such as 0.999, which is evaluated
            and exported in their place; by default the weights of the last step are.
        accumulate: split each batch into this many parts for the forward pass; negatives then come
            from one part only.
        gradient_cache: embed in chunks of this many samples and contrast the whole batch; 0 means
            off.
        precision: "auto" uses bfloat16 where a probe of this machine shows a gain.
        device: "auto", "cpu", "cuda", "mps" ...
        compile: compile the encoder with torch.compile.
        activation_checkpointing: keep no activations inside of the encoder's blocks and compute
            them again in the backward pass, which saves memory and costs time; the run is the same.
        shard: divide parameters, gradients and optimiser state over the processes, for networks
            that are large for one device.
        order: group column through whose members the run goes once, one after another, such as the
            tasks of --with stream:tasks=3.
        branch: steps that a copy of the method falls at the end of each member of --order, which is
            delivered to OUTPUT/tasks/NUMBER while the run goes on as it stands; 0: none.
        seed: of every random draw.
        limit: use at most this many training samples.
        evaluate_every: epochs between two online kNN probes; 0 means about ten times a run.
        keep_best: keep encoder and method as they were when the online probe was highest, in the
            folder best of the run, beside the last.
        early_stop: end the run after so many online probes in a row without a higher score; by
            default it goes to its end.
        checkpoint_minutes: minutes between two checkpoints.
        log: trackers to write to beside metrics.jsonl: tensorboard, wandb, mlflow, trackio.
        evaluate: judge the encoder at the end and write the report.
        strict: refuse data with unreadable files instead of skipping them.
        text_column: which column holds the text of image-text pairs.
        image_column: which column holds the image.
        size: side of the square images (of clips: frames) in pixels, steps of series, tokens of
            texts, frames of sound, or points.
        modality: what arrays hold, where they may hold several things: image, series, points or
            video.
        channels: whether the channels of arrays come first (N, C, ...) or last (N, ..., C).
        volumes: of files with several slices or pages: first reads the first alone, slices each as
            a sample, whole all as one clip; by default the first page of TIFF files, and the slices
            of medical volumes.
        frames: of a video that are taken, evenly chosen; 8 by default.
        store: side in pixels at which whole pictures are stored, from which views of --size are
            cropped; by default the middle square is stored at the size of the views.
        label: which column or array holds the label; NAME,NAME joins several of real numbers.
        group: which column or array holds the group (patient, speaker) that a split must not tear
            apart.
    """

    data: str = "cluttered-digits"
    encoder: str | None = None
    output: Path | None = None
    start_from: tuple[str, ...] = ()
    resume: Path | None = None
    recipe: Literal["auto", "small", "paper", "continue"] = "auto"
    prepare: tuple[str, ...] = ()
    epochs: Annotated[int, whole_number()] | None = None
    steps: Annotated[int, whole_number(most=MOST_SAMPLES)] | None = None
    batch_size: Annotated[int, whole_number(2)] | None = None
    learning_rate: Annotated[float, at_least(0)] | None = None
    weight_decay: Annotated[float, at_least(0)] | None = None
    final_weight_decay: Annotated[float, at_least(0)] | None = None
    layer_decay: Annotated[float, unit_interval(zero=False)] | None = None
    freeze: Annotated[int, whole_number(0)] | None = None
    optimizer: str | None = None
    schedule: str | None = None
    scale: bool | None = None
    warmup: Annotated[float, unit_interval()] | None = None
    clip: Annotated[float, at_least(0)] | None = None
    weight_average: Annotated[float, unit_interval(zero=False, one=False)] | None = None
    accumulate: Annotated[int, whole_number()] = 1
    gradient_cache: Annotated[int, whole_number(0)] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    compile: bool = False
    activation_checkpointing: bool = False
    shard: bool = False
    order: str | None = None
    branch: Annotated[int, whole_number(0)] = 0
    seed: Annotated[int, whole_number(0, MOST_SEED)] = 0
    limit: Annotated[int, whole_number(2, MOST_SAMPLES)] | None = None
    evaluate_every: Annotated[int, whole_number(0)] = 0
    keep_best: bool = False
    early_stop: Annotated[int, whole_number()] | None = None
    checkpoint_minutes: Annotated[float, at_least(0)] = 5.0
    log: tuple[Literal["tensorboard", "wandb", "mlflow", "trackio"], ...] = ()
    evaluate: bool = True
    strict: bool = False
    text_column: str | None = None
    image_column: str | None = None
    size: Annotated[int, whole_number(1)] | None = None
    modality: Literal["image", "series", "points", "video"] | None = None
    channels: Literal["first", "last"] | None = None
    volumes: Literal["first", "slices", "whole"] | None = None
    frames: Annotated[int, whole_number(1, 4096)] | None = None
    store: Annotated[int, whole_number(8, 8192)] | None = None
    label: str | None = None
    group: str | None = None


FLAGS: Mapping[str, str] = {"prepare": "with", "start_from": "start-from"}
"""Options that are called otherwise on the command line, where each may come several times."""

OPTION_GROUPS: Mapping[str, tuple[str, ...]] = {
    "data": (
        "data",
        "label",
        "group",
        "text_column",
        "image_column",
        "size",
        "modality",
        "channels",
        "volumes",
        "frames",
        "store",
        "limit",
        "strict",
        "prepare",
    ),
    "training": (
        "recipe",
        "encoder",
        "start_from",
        "epochs",
        "steps",
        "batch_size",
        "optimizer",
        "learning_rate",
        "schedule",
        "scale",
        "weight_decay",
        "final_weight_decay",
        "layer_decay",
        "freeze",
        "warmup",
        "clip",
        "weight_average",
        "accumulate",
        "gradient_cache",
        "order",
        "branch",
        "seed",
    ),
    "machine": ("device", "precision", "compile", "activation_checkpointing", "shard"),
    "output": (
        "output",
        "resume",
        "evaluate",
        "evaluate_every",
        "keep_best",
        "early_stop",
        "checkpoint_minutes",
        "log",
    ),
}
"""The sections in which help lists the options; each option stands in one."""


@dataclass(frozen=True)
class Config:
    """All that repeats a run: the method, its resolved options and settings.

    Attributes:
        method: its name.
        options: of the run.
        settings: of the method, by name.
        views: strengths of views that are other than the method's, by name; or the name of views of
            the user's own.
    """

    method: str
    options: PretrainOptions
    settings: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] | str = field(default_factory=dict)

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings, and the views as "views.NAME" or "views", by name."""
        if isinstance(self.views, str):
            return {**self.settings, "views": self.views}
        return {**self.settings, **{f"views.{name}": one for name, one in self.views.items()}}

    @property
    def facts(self) -> dict[str, Any]:
        """All of it but the method, by name."""
        views = {"views": self.views} if self.views else {}
        return {**vars(self.options), "settings": dict(self.settings), **views}

    def to_toml(self) -> str:
        """As TOML; what is None is left out."""
        import tomli_w

        options = _toml_values(vars(self.options))
        settings = _toml_values(self.settings)
        options.pop("resume", None)
        found: dict[str, Any] = {"method": self.method, **options}
        if isinstance(self.views, str):
            found["views"] = self.views
        elif self.views:
            found["views"] = _toml_values(self.views)
        return tomli_w.dumps({**found, "settings": settings})


REMOVED = {
    "inflate": "write --with inflate:NAME (prepare=['inflate:NAME'] in Python and config.toml)",
    "copies": "write --with inflate:copies=NUMBER",
}
"""Options of older versions, and what replaces them."""


def _toml_values(values: Mapping[str, Any]) -> dict[str, Any]:
    written = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in values.items()
        if value is not None
    }
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in written.items()
    }


def read_config(path: Path) -> Config:
    """Read a ``config.toml``.

    Raises:
        UserError: if the file is missing, is not TOML or has an unknown key.
    """
    return config_from(
        read_text(path, "give a config.toml that nearfar wrote", most=_LARGEST_CONFIG), path
    )


def config_from(text: str, path: Path) -> Config:
    """The configuration in the text of a ``config.toml``; ``path`` is for errors, which are those
    of ``read_config``.
    """
    values = toml_values(text, path)
    if "method" not in values:
        raise UserError(
            f'The configuration {path} names no method; add a line such as method = "simclr".'
        )
    method = checked(str, f"The method in {path}", values.pop("method"))
    settings = checked(
        dict[str, Any], f"The table of settings in {path}", values.pop("settings", {})
    )
    views = checked(dict[str, Any] | str, f"The table of views in {path}", values.pop("views", {}))
    return Config(method, changed(PretrainOptions(), _of_today(values)), settings, views)


def _of_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an older configuration in today's form."""
    found = {name: value for name, value in values.items() if name not in REMOVED}
    older = [f"images={values['inflate']}"] if values.get("inflate") else []
    if values.get("copies", 1) != 1:
        older.append(f"copies={values['copies']}")
    if older:
        found["prepare"] = ["inflate:" + ",".join(older), *values.get("prepare", ())]
    return found


def toml_values(text: str, path: Path) -> dict[str, Any]:
    """What the text of a ``config.toml`` says, unchecked.

    Raises:
        UserError: if it is not TOML, is too long or is nested too deep; ``path`` is for the error.
    """
    if len(text) > _LARGEST_CONFIG:
        raise UserError(
            f"The configuration {path} has {len(text):,} characters; expected at most "
            f"{_LARGEST_CONFIG:,}."
        )
    deep = f"The configuration {path} is nested too deep; expected options and settings."
    if _MANY_DOTS.search(text):  # read in time with the square, or the cube, of their number
        raise UserError(deep)
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise UserError(deep) from error
    except ValueError as error:
        raise UserError(
            f"The configuration {path} is not valid TOML: {brief(str(error))}."
        ) from error
    check_depth(values, f"The configuration {path}", "give one that nearfar wrote")
    return values


def changed(options: PretrainOptions, values: Mapping[str, Any]) -> PretrainOptions:
    """``options`` with some values replaced.

    Raises:
        UserError: for an unknown name (with the nearest valid ones) or a value out of range.
    """
    hints = typing.get_type_hints(PretrainOptions, include_extras=True)
    for name in values:
        if name in REMOVED:
            raise UserError(f"The option {name} is no more: {REMOVED[name]}.")
        if name not in hints:
            raise unknown_name("option", name, hints)
    listed = {"prepare", "start_from"}
    values = {
        key: (str(value),) if key in listed and isinstance(value, str | Path) else value
        for key, value in values.items()
    }
    fitting = {key: checked(hints[key], f"Option {key}", value) for key, value in values.items()}
    options = dataclasses.replace(options, **fitting)
    _check_together(options)
    return options


def _check_together(options: PretrainOptions) -> None:
    if options.optimizer is not None:
        optimizer_choice(options.optimizer)
    if options.schedule is not None:
        schedule_of(options.schedule)
    for one in options.prepare:
        preparation_of(one)
    for tracker in options.log:
        if importlib.util.find_spec(tracker) is None:
            raise UserError(f"Logging to {tracker} needs its package: pip install {tracker}.")
    if options.branch and options.order is None:
        raise UserError(
            "Option branch delivers at the end of each member of a column, but none orders the "
            "run; give --order, such as task with --with stream:tasks=3."
        )
    if options.branch and options.weight_average is not None:
        raise UserError(
            "Options branch and weight_average were both given, but a branch delivers the weights "
            "of its last step; leave one out."
        )
    if options.branch and options.shard:
        raise UserError(
            "Options branch and shard were both given, but divided parameters cannot be copied; "
            "leave one out."
        )
    if options.activation_checkpointing and options.compile:
        raise UserError(
            "Options activation_checkpointing and compile were both given, but torch.compile "
            "chooses by itself what it computes again; leave one out."
        )
    if options.accumulate > 1 and options.gradient_cache:
        raise UserError(
            "Options accumulate and gradient_cache were both given; choose one: gradient_cache "
            "keeps all negatives."
        )


def resolved_settings(kind: type[Any], *layers: Mapping[str, Any]) -> Any:
    """An instance of a method's ``Settings`` from layers of values, the last one winning.

    Raises:
        UserError: for an unknown setting, a value of the wrong type, or one outside its declared
            range or choice.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [f.name for f in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in names:
                raise unknown_name("setting", name, names)
            values[name] = checked(hints[name], f"Setting {name}", value)
    return kind(**values)
