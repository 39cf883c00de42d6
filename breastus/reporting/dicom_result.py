"""Results as DICOM: an ultrasound file and its prediction in, a picture and a report out.

The picture is a Secondary Capture (PS3.3 A.8.1): the pixels that the model saw, with the result
below them as text. The report is an Enhanced SR (PS3.3 A.35.2) that follows TID 1500 (PS3.16) and
refers to the source. Both carry the patient and the study of the source, or none.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import breastus
from breastus.data.dicom.dicom_file import DicomFile
from breastus.data.dicom.files import is_dicom_file, split_frame
from breastus.data.dicom.privacy import Elements, attempt, patient_key
from breastus.errors import ImageError, RunError
from breastus.labels import LABELS, LUMP
from breastus.reporting.facts import ModelFacts
from breastus.reporting.format import rounded_apart
from breastus.reporting.notices import notices
from breastus.reporting.render import render
from breastus.utils.files import write_aside

if TYPE_CHECKING:
    from pydicom import Dataset

    from breastus.deploy.predictor import Prediction

_INSTALL = "pip install 'breastus[dicom-out]'"
# Type 2 elements of the Patient and General Study modules, which may be empty (PS3.3 C.7).
_IDENTITY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("AccessionNumber", "StudyID", "ReferringPhysicianName"),
)
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.6.1"  # Ultrasound Image Storage, PS3.6 A
_SCHEME = "99BREASTUS"  # our codes, where neither DICOM nor SNOMED CT has one
_WIDTH = 640  # pixels, least width of the picture, so that the text can be read
_FONT, _MARGIN = 16, 12  # pixels


class DicomResults:
    """A folder of pictures and reports, numbered in the order of the predictions.

    Args:
        folder: a new folder.
        info: content of bundle.json.
        deidentify: true to leave patient and study out. PatientID becomes a key that is the same
            for the same patient within this process. UIDs stay, as the report refers to its
            source, and so does text that is burned into the pixels.

    Raises:
        ImportError: if highdicom is not installed.
        RunError: if the folder exists.
    """

    def __init__(self, folder: str | os.PathLike, info: Mapping[str, Any], *, deidentify: bool):
        try:
            import highdicom  # noqa: F401
        except ImportError as error:
            raise ImportError(f"Results in DICOM need highdicom: {_INSTALL}") from error
        self.folder = Path(folder)
        if self.folder.exists():
            raise RunError(f"{folder} exists. Choose another --dicom, or delete it.")
        self._info, self._deidentify = info, deidentify
        self._series: dict[tuple[str, str], str] = defaultdict(_new_uid)
        self._count = 0

    def write(self, image: str | os.PathLike, prediction: "Prediction") -> tuple[Path, Path]:
        """Write picture and report of the prediction for an image file, and return their files.

        Raises:
            ImageError: if the file is not DICOM, or lacks what a report must refer to. No value of
                the file is quoted.
            RunError: if picture or report cannot be written.
        """
        path, frame = split_frame(os.fspath(image))
        if not is_dicom_file(Path(path)):
            raise ImageError(f"{path} is not a DICOM file, to which a result could refer.")
        with open(path, "rb") as stream:
            keywords = [*_UIDS, *_IDENTITY, "Laterality"]
            source = Elements.read(path, stream, keywords, pixels=False)
        for keyword in _UIDS:
            if not source.text(keyword):
                raise source.error(keyword, "must be given, as the report refers to it")
        pixels = DicomFile.read(path).frame(frame or 1)
        if source.text("SOPClassUID") == _SINGLE_FRAME:
            frame = None  # a reference names frames of multi-frame images only, PS3.3 10.3
        self._count += 1
        files = []
        for kind, made in (
            ("picture", self._picture(source, frame, prediction, pixels)),
            ("report", self._report(source, frame, prediction)),
        ):
            problem = attempt(lambda made=made: self._identify(made, source))[1]
            if problem:
                raise ImageError(f"{path}: an element of its patient or study {problem}.")
            files.append(self.folder / f"{self._count:04d}-{kind}.dcm")
            with write_aside(files[-1]) as aside:
                made.save_as(aside, enforce_file_format=True)
        return files[0], files[1]

    def _picture(
        self, source: Elements, frame: int | None, prediction: "Prediction", pixels: np.ndarray
    ) -> "Dataset":
        from highdicom.sc import SCImage

        made = SCImage(
            draw_result(pixels, self._lines(prediction)),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "F"),  # required by highdicom, and unknown: see below
            study_instance_uid=source.text("StudyInstanceUID"),
            series_number=1,
            **self._common(source, "picture"),
        )
        made.PatientOrientation = None
        made.BurnedInAnnotation = "YES"
        # Type 2C, PS3.3 C.7.3.1: it must be there for a paired body part, empty if unknown.
        made.Laterality = source.text("Laterality")
        made.SourceImageSequence = [_reference(source, frame)]
        return made

    def _report(self, source: Elements, frame: int | None, prediction: "Prediction") -> "Dataset":
        from highdicom import sr
        from pydicom.sr.codedict import codes
        from pydicom.uid import generate_uid

        name, version = f"breastus: {self._info['model']}", breastus.__version__
        observer = sr.DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=[name, version]), name=name
        )
        threshold = f"threshold={prediction.threshold:.6g}"
        image = sr.SourceImageForMeasurementGroup(
            source.text("SOPClassUID"), source.text("SOPInstanceUID"), [frame] if frame else None
        )
        group = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=_new_uid(), identifier="Image"),
            algorithm_id=sr.AlgorithmIdentification(name, version, parameters=[threshold]),
            source_images=[image],
            **_findings(prediction),
        )
        comment = "\n".join(self._lines(prediction))
        group[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, comment, sr.RelationshipTypeValues.CONTAINS)
        )
        return sr.EnhancedSR(
            evidence=[_evidence(source)],
            content=sr.MeasurementReport(
                sr.ObservationContext(
                    observer_device_context=sr.ObserverContext(codes.DCM.Device, observer)
                ),
                procedure_reported=codes.SCT.UltrasonographyOfBreast,
                imaging_measurements=[group],
            ),
            series_number=2,
            is_complete=True,
            **self._common(source, "report"),
        )

    def _common(self, source: Elements, kind: str) -> dict[str, Any]:
        """Return what picture and report are both made with."""
        return {
            "series_instance_uid": self._series[source.text("StudyInstanceUID"), kind],
            "sop_instance_uid": _new_uid(),
            "instance_number": self._count,
            "manufacturer": "breastus",
            "manufacturer_model_name": str(self._info["model"])[:64],
            "software_versions": breastus.__version__,
            "specific_character_set": "ISO_IR 192",  # UTF-8
        }

    def _identify(self, made: "Dataset", source: Elements) -> None:
        """Give a data set the patient and study of the source, or a key for the patient alone."""
        for keyword in _IDENTITY:
            setattr(made, keyword, "" if self._deidentify else source.text(keyword))
        if self._deidentify:
            made.PatientID = patient_key(source.text("PatientID"))
            made.PatientIdentityRemoved = "YES"
            made.DeidentificationMethod = [
                "breastus leaves patient and study out",
                "UIDs stay, and text in the pixels",
            ]

    def _lines(self, prediction: "Prediction") -> list[str]:
        probability, threshold = rounded_apart(prediction.probability, prediction.threshold)
        side = "at least" if prediction.probability >= prediction.threshold else "below"
        text = render(
            "text/dicom_result.txt.j2",
            prediction=prediction,
            answer=f"P(lump) = {probability}, {side} the threshold {threshold}",
            model=self._info["model"],
            version=breastus.__version__,
            notices=notices(ModelFacts.of_bundle(self._info)),
        )
        return [line for line in text.splitlines() if line]


def draw_result(pixels: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Return an image with lines of text below it, at least `_WIDTH` pixels wide.

    `pixels` and the result are uint8 [H, W, 3].
    """
    height, width = pixels.shape[:2]
    font = ImageFont.load_default(_FONT)
    full = max(width, _WIDTH)
    wrapped = [part for line in lines for part in _wrap(line, font, full - 2 * _MARGIN)]
    step = round(1.4 * _FONT)
    canvas = Image.new("RGB", (full, height + step * len(wrapped) + 2 * _MARGIN))
    canvas.paste(Image.fromarray(pixels), ((full - width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(wrapped):
        draw.text((_MARGIN, height + _MARGIN + step * number), line, "white", font)
    return np.array(canvas)


def _wrap(line: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return a line in parts that are at most `width` pixels wide."""
    parts = [""]
    for word in line.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and font.getlength(longer) > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return parts


def _evidence(source: Elements) -> "Dataset":
    """Return the data set that a report refers to, without a value about the patient.

    highdicom warns and logs with the name of a patient, so it gets none.
    """
    from pydicom import Dataset

    made = Dataset()
    for keyword in _UIDS:
        setattr(made, keyword, source.text(keyword))
    for keyword in _IDENTITY:
        setattr(made, keyword, "")
    return made


def _reference(source: Elements, frame: int | None) -> "Dataset":
    """Return the item that names the source of a picture."""
    from pydicom import Dataset

    made = Dataset()
    made.ReferencedSOPClassUID = source.text("SOPClassUID")
    made.ReferencedSOPInstanceUID = source.text("SOPInstanceUID")
    if frame:
        made.ReferencedFrameNumber = frame
    return made


def _findings(prediction: "Prediction") -> dict[str, Any]:
    """Return the coded result; of an image that the model does not know only the referral."""
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    numbers, evaluations = [], []
    if not prediction.unsuitable:
        name = Code("probability", _SCHEME, "Probability of a lump")
        numbers.append(sr.Measurement(name, prediction.probability, codes.UCUM.NoUnits))
        found = codes.DCM.Present if prediction.label == LABELS[LUMP] else codes.DCM.Absent
        evaluations.append(sr.QualitativeEvaluation(codes.SCT.BreastLump, found))
    if prediction.referred is not None:
        name = Code("referral", _SCHEME, "Refer to a reader")
        answer = codes.SCT.Yes if prediction.referred else codes.SCT.No
        evaluations.append(sr.QualitativeEvaluation(name, answer))
    return {"measurements": numbers, "qualitative_evaluations": evaluations}


def _new_uid() -> str:
    from pydicom.uid import generate_uid

    return generate_uid()
