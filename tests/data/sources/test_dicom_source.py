"""Folders of DICOM files: a row a frame, patients by number, and no name in what is written."""

import sys

import numpy as np
import pytest
from dicom_maker import MARKER, dicom, region

from breastus.cli.main import main
from breastus.config.schema import DataConfig
from breastus.data.images import read_image
from breastus.data.manifest.build import load_manifest
from breastus.data.sources.dicom_folder import evenly_spaced
from breastus.data.sources.resolve import read_content
from breastus.data.splits.make import make_splits, read_splits, write_splits
from breastus.errors import DataError


@pytest.fixture
def write_dicom(speckle):
    """A function (path, seed, frames) that writes a DICOM file; returns the path."""

    def write(path, seed=0, frames=1, **elements):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(30, 255, (frames, 8, 10)).repeat(8, axis=1).repeat(8, axis=2)
        pixels = (pixels // 4 * 3 + speckle(64, 80, seed)[..., 0] // 4).astype(np.uint8)
        if frames > 1:
            elements["NumberOfFrames"] = frames
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(pixels if frames > 1 else pixels[0], **elements))
        return path

    return write


def content(path, **options):
    return read_content(path, known_faults=True, **options)


def by_name(found):
    return {image.name: image for image in found.images}


def test_a_folder_of_files(tmp_path, write_dicom):
    write_dicom(tmp_path / "a" / "IM_0001", 1, PatientID="second name, first file")
    write_dicom(tmp_path / "a" / "1.2.840.7", 2, PatientID="X", BurnedInAnnotation="YES")
    write_dicom(tmp_path / "b" / "scan.dcm", 3, PatientID="second name, first file ")
    regions = [region(0, 0, 9, 9), region(0, 0, 5, 5, RegionDataType=2)]
    write_dicom(tmp_path / "c.DCM", 4, PatientID="", SequenceOfUltrasoundRegions=regions)
    write_dicom(tmp_path / "DICOMDIR", 5)
    (tmp_path / "notes").write_text("not an image")
    found = content(tmp_path)
    assert found.source == "dicom"
    assert found.problems == []
    images = by_name(found)
    assert list(images) == ["a/1.2.840.7", "a/IM_0001", "b/scan", "c"]
    assert [image.patient_id for image in images.values()] == [
        *("patient-0001", "patient-0002", "patient-0002", "")
    ]
    assert images["a/1.2.840.7"].flags == ("burned_in_text", "no_region")
    assert images["c"].flags == ("color_doppler",)
    assert {(image.label, image.finding) for image in found.images} == {("", "unknown")}


def test_frames_of_a_sweep(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "sweep.dcm", frames=12)
    (middle,) = content(tmp_path).images
    assert (middle.name, middle.path.name) == ("sweep/frame 06", "sweep.dcm#frame=6")
    three = content(tmp_path, dicom_frames=3).images
    assert [image.name for image in three] == [f"sweep/frame {n}" for n in ("02", "06", "10")]
    seen = [read_image(image.path) for image in three]
    np.testing.assert_array_equal(seen[1], read_image(f"{path}#frame=6"))
    assert not np.array_equal(seen[0], seen[1])
    assert len(content(tmp_path, dicom_frames=100).images) == 12


@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("wanted", [1, 2, 5, 30])
def test_frames_are_spread_evenly(count, wanted):
    numbers = evenly_spaced(count, wanted)
    assert len(set(numbers)) == len(numbers) == min(count, wanted)
    assert numbers[0] >= 1
    assert numbers[-1] <= count
    steps = np.diff(numbers)
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_class_folders_may_hold_them(tmp_path, write_dicom, write_image):
    write_dicom(tmp_path / "lump" / "a.dcm", 1, PatientID="P")
    write_image(tmp_path / "lump" / "a_mask.png", 2)
    write_dicom(tmp_path / "lump" / "sweep", 3, frames=4, PatientID="P")
    write_image(tmp_path / "no_lump" / "b.png", 4)
    write_dicom(tmp_path / "train" / "malignant" / "c.dcm", 5, PatientID="Q")
    found = content(tmp_path, dicom_frames=2)
    assert found.source == "folder"
    images = by_name(found)
    assert sorted(images) == [
        *("lump/a", "lump/sweep/frame 1", "lump/sweep/frame 3", "no_lump/b", "train/malignant/c")
    ]
    assert [images[name].patient_id for name in sorted(images)] == [
        *("patient-0001", "patient-0001", "patient-0001", "", "patient-0002")
    ]
    assert [images[name].label for name in sorted(images)] == [*["lump"] * 3, "no_lump", "lump"]
    assert len(images["lump/a"].mask_paths) == 1
    assert [problem for problem in found.problems if "patient" in problem] == [
        "folder: 1 of 5 images have no patient, such as no_lump/b. Images of one patient may be "
        "split apart."
    ]


def test_frames_of_one_file_are_never_split_apart(tmp_path, write_dicom):
    for number in range(12):
        label = ("lump", "no_lump")[number % 2]
        # The patients are unknown: the file alone holds its frames together.
        write_dicom(tmp_path / label / f"{number}.dcm", number, frames=5, PatientID=None)
    manifest = load_manifest(tmp_path, settings=DataConfig(dicom_frames=3))
    assert len(manifest) == 36
    assert (manifest.groupby("sha256")["group_id"].nunique() == 1).all()
    assert manifest["group_id"].nunique() == 12
    assert (manifest["excluded"] == "").all()
    assert set(manifest["width"]) == {80}
    splits = make_splits(manifest, scheme="group", seed=0)
    write_splits(splits, tmp_path / "splits.csv")
    assert len(read_splits(tmp_path / "splits.csv", manifest)) == 36


def test_one_that_cannot_be_read_is_named_and_left_out(tmp_path, write_dicom):
    write_dicom(tmp_path / "good.dcm", 1)
    write_dicom(tmp_path / "mammogram.dcm", 2, Modality="MG")
    with pytest.warns(UserWarning, match="mammogram.dcm.*Modality must be US"):
        manifest = load_manifest(tmp_path)
    assert list(manifest["excluded"].str.startswith("unreadable")) == [False, True]


def test_a_folder_without_images_is_none(tmp_path):
    (tmp_path / "README").write_text("nothing here")
    with pytest.raises(DataError, match="or DICOM files"):
        content(tmp_path)


def test_no_name_is_written_or_printed(tmp_path, write_dicom, capfd):
    root = tmp_path / "images"
    for number in range(24):
        path = root / ("lump", "no_lump")[number % 2] / f"{number}.dcm"
        write_dicom(path, number, PatientID=f"{MARKER}{number // 4}")
    whole = path.read_bytes()
    (root / "lump" / "cut.dcm").write_bytes(whole[:-100])
    (root / "lump" / "headless.dcm").write_bytes(whole[132:])
    (root / "lump" / "other.dcm").write_bytes(whole.replace(b"CS\x02\x00US", b"CS\x02\x00CT", 1))
    out = tmp_path / "prepared"
    assert main(["data", "prepare", "--data", str(root), "--out", str(out)]) == 1
    printed = "".join(capfd.readouterr())
    assert "cut.dcm" in printed
    written = "".join(file.read_text(encoding="utf-8") for file in out.iterdir())
    assert "patient-0006" in written
    assert MARKER not in printed + written


def test_pydicom_is_only_imported_for_dicom_files(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "lump" / "a.png")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert len(content(tmp_path).images) == 1
    assert read_image(tmp_path / "lump" / "a.png").shape == (64, 80, 3)
