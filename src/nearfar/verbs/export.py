"""``nearfar export``: the encoder for use elsewhere."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

from rich.console import Console

from nearfar.assembly.opened import method_of
from nearfar.files import check_writable
from nearfar.runs.folder import RunFolder
from nearfar.verbs.handing import takes_own

_ENDING = {"safetensors": "", "onnx": ".onnx", "torch": ".pt2"}


@takes_own
def export(
    run: PathLike[str] | str,
    *,
    what: Literal["features", "predict"] = "features",
    format: str | None = None,  # noqa: A002
    output: Path | None = None,
    encoder: str | None = None,
) -> Path:
    """Write a run's encoder, or what its method predicts, in another format and check its outputs
    against the original's.

    Prints the largest difference that was found and the lines of Python that load what was written.

    Args:
        run: the run folder.
        what: features, or predict: what the method says of samples (probabilities, values, restored
            images ...), as onnx or torch.
        format: safetensors (a folder with weights and architecture; the default for features),
            onnx, or torch (a torch.export program; the default for predict).
        output: where to write; by default encoder.onnx, encoder.pt2 or exported/ in the run folder,
            for predict prediction.onnx or prediction.pt2.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Returns:
        The written file or folder.

    Raises:
        UserError: for an unknown format, an existing output, or an encoder that the format cannot
            hold.
    """
    from nearfar.errors import unknown_name
    from nearfar.reports.told import shown
    from nearfar.runs.encoder_files import export_encoder
    from nearfar.runs.portable_prediction import export_prediction

    chosen = format or ("torch" if what == "predict" else "safetensors")
    if chosen not in _ENDING:
        raise unknown_name("format", chosen, _ENDING)
    opened = RunFolder(run)
    if output is None:
        check_writable(opened.folder)
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(shown(line), highlight=False, soft_wrap=True)

    if what == "predict":
        path = output or opened.folder / f"prediction{_ENDING[chosen]}"
        difference = export_prediction(method_of(opened), Path(path), chosen)
        tell(
            f"Predictions of random samples differ from the original's by at most {difference:.2g}."
        )
        return Path(path)
    name = f"encoder{_ENDING[chosen]}" if _ENDING[chosen] else "exported"
    trained = opened.encoder() if chosen == "safetensors" else opened.features()
    return export_encoder(trained, output or opened.folder / name, chosen, tell=tell)
