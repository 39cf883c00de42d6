"""The region, the flags and the frames of a DICOM file, and which files are DICOM."""

import numpy as np
import pytest
from dicom_maker import dataset, dicom, region, without_preamble

import breastus.data.dicom.privacy
from breastus.data.dicom.dicom_file import DicomFile
from breastus.data.images import ImageFile, read_image, to_png
from breastus.errors import ImageError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 18), np.uint8)
COLOR = RNG.integers(0, 256, (12, 18, 3), np.uint8)


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def test_the_largest_b_mode_region_is_cut_out():
    regions = [
        region(0, 0, 17, 11, RegionSpatialFormat=3, RegionDataType=3),  # a larger one, of Doppler
        region(2, 1, 4, 3),
        region(5, 2, 14, 9),  # columns 5 to 14, rows 2 to 9
    ]
    file = DicomFile.read(dicom(COLOR, SequenceOfUltrasoundRegions=regions))
    np.testing.assert_array_equal(file.frame(), COLOR[2:10, 5:15])
    assert file.flags == ()


@pytest.mark.parametrize(
    ("regions", "flags"),
    [
        ([], ("no_region",)),
        ([region(0, 0, 5, 5, RegionDataType=2)], ("color_doppler", "no_region")),
        ([region(0, 0, 5, 5, RegionSpatialFormat=2)], ("no_region",)),
        ([region(5, 5, 3, 3)], ("impossible_region",)),
        ([region(0, 0, 0, 0)], ("impossible_region",)),
        ([region(3, 3, 4, 9)], ("impossible_region",)),  # a strip of two columns
        ([region(2, 0, 15, 0)], ("impossible_region",)),
        ([region(0, 0, 19, 11)], ("impossible_region",)),
        ([region(20, 20, 30, 30)], ("impossible_region",)),
    ],
)
def test_without_a_possible_region_the_frame_stays_whole(regions, flags):
    file = DicomFile.read(dicom(COLOR, SequenceOfUltrasoundRegions=regions))
    np.testing.assert_array_equal(file.frame(), COLOR)
    assert file.flags == flags


def test_a_region_that_ends_at_the_width_is_taken_for_a_half_open_one():
    file = DicomFile.read(dicom(COLOR, SequenceOfUltrasoundRegions=[region(3, 2, 18, 12)]))
    np.testing.assert_array_equal(file.frame(), COLOR[2:, 3:])


def test_flags():
    burned = DicomFile.read(dicom(COLOR, BurnedInAnnotation="YES"))
    assert burned.flags == ("burned_in_text", "no_region")
    assert "burned_in_text" not in DicomFile.read(dicom(COLOR, BurnedInAnnotation="NO")).flags


def test_frames_are_named_by_path(tmp_path):
    frames = RNG.integers(0, 256, (5, 8, 10), np.uint8)
    path = tmp_path / "снимок #1.dcm"
    path.write_bytes(dicom(frames, NumberOfFrames=5))
    file = ImageFile.read(f"{path}#frame=4")
    np.testing.assert_array_equal(file.pixels, as_rgb(frames[3]))
    np.testing.assert_array_equal(read_image(to_png(file.pixels)), file.pixels)
    with pytest.raises(ImageError, match=r"\(0028,0008\) NumberOfFrames is 5.*#frame=3"):
        ImageFile.read(path)
    for wrong in (0, 6, 10**8):
        with pytest.raises(ImageError, match=f"frames 1 to 5. Received: frame {wrong}"):
            ImageFile.read(f"{path}#frame={wrong}")
    file = DicomFile.read(path)
    assert [file.frame(number)[0, 0, 0] for number in range(1, 6)] == list(frames[:, 0, 0])


def test_only_dicom_files_have_frames(tmp_path, write_image):
    path = write_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="only DICOM files have frames"):
        read_image(f"{path}#frame=1")
    path.rename(tmp_path / "a.png#frame=1")  # a name like any other
    assert read_image(tmp_path / "a.png#frame=1").shape == (64, 80, 3)


def test_dicom_files_are_recognised_by_content(tmp_path):
    for name in ("scan.dcm", "scan", "1.2.840.5", "picture.png"):
        (tmp_path / name).write_bytes(dicom(COLOR))
        np.testing.assert_array_equal(read_image(tmp_path / name), COLOR)
    np.testing.assert_array_equal(read_image(dicom(COLOR)), COLOR)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_a_preamble_take_the_suffix(tmp_path, implicit):
    data = without_preamble(dataset(COLOR), implicit=implicit)
    (tmp_path / "old.dcm").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "old.dcm"), COLOR)
    (tmp_path / "old").write_bytes(data)
    with pytest.raises(ImageError, match="or DICOM image"):
        read_image(tmp_path / "old")


def test_the_key_of_a_patient_is_stable_and_secret(monkeypatch):
    def key(**elements):
        return DicomFile.read(dicom(GREY, **elements)).patient

    first = key(PatientID="1234567")
    assert first == key(PatientID="1234567 ") != key(PatientID="7654321")
    assert key(PatientID="") == key(PatientID=None) == ""
    assert "1234567" not in first
    # Another process draws another secret, so that no table of keys could be made.
    monkeypatch.setattr(breastus.data.dicom.privacy, "_SECRET", b"another")
    assert key(PatientID="1234567") != first
