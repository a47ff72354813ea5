"""Files of arrays, points, slices and frames: what is read, and what is said of damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nearfar.data import load
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.files.points import read_points
from nearfar.errors import UserError


def _random(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _all(source: Any) -> NDArray[Any]:
    found: NDArray[Any] = source.train.take(torch.arange(len(source.train))).numpy()
    return found


# Arrays, one a file


@pytest.mark.parametrize(
    ("shape", "said", "modality", "expected"),
    [
        ((3, 40), {}, "series", (3, 40)),
        ((40, 4), {}, "series", (4, 40)),
        ((60,), {}, "series", (1, 60)),
        ((16, 12), {"modality": "image"}, "image", (1, 16, 12)),
        ((16, 12, 5), {"modality": "image"}, "image", (5, 16, 12)),
        ((30, 3), {"modality": "points"}, "points", (3, 30)),
    ],
)
def test_a_folder_of_arrays(
    shape: tuple[int, ...],
    said: dict[str, Any],
    modality: str,
    expected: tuple[int, ...],
    tmp_path: Path,
) -> None:
    for number in range(6):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{number}.npy", _random(number, *shape))
    (tmp_path / "a" / "0.npy").write_bytes((tmp_path / "a" / "0.npy").read_bytes()[:-9])
    source = load(tmp_path, split=False, **said)
    assert (source.spec.modality, source.spec.shape) == (modality, expected)
    assert source.spec.classes == ("a", "b")
    assert source.train.ids == ["a/2.npy", "a/4.npy", "b/1.npy", "b/3.npy", "b/5.npy"]
    assert any("1 of 6" in note and "it is cut off" in note for note in source.notes)


def test_what_a_folder_of_arrays_asks_and_refuses(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", _random(number, 16, 16))
    with pytest.raises(UserError, match="--modality image or --modality series"):
        load(tmp_path)
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="Python objects, which could run code"):
        load(tmp_path)


# Points


def _ply(points: NDArray[np.float32], form: str) -> bytes:
    kind = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1")]
    table = np.zeros(len(points), dtype=kind)
    for axis, values in zip("xyz", points.T, strict=True):
        table[axis] = values
    header = (
        f"ply\nformat {form} 1.0\ncomment made here\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\nproperty uchar red\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    if form == "ascii":
        lines = "".join(f"{x:.9g} {y:.9g} {z:.9g} 7\n" for x, y, z in points.tolist())
        return (header + lines + "3 0 1 2\n").encode()
    order = "<" if "little" in form else ">"
    return header.encode() + table.astype(np.dtype(kind).newbyteorder(order)).tobytes()


@pytest.mark.parametrize(
    "kind", ["ascii", "binary_little_endian", "binary_big_endian", "xyz", "pts", "npy"]
)
def test_files_of_points(kind: str, tmp_path: Path) -> None:
    points = _random(0, 50, 3)
    ending = kind if kind in ("xyz", "pts", "npy") else "ply"
    path = tmp_path / f"cloud.{ending}"
    lines = "".join(f"{x:.9g} {y:.9g} {z:.9g} 12\n" for x, y, z in points.tolist())
    if kind == "npy":
        np.save(path, points)
    elif ending == "ply":
        path.write_bytes(_ply(points, kind))
    else:
        path.write_text(("50\n" if kind == "pts" else "") + lines)
    np.testing.assert_array_equal(read_points(path), points)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    if kind != "xyz":  # which states no number of points
        with pytest.raises(UnreadableError, match="cut off"):
            read_points(path)


def test_a_folder_of_clouds_of_several_sizes(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.ply").write_bytes(_ply(_random(number, 40 + number, 3), "ascii"))
    (tmp_path / "4.ply").write_bytes(b"ply\nno more")
    source = load(tmp_path, split=False)
    assert (source.spec.modality, source.spec.shape) == ("points", (3, 43))
    assert source.train.ids == [f"{number}.ply" for number in range(4)]
    assert any("different numbers of points; 43 evenly" in note for note in source.notes)
    assert load(tmp_path, split=False, size=16).spec.shape == (3, 16)
    for path in tmp_path.glob("*.ply"):
        path.write_text("ply\nformat ascii 1.0\nelement face 3\nproperty int x\nend_header\n")
    with pytest.raises(UserError, match="no vertex with x, y and z"):
        load(tmp_path)


# Pages and volumes


def test_pages_are_samples_or_clips_when_asked(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 255, (6, 4, 12, 10), dtype=np.uint8)
    for number, stack in enumerate(pages):
        images = [Image.fromarray(page) for page in stack]
        images[0].save(tmp_path / f"{number}.tif", save_all=True, append_images=images[1:])
    slices = load(tmp_path, volumes="slices")
    assert slices.test is not None
    assert len(slices.train) + len(slices.test) == 24
    assert slices.spec.groups == ("volume",)
    assert not {x[:5] for x in slices.train.ids} & {x[:5] for x in slices.test.ids}
    alone = load(tmp_path, volumes="slices", split=False)
    assert np.array_equal(_all(alone)[:, 0], pages.reshape(24, 12, 10))
    whole = load(tmp_path, volumes="whole", split=False)
    assert (whole.spec.modality, whole.spec.shape) == ("video", (1, 4, 12, 10))
    assert np.array_equal(_all(whole)[:, 0], pages)


def _nifti(path: Path, values: NDArray[Any]) -> None:
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_medical_volumes_by_slices_and_whole(ending: str, tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).integers(-900, 2000, (5, 12, 10, 4)).astype(np.int16)
    for number, values in enumerate(volumes):
        _nifti(tmp_path / f"{number}{ending}", values)
    source = load(tmp_path, split=False)
    assert (source.spec.modality, source.spec.shape) == ("image", (1, 10, 12))
    assert source.spec.extra["range"] == [int(volumes.min()), int(volumes.max())]
    assert source.spec.groups == ("volume",)
    expected = volumes.transpose(0, 3, 2, 1)[:, :, ::-1].reshape(20, 10, 12).astype(float)
    least, most = source.spec.extra["range"]
    shown = (expected - least) / (most - least) * 65535
    assert np.abs(_all(source)[:, 0] - shown).max() <= 1
    assert any("are read as 20 slices" in note for note in source.notes)
    whole = load(tmp_path, split=False, volumes="whole")
    assert (whole.spec.modality, whole.spec.shape) == ("video", (1, 4, 10, 12))
    assert np.array_equal(_all(whole).reshape(20, 10, 12), _all(source)[:, 0])


def test_what_is_wrong_with_medical_volumes(tmp_path: Path) -> None:
    for number in range(3):
        _nifti(tmp_path / f"{number}.nii", np.zeros((12, 10), np.float32))
    with pytest.raises(UserError, match="it has 2 axes, 12 x 10; expected a volume of 3"):
        load(tmp_path)
    for number in range(3):
        _nifti(tmp_path / f"{number}.nii", _random(number, 12, 10, 4))
    content = (tmp_path / "1.nii").read_bytes()
    (tmp_path / "1.nii").write_bytes(content[:700])
    source = load(tmp_path, split=False)
    assert len(source.train) == 8
    assert any("4 of 12 images of" in note for note in source.notes)


def _dicom(path: Path, values: NDArray[np.uint16] | None, **facts: Any) -> None:
    pydicom = pytest.importorskip("pydicom")
    held = pydicom.Dataset()
    held.file_meta = pydicom.dataset.FileMetaDataset()
    held.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    held.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID = pydicom.uid.generate_uid()
    held.SOPClassUID = pydicom.uid.CTImageStorage
    for name, value in facts.items():
        setattr(held, name, value)
    if values is not None:
        held.Rows, held.Columns = values.shape
        held.SamplesPerPixel, held.PhotometricInterpretation = 1, "MONOCHROME2"
        held.BitsAllocated, held.BitsStored, held.HighBit, held.PixelRepresentation = 16, 12, 11, 0
        held.PixelData = values.tobytes()
    held.save_as(path, enforce_file_format=True)


def test_slices_of_one_series_are_one_volume_in_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (4, 3, 10, 12)).astype(np.uint16)
    for volume in range(4):
        for place in range(3):
            _dicom(
                tmp_path / f"{volume}-{7 - place}.dcm",
                values[volume, place],
                SeriesInstanceUID=f"1.2.{volume}",
                PatientID=f"p{volume // 2}",
                InstanceNumber=place + 1,
                RescaleSlope=1,
                RescaleIntercept=-1024,
            )
    source = load(tmp_path, split=False)
    assert source.spec.groups == ("patient", "volume")
    assert source.spec.extra["range"] == [int(values.min()) - 1024, int(values.max()) - 1024]
    whole = load(tmp_path, split=False, volumes="whole")
    assert whole.spec.shape == (1, 3, 10, 12)
    shown = (values - values.min()) / (values.max() - values.min()) * 65535
    assert np.abs(_all(whole)[:, 0] - shown).max() <= 1
    for path in tmp_path.glob("*.dcm"):
        _dicom(path, None, PatientID="p")
    with pytest.raises(UserError, match="it holds no picture"):
        load(tmp_path)


# Videos


def _video(path: Path, frames: int, codec: str) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for number in range(frames):
            shade = np.full((24, 32, 3), 10 + 20 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(shade, "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "mpeg4"), ("avi", "mpeg4"), ("webm", "vp8")])
def test_videos_are_clips_of_evenly_chosen_frames(ending: str, codec: str, tmp_path: Path) -> None:
    codec = "libvpx" if codec == "vp8" else codec
    for number in range(4):
        _video(tmp_path / f"{number}.{ending}", 12, codec)
    source = load(tmp_path, split=False, frames=4)
    assert (source.spec.modality, source.spec.shape) == ("video", (3, 4, 24, 32))
    shades = _all(source).mean(axis=(1, 3, 4))
    assert np.abs(shades - (10 + 20 * np.array([0, 3, 6, 9]))).max() < 6
    assert load(tmp_path, split=False).spec.shape[1] == 8
    assert np.array_equal(_all(load(tmp_path, split=False, frames=4)), _all(source))


@pytest.mark.parametrize("fault", ["one frame", "cut off", "no video"])
def test_what_may_be_wrong_with_a_video(fault: str, tmp_path: Path) -> None:
    for number in range(4):
        _video(tmp_path / f"{number}.mp4", 12, "mpeg4")
    path = tmp_path / "2.mp4"
    if fault == "one frame":
        _video(path, 1, "mpeg4")
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if fault == "cut off" else b"nothing")
    source = load(tmp_path, split=False, frames=3)
    assert len(source.train) == (4 if fault == "one frame" else 3)
    if fault == "one frame":
        assert np.ptp(_all(source)[2].mean(axis=(0, 2, 3))) == 0
    else:
        assert any("2.mp4" in note and "cannot be read" in note for note in source.notes)


@pytest.mark.parametrize(
    ("library", "write", "extra"),
    [
        ("av", lambda path: (path / "a.mp4").write_bytes(b"x"), "video"),
        ("nibabel", lambda path: (path / "a.nii").write_bytes(b"x"), "medical"),
        ("pydicom", lambda path: (path / "a.dcm").write_bytes(b"x"), "medical"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    library: str,
    write: Callable[[Path], Any],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == library else found(name)
    )
    write(tmp_path)
    with pytest.raises(UserError, match=rf"pip install 'nearfar\[{extra}\]'"):
        load(tmp_path)


def test_one_array_of_samples(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 4000, (8, 5, 40, 36)).astype(np.uint16)
    np.save(tmp_path / "images.npy", images)
    with pytest.raises(UserError, match="--modality image or --modality series"):
        load(tmp_path / "images.npy")
    source = load(tmp_path / "images.npy", modality="image", split=False)
    assert source.spec.shape == (5, 40, 36)
    np.save(tmp_path / "one.npy", images[3])
    alone = load(tmp_path / "one.npy", like=source.spec, split=False)
    assert np.array_equal(_all(alone)[0], _all(source)[3])
    (tmp_path / "one.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"one\.npy cannot be read as \.npy"):
        load(tmp_path / "one.npy")
