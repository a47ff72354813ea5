"""Programs as files: ONNX, and what ``torch.export`` writes; both hold their description."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError, brief
from nearfar.rows import named_tensors
from nearfar.runs.portable import SERIES_AXES, Features, Portable, shorter_of, takes


def write_onnx(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ONNX with the description, as JSON, under the metadata key "nearfar".

    Raises:
        UserError: If a package is missing, or the model cannot be written as a program.
    """
    onnx = _extra("onnx")
    _extra("onnxscript")
    program = _program(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own code
        written = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
        )
    assert written is not None
    found = written.model_proto
    found.graph.input[0].doc_string = takes(model.spec, model.inputs)
    text = json.dumps({**description, "inputs": list(model.inputs)})
    onnx.helper.set_model_props(found, {"nearfar": text})
    onnx.save(found, path)


def read_onnx(path: Path) -> Features:
    """What an ONNX file gives for raw samples, computed by onnxruntime."""
    session = _extra("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = {one.name for one in session.get_inputs()}

    def run(samples: Any) -> Any:
        tensors = named_tensors(samples)
        fed = {name: value.numpy() for name, value in tensors.items() if name in wanted}
        found = [torch.from_numpy(one) for one in session.run(None, fed)]
        return found[0] if len(found) == 1 else tuple(found)

    return run


def _program(model: Portable) -> torch.export.ExportedProgram:
    """The model as a graph of operations in which N and the lengths that it takes are free.

    The model's inputs are then those that matter to what it gives, and it is known whether lengths
    are free.

    Raises:
        UserError: If what it does depends on values in a way that no program can hold.
    """
    program = _exported(model)
    users = {node.name: node.users for node in program.graph.nodes}
    names = zip(model.inputs, program.graph_signature.user_inputs, strict=True)
    used = tuple(name for name, place in names if users.get(str(place)))
    if used != model.inputs:
        model.inputs = used
        program = _exported(model)
    model.any_length = _takes_any_length(program, model)
    return program


def _takes_any_length(program: torch.export.ExportedProgram, model: Portable) -> bool:
    shorter = shorter_of(model.example)
    if shorter is None:
        return False
    try:
        program.module()(*model.tensors_of(shorter))
    except (AssertionError, RuntimeError):  # a length that the program was made for
        return False
    return True


def _exported(model: Portable) -> torch.export.ExportedProgram:
    tensors = model.tensors_of(model.example)
    pairs = zip(model.inputs, tensors, strict=True)
    free = tuple(_free_axes(name, value) for name, value in pairs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, tensors, dynamic_shapes=(free,))
    except Exception as error:  # the exporter raises whatever it likes
        raise UserError(
            f"This cannot be written as a program, as the exporter says: {brief(error)}; keep the "
            "run folder, or export as safetensors."
        ) from error


def _free_axes(name: str, value: Tensor) -> dict[int, Any]:
    auto = torch.export.Dim.AUTO
    if name == "edges":
        return {1: auto}
    if name in ("ids", "mask"):
        return {0: auto, 1: auto}
    return {0: auto, 2: auto} if value.ndim == SERIES_AXES else {0: auto}


def write_program(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ``torch.export`` does, with the description as the extra file
    "nearfar.json".

    Raises:
        UserError: If the model cannot be written as a program.
    """
    program = _program(model)
    text = json.dumps({**description, "inputs": list(model.inputs)})
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"nearfar.json": text})


def read_program(path: Path) -> Features:
    """What a file that ``write_program`` wrote gives for raw samples."""
    extra = {"nearfar.json": ""}
    with path.open("rb") as file:
        module = torch.export.load(file, extra_files=extra).module()
    inputs = json.loads(extra["nearfar.json"]).get("inputs", ["input"])

    def run(samples: Any) -> Any:
        named = named_tensors(samples)
        return module(*(named[name] for name in inputs))

    return run


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"The format onnx needs {module}, which is not installed: pip install "
            "'nearfar[export]'."
        ) from error
