"""``nearfar export``: the encoder for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from nearfar.files import check_writable
from nearfar.runs.folder import RunFolder

_ENDING = {"safetensors": "", "onnx": ".onnx", "torch": ".pt2"}


def export(run: Path | str, *, format: str = "safetensors", output: Path | None = None) -> Path:  # noqa: A002
    """Write a run's encoder in another format and check its outputs against the original's.

    Prints the largest difference that was found and the lines of Python that load what was written.

    Args:
        run: the run folder.
        format: safetensors (a folder with weights and architecture), onnx, or torch (a torch.export
            program).
        output: where to write; by default encoder.onnx, encoder.pt2 or exported/ in the run folder.

    Returns:
        The written file or folder.

    Raises:
        UserError: for an unknown format, an existing output, or an encoder that the format cannot
            hold.
    """
    from nearfar.errors import unknown_name
    from nearfar.reports.told import shown
    from nearfar.runs.encoder_files import export_encoder

    if format not in _ENDING:
        raise unknown_name("format", format, _ENDING)
    opened = RunFolder(run)
    if output is None:
        check_writable(opened.folder)
    name = f"encoder{_ENDING[format]}" if _ENDING[format] else "exported"
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(shown(line), highlight=False, soft_wrap=True)

    encoder = opened.encoder() if format == "safetensors" else opened.features()
    return export_encoder(encoder, output or opened.folder / name, format, tell=tell)
