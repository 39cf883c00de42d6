"""Results in DICOM: content of picture and report, the patient they name, validity."""

import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from dicom_maker import MARKER, dicom

pytest.importorskip("highdicom")
import pydicom
from pydicom.uid import UltrasoundMultiFrameImageStorage, generate_uid

from breastus.cli.main import main
from breastus.data.images import to_png
from breastus.deploy.predictor import Prediction
from breastus.errors import ImageError, RunError
from breastus.reporting.dicom_result import DicomResults

INFO = {"model": "cnn", "trained_on": {"phantom": False}}
STUDY = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}


@pytest.fixture
def scan(tmp_path, speckle):
    """A function that writes a DICOM file with further elements and returns its path."""

    def write(name="scan.dcm", **elements):
        pixels = np.ascontiguousarray(speckle(120, 150)[..., 0])
        if frames := elements.get("NumberOfFrames"):
            pixels = np.repeat(pixels[None], frames, axis=0)
            elements["SOPClassUID"] = UltrasoundMultiFrameImageStorage
        (tmp_path / name).write_bytes(dicom(pixels, **{**STUDY, **elements}))
        return tmp_path / name

    return write


def prediction(**changes):
    facts = {
        "path": "",
        "label": "lump",
        "probability": 0.91234,
        "threshold": 0.777,
        "reasons": {"undecided": "neither can be ruled out"},
        "referred": True,
    }
    return Prediction(**{**facts, **changes})


def written(out, path, made=None, *, deidentify=False):
    """Write the results of one file; return picture and report."""
    files = DicomResults(out, INFO, deidentify=deidentify).write(path, made or prediction())
    return [pydicom.dcmread(file) for file in files]


def items(report):
    """The content of the measurement group: meaning of the concept to the item."""
    (group,) = report.ContentSequence[-1].ContentSequence
    return {item.ConceptNameCodeSequence[0].CodeMeaning: item for item in group.ContentSequence}


def test_the_picture_shows_the_pixels_and_text_below_them(tmp_path, scan, speckle):
    path = scan()
    source = pydicom.dcmread(path)
    picture, _ = written(tmp_path / "out", path)
    shown = picture.pixel_array
    left = (shown.shape[1] - 150) // 2
    assert np.array_equal(shown[:120, left : left + 150], speckle(120, 150))
    assert shown[120:].max() > 200
    assert picture.SOPClassUID.name == "Secondary Capture Image Storage"
    assert picture.BurnedInAnnotation == "YES"
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_the_report_states_the_result_and_refers_to_the_source(tmp_path, scan):
    path = scan(NumberOfFrames=3)
    _, report = written(tmp_path / "out", f"{path}#frame=2")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    found = items(report)
    number = found["Probability of a lump"].MeasuredValueSequence[0].NumericValue
    assert float(number) == 0.91234
    assert found["Algorithm Parameters"].TextValue == "threshold=0.777"
    assert found["Breast lump"].ConceptCodeSequence[0].CodeMeaning == "Present"
    assert found["Refer to a reader"].ConceptCodeSequence[0].CodeMeaning == "Yes"
    reference = found["Source of Measurement"].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(path).SOPInstanceUID
    assert reference.ReferencedFrameNumber == 2
    for text in ("neither can be ruled out", "not a medical device"):
        assert text in found["Comment"].TextValue
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_the_only_frame_of_a_single_frame_image_is_not_named(tmp_path, scan):
    found = items(written(tmp_path / "out", f"{scan()}#frame=1")[1])
    assert "ReferencedFrameNumber" not in found["Source of Measurement"].ReferencedSOPSequence[0]


def test_no_lump_and_a_model_without_referral(tmp_path, scan):
    made = prediction(label="no_lump", probability=0.2, referred=None)
    found = items(written(tmp_path / "out", scan(), made)[1])
    assert found["Breast lump"].ConceptCodeSequence[0].CodeMeaning == "Absent"
    assert "Refer to a reader" not in found


def test_an_image_that_the_model_does_not_know_has_no_probability(tmp_path, scan):
    made = prediction(flags=("blank",), reasons={"blank": "shows no tissue"})
    assert made.unsuitable
    found = items(written(tmp_path / "out", scan(), made)[1])
    assert not {"Probability of a lump", "Breast lump"} & set(found)
    assert "shows no tissue" in found["Comment"].TextValue
    assert "P(lump)" not in found["Comment"].TextValue


def test_a_model_of_phantoms_says_so_in_both_files(tmp_path, scan):
    info = {**INFO, "trained_on": {"phantom": True}}
    files = DicomResults(tmp_path / "out", info, deidentify=False).write(scan(), prediction())
    assert "never seen a patient" in items(pydicom.dcmread(files[1]))["Comment"].TextValue


