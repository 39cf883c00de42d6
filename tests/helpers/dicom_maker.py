"""Small DICOM files for tests; every element that names a person holds a marker."""

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    generate_uid,
)

MARKER = "ZQMARKER"
PERSONAL = {
    "PatientName": f"{MARKER}^ONE",
    "PatientID": f"{MARKER}TWO",
    "OtherPatientNames": f"{MARKER}^THREE",
    "PatientBirthDate": "19010203",
    "PatientAddress": f"{MARKER} FOUR",
    "AccessionNumber": f"{MARKER}FIVE",
    "StudyID": f"{MARKER}SIX",
    "ReferringPhysicianName": f"{MARKER}^SEVEN",
    "PerformingPhysicianName": f"{MARKER}^EIGHT",
    "OperatorsName": f"{MARKER}^NINE",
    "InstitutionName": f"{MARKER} TEN",
    "StudyDescription": f"{MARKER} ELEVEN",
    "SeriesDescription": f"{MARKER} TWELVE",
    "PatientComments": f"{MARKER} THIRTEEN",
    "StationName": f"{MARKER}14",
    "ImageComments": f"{MARKER} FIFTEEN",
}


def dataset(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements) -> Dataset:
    """Return a data set of [H, W], [H, W, 3] or, with NumberOfFrames, one more axis in front.

    If Rows is given, the pixels belong to one frame.

    Args:
        pixels: stored values, uint8 or uint16 (int16: signed).
        syntax: transfer syntax.
        elements: further ones or other values; None takes one away.
    """
    frames = "NumberOfFrames" in elements and "Rows" not in elements
    color = pixels.ndim == 3 + frames
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.file_meta.TransferSyntaxUID = syntax
    depth = 8 * pixels.dtype.itemsize
    values = {
        "SOPClassUID": UltrasoundImageStorage,
        "SOPInstanceUID": made.file_meta.MediaStorageSOPInstanceUID,
        "Modality": "US",
        **PERSONAL,
        "Rows": pixels.shape[frames],
        "Columns": pixels.shape[frames + 1],
        "SamplesPerPixel": 3 if color else 1,
        "PhotometricInterpretation": "RGB" if color else "MONOCHROME2",
        "BitsAllocated": depth,
        "BitsStored": depth,
        "HighBit": depth - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if color else {}),
        **elements,
    }
    if "BitsStored" in elements:
        values["HighBit"] = elements.get("HighBit", elements["BitsStored"] - 1)
    for keyword, value in values.items():
        if value is not None:
            setattr(made, keyword, value)
    if "PixelData" not in elements:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        made.PixelData = data + bytes(len(data) % 2)
    if "PixelData" in made:
        made["PixelData"].VR = "OB" if depth == 8 else "OW"
        made["PixelData"].is_undefined_length = made.file_meta.TransferSyntaxUID.is_compressed
    return made


def encoded(made: Dataset) -> bytes:
    """Return the bytes of a DICOM file."""
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def dicom(pixels: np.ndarray, **options) -> bytes:
    """Return the bytes of a DICOM file; arguments as of `dataset`."""
    return encoded(dataset(pixels, **options))


def compressed(frames: list[bytes], pixels: np.ndarray, *, syntax: str, **elements) -> bytes:
    """Return the bytes of a file with frames that are compressed already."""
    if len(frames) > 1:
        elements["NumberOfFrames"] = len(frames)
        pixels = np.stack([pixels] * len(frames))
    return dicom(pixels, syntax=syntax, PixelData=encapsulate(frames), **elements)


def without_preamble(made: Dataset, *, implicit: bool = True) -> bytes:
    """Return a file as they were before there was a header: the data set alone."""
    del made.file_meta
    buffer = io.BytesIO()
    made.save_as(buffer, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


def region(left: int, top: int, right: int, bottom: int, **elements) -> Dataset:
    """Return a region of tissue with inclusive bounds and pixels of 0.1 mm."""
    values = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "RegionLocationMinX0": left,
        "RegionLocationMinY0": top,
        "RegionLocationMaxX1": right,
        "RegionLocationMaxY1": bottom,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.01,
        "PhysicalDeltaY": 0.02,
        **elements,
    }
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
