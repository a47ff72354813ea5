"""Which files hold what: the one list of endings that all readers and verbs go by."""

from __future__ import annotations

from pathlib import Path

IMAGE_ENDINGS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".jp2",
    ".j2k",
    ".jpx",
    ".avif",
)
IMAGE_FORMATS = (
    "PNG",
    "JPEG",
    "MPO",
    "WEBP",
    "BMP",
    "DIB",
    "GIF",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
)
"""The decoders that are tried. Others stay closed whatever a file is called: that of PostScript
starts another program."""
SOUND_ENDINGS = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
SERIES_ENDINGS = (".csv", ".tsv")
TABLE_ENDINGS = (".parquet",)
ARRAY_ENDINGS = (".npy",)
DICOM_ENDINGS = (".dcm", ".dicom")
SCAN_ENDINGS = (".nii", ".nii.gz", *DICOM_ENDINGS)
CLIP_ENDINGS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
CLOUD_ENDINGS = (".ply", ".xyz", ".pts")
SHARD_ENDINGS = (".tar",)
STRUCTURE_ENDINGS = (".pdb", ".ent", ".cif", ".mmcif")

KINDS = {
    "table": TABLE_ENDINGS,
    "image": IMAGE_ENDINGS,
    "sound": SOUND_ENDINGS,
    "series": SERIES_ENDINGS,
    "structure": STRUCTURE_ENDINGS,
    "array": ARRAY_ENDINGS,
    "scan": SCAN_ENDINGS,
    "clip": CLIP_ENDINGS,
    "cloud": CLOUD_ENDINGS,
    "shard": SHARD_ENDINGS,
}
"""Endings of each kind of files; of two kinds with as many files in a folder, the first here is
read."""


def ending_of(path: Path | str) -> str:
    """The ending of a file's name in small letters, with its dot; "" without one."""
    suffixes = Path(path).suffixes[-2:]
    joined = "".join(suffixes).lower()
    return joined if joined in SCAN_ENDINGS else Path(path).suffix.lower()


def kind_of(path: Path | str) -> str | None:
    """What a file holds, by its ending; None where no reader takes it."""
    ending = ending_of(path)
    return next((kind for kind, endings in KINDS.items() if ending in endings), None)