def test_patient_and_study_are_those_of_the_source(tmp_path, scan):
    path = scan(
        PatientName="Ivanová^Žofie", SpecificCharacterSet="ISO_IR 192", StudyDate="20260102"
    )
    source = pydicom.dcmread(path)
    for made in written(tmp_path / "out", path):
        for keyword in ("PatientName", "PatientID", "StudyDate", "StudyInstanceUID"):
            assert made[keyword].value == source[keyword].value
        assert f"{MARKER} ELEVEN" not in str(made)  # the description of the study


def test_without_identity_nothing_names_the_patient(tmp_path, scan):
    paths = [scan("a.dcm"), scan("b.dcm"), scan("c.dcm", PatientID="another")]
    results = DicomResults(tmp_path / "out", INFO, deidentify=True)
    made = [pydicom.dcmread(file) for path in paths for file in results.write(path, prediction())]
    for file in (tmp_path / "out").iterdir():
        assert MARKER.encode() not in file.read_bytes()
        assert b"19010203" not in file.read_bytes()
    assert {one.PatientIdentityRemoved for one in made} == {"YES"}
    first, _, second, _, third, _ = (one.PatientID for one in made)
    assert first == second != third


@pytest.mark.parametrize(("stated", "expected"), [(None, ""), ("L", "L")])
def test_laterality_is_there_even_if_it_is_unknown(tmp_path, scan, stated, expected):
    picture, _ = written(tmp_path / "out", scan(Laterality=stated))
    assert "Laterality" in picture
    assert (picture.Laterality or "") == expected


def test_pictures_of_a_study_are_one_series(tmp_path, scan):
    results = DicomResults(tmp_path / "out", INFO, deidentify=False)
    made = [results.write(scan(name), prediction()) for name in ("a.dcm", "b.dcm")]
    pictures = [pydicom.dcmread(picture) for picture, _ in made]
    reports = [pydicom.dcmread(report) for _, report in made]
    assert pictures[0].SeriesInstanceUID == pictures[1].SeriesInstanceUID
    assert pictures[0].SeriesInstanceUID != reports[0].SeriesInstanceUID
    assert [one.InstanceNumber for one in pictures] == [1, 2]


def test_a_source_that_cannot_be_referred_to_is_named(tmp_path, scan):
    with pytest.raises(ImageError, match=r"scan\.dcm: \(0020,000D\) StudyInstanceUID must be"):
        written(tmp_path / "out", scan(StudyInstanceUID=None))
    picture = tmp_path / "scan.png"
    picture.write_bytes(to_png(np.zeros((9, 9), np.uint8)))
    with pytest.raises(ImageError, match=r"scan\.png is not a DICOM file"):
        written(tmp_path / "out", picture)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="exists"):
        written(tmp_path / "out", scan())


def test_the_command_writes_them_and_names_what_is_no_dicom(tmp_path, scan, monkeypatch, capsys):
    metadata = {**INFO, "input_statistics": {}}
    fake = SimpleNamespace(
        metadata=metadata, predict_each=lambda files: (prediction(path=str(f)) for f in files)
    )
    monkeypatch.setattr("breastus.deploy.predictor.Predictor", lambda bundle, runtime: fake)
    (tmp_path / "other.png").write_bytes(to_png(np.zeros((9, 9), np.uint8)))
    out = tmp_path / "out"
    arguments = ["predict", "models/cnn", str(scan()), str(tmp_path / "other.png")]
    assert main([*arguments, "--dicom", str(out), "--deidentify"]) == 1
    assert "other.png is not a DICOM file" in capsys.readouterr().err
    assert sorted(file.name for file in out.iterdir()) == ["0001-picture.dcm", "0001-report.dcm"]
    assert main([*arguments, "--deidentify"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("deidentify", [False, True])
@pytest.mark.parametrize(
    "elements",
    [{}, {"NumberOfFrames": 3}, {"Laterality": "R", "StudyDate": "20260102", "PatientSex": "F"}],
)
def test_dciodvfy_finds_no_error(tmp_path, scan, elements, deidentify):
    if not (dciodvfy := shutil.which("dciodvfy")):
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    path = f"{scan(**elements)}#frame=2" if "NumberOfFrames" in elements else scan(**elements)
    for made in (prediction(), prediction(flags=("blank",), reasons={"blank": "no tissue"})):
        results = DicomResults(tmp_path / f"out{len(made.flags)}", INFO, deidentify=deidentify)
        for file in results.write(path, made):
            done = subprocess.run([dciodvfy, file], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "Error" not in done.stdout + done.stderr
            assert done.stderr  # it names at least the kind of the file
