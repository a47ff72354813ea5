"""Methods as programs that predict without nearfar: the normalisation in front, one input, and an
output for each tensor of the result.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name
from nearfar.files import replacing
from nearfar.methods.method import Method
from nearfar.methods.names import name_of
from nearfar.results.result import Result
from nearfar.rows import Parts
from nearfar.runs import portable, program_files

_FORMATS = {
    "onnx": (program_files.write_onnx, program_files.read_onnx),
    "torch": (program_files.write_program, program_files.read_program),
}


class PortablePrediction(portable.Portable):
    """A copy of a method's ``predict`` with the normalisation in front, on the CPU, in float32 and
    evaluation mode.

    Args:
        method: Of samples of several parts the program takes the first part alone.

    Raises:
        UserError: If the method predicts nothing, needs more than the first part, or predicts what
            is not made of tensors; or for samples that programs do not take.
    """

    def __init__(self, method: Method) -> None:
        torch.nn.Module.__init__(self)
        if method.predicts is None:
            raise UserError(
                f"{name_of(type(method))} predicts nothing; leave --what predict out, and its "
                "features are exported."
            )
        spec = method.spec
        self.part = next(iter(spec.parts), "")
        self._take(spec.parts[self.part] if self.part else spec)
        self.method = copy.deepcopy(method)
        self.to("cpu", torch.float32).eval().requires_grad_(False)
        found = self._predicted(self.example)
        self.outputs = tuple(found)

    def forward(self, *tensors: Tensor) -> Any:
        samples = self.samples(tensors)
        predicted = self._predicted(samples)
        found = tuple(self.checked(samples, value) for value in predicted.values())
        return found if len(found) > 1 else found[0]

    def _predicted(self, samples: Any) -> dict[str, Tensor]:
        """The tensors of the result, by name."""
        plain = self.normalised(samples)
        try:
            result = self.method.predict(Parts({self.part: plain}) if self.part else plain)
        except KeyError as error:
            raise UserError(
                f"{name_of(type(self.method))} predicts from more than {self.part}, and a program "
                "takes one input; use `nearfar predict`."
            ) from error
        return _tensors(result)


def _tensors(result: Result) -> dict[str, Tensor]:
    names = [one.name for one in dataclasses.fields(result)]  # type: ignore[arg-type]
    values = {name: getattr(result, name) for name in names}
    found = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    lists = [name for name, value in values.items() if hasattr(value, "sizes")]
    if not found or lists:
        raise UserError(
            f"A {type(result).__name__.lower()} result is not made of tensors alone; use `nearfar "
            "predict`."
        )
    return found


def export_prediction(method: Method, path: Path, format: str) -> float:  # noqa: A002
    """Write what a method predicts as a program, and check it on random inputs.

    Args:
        method: In evaluation mode.
        path: The file, which must not exist.
        format: "onnx" or "torch".

    Returns:
        The largest difference of any output.

    Raises:
        UserError: For another format, an existing path, or a method that cannot be written so.
        RuntimeError: If an output differs from the method's by more than ``portable.TOLERANCE``;
            the file is then not kept.
    """
    if format not in _FORMATS:
        raise unknown_name("format of a prediction", format, _FORMATS)
    model = PortablePrediction(method)
    write, read = _FORMATS[format]
    description = {
        "method": name_of(type(method)),
        "predicts": type(method).predicts.__name__,  # type: ignore[union-attr]
        "outputs": list(model.outputs),
        "classes": list(method.spec.classes),
        "spec": dataclasses.asdict(model.spec),
    }
    with replacing(path) as temporary:
        write(model, temporary, description)
        return portable.check_features(model.of_samples, read(temporary), model.examples())
