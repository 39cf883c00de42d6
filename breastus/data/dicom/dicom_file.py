"""Read one DICOM file of ultrasound: a path or bytes in, frames and what is known of them out.

Frames are uint8 [H, W, 3], RGB, cut to the B-mode region, decoded one at a time. Who the patient is
stays inside: of all elements that identify a person only PatientID is read, and it leaves as a
key that means nothing outside this process. Once this module has read a file, pydicom's warnings
and log entries are silenced in the process, since they may quote values.
"""

import hashlib
import hmac
import io
import logging
import os
import re
import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from breastus.data.dicom.elements import Elements, attempt
from breastus.data.dicom.files import SUFFIXES
from breastus.data.dicom.pixels import PIXEL_KEYWORDS, PixelReader
from breastus.data.dicom.region import REGION_KEYWORDS, Geometry, geometry
from breastus.data.images import cannot_open, check_file, read_bytes
from breastus.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, PS3.6 A
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Defined terms, PS3.3 C.7.3.1.1.1; none but these is ever quoted.
_MODALITIES = (
    " AU BI BMD CR CT DOC DX ECG EPS ES FID GM HD IO IVOCT IVUS KO MG MR NM OCT OP OPT OT PLAN PR "
    "PT PX REG RF RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT SC SEG SM SR TG XA XC "
)
_KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "PatientID",
    "BurnedInAnnotation",
    *REGION_KEYWORDS,
    *PIXEL_KEYWORDS,
)
_SECRET = secrets.token_bytes(32)  # drawn anew in each process: its keys cannot be looked up
_QUIET = ("ignore", None, Warning, re.compile(r"pydicom(\.|$)"), 0)
_INSTALL = "pip install 'breastus[dicom]'"


@dataclass(frozen=True, kw_only=True)
class DicomFile:
    """One DICOM file of modality US, checked; pixels are decoded when asked for.

    Attributes:
        name: the file, as error messages call it.
        frames: how many images it holds.
        photometric: (0028,0004), such as `RGB` or `PALETTE COLOR`.
        modality: (0008,0060), always `US`.
        patient: the same text for the same PatientID within this process, "" when unknown.
        flags: `burned_in_text` when it declares text in its pixels (0028,0301), `color_doppler`
            when a region holds colour flow, `no_region` or `impossible_region` when the frame is
            shown whole.
        geometry: the B-mode region and the size of its pixels.
    """

    name: str
    frames: int
    photometric: str
    modality: str
    patient: str = field(repr=False)
    flags: tuple[str, ...]
    geometry: Geometry
    _pixels: PixelReader = field(repr=False)

    @classmethod
    def read(cls, source: str | os.PathLike | bytes, *, pixels: bool = True) -> "DicomFile":
        """Read a file and check what its header says.

        Args:
            source: a path, or the bytes of a file.
            pixels: false reads a path's header alone, which is quick; `frame` then raises.

        Raises:
            ImageError: when it is missing, too large, not DICOM, not ultrasound (modality US),
                damaged, or in a form that is not read here. The message names file, tag, keyword
                and value, and no value that could identify a person.
        """
        if isinstance(source, bytes):
            return cls._parse("the image", io.BytesIO(source), force=False, pixels=pixels)
        path, name = Path(source), os.fspath(source)
        force = path.suffix.lower() in SUFFIXES
        if pixels:
            return cls._parse(name, io.BytesIO(read_bytes(path)), force=force, pixels=True)
        check_file(path)
        try:
            with path.open("rb") as stream:
                return cls._parse(name, stream, force=force, pixels=False)
        except OSError as error:
            raise cannot_open(path, error) from error

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> "DicomFile":
        """Read the bytes of a file that `is_dicom`, called `name` in messages."""
        return cls._parse(name, io.BytesIO(data), force=True, pixels=True)

    def frame(self, number: int = 1) -> np.ndarray:
        """Decode one frame, counted from 1, cut to the B-mode region.

        Raises:
            ImageError: when there is no such frame, or it cannot be decoded.
        """
        if not 1 <= number <= self.frames:
            raise ImageError(
                f"{self.name} has the frames 1 to {self.frames}. Received: frame {number}"
            )
        # A copy, so that a small region does not keep the whole frame in memory.
        return np.ascontiguousarray(self.geometry.crop(self._pixels.frame(number - 1)))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode all frames, one at a time."""
        return (self.frame(number) for number in range(1, self.frames + 1))

    @classmethod
    def _parse(cls, name: str, stream: BinaryIO, *, force: bool, pixels: bool) -> "DicomFile":
        elements = Elements(name, _dataset(name, stream, force, pixels))
        sop_class = elements.text("SOPClassUID")
        if sop_class == _DIRECTORY:
            raise ImageError(f"{name} is a DICOMDIR: a table of contents, without images.")
        modality = elements.text("Modality")
        if not sop_class and not modality and not elements.has("Rows"):
            raise ImageError(f"{name} is not a DICOM file, or its header is damaged.")
        if modality != "US":
            # Any other text may be what a damaged length has drawn in.
            shown = modality if f" {modality} " in _MODALITIES else "none that is known"
            raise elements.refuse(
                "Modality",
                "must be US, ultrasound. If the image is one, correct its header, or export it as "
                "PNG",
                shown,
            )
        reader = PixelReader(elements, need_pixels=pixels)
        where = geometry(elements, reader.rows, reader.columns)
        flags = {
            "burned_in_text": elements.text("BurnedInAnnotation") == "YES",
            "color_doppler": where.color_flow,
            where.region: where.box is None,
        }
        return cls(
            name=name,
            frames=reader.frames,
            photometric=reader.photometric,
            modality=modality,
            patient=_key(elements.text("PatientID")),
            flags=tuple(flag for flag, holds in flags.items() if holds),
            geometry=where,
            _pixels=reader,
        )


class _Stream:
    """What pydicom reads from: no more at a time than is there, and nothing to inflate."""

    def __init__(self, name: str, file: BinaryIO):
        self._name = name
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        self.tell, self.seek = file.tell, file.seek
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            # Only a deflated data set is read to its end at once; pydicom inflates it without a
            # limit, so that a small file could fill any memory.
            raise ImageError(
                f"{self._name}: (0002,0010) TransferSyntaxUID Deflated is not read here. Convert "
                f"the file, for instance with dcmconv +te. Received: {_DEFLATED}"
            )
        # A damaged length of 4 GB would be allocated before the file's end is seen.
        return self._file.read(max(0, min(size, self._end - self.tell())))


def _dataset(name: str, stream: BinaryIO, force: bool, pixels: bool) -> "Dataset":
    try:
        import pydicom
    except ImportError as error:
        raise ImageError(
            f"{name} is a DICOM file; reading those takes pydicom: {_INSTALL}"
        ) from error
    _silence()
    dataset, problem = attempt(
        lambda: pydicom.dcmread(
            _Stream(name, stream),
            force=force,
            stop_before_pixels=not pixels,
            specific_tags=list(_KEYWORDS),
        )
    )
    if problem:
        raise ImageError(f"{name} {problem}, or it is not a DICOM file. Export or copy it again.")
    return dataset


def _key(patient_id: str) -> str:
    if not patient_id:
        return ""
    return hmac.new(_SECRET, patient_id.encode(), hashlib.sha256).hexdigest()[:24]


def _silence() -> None:
    # Put in front again where other filters came before it, and not touched otherwise: while it is
    # being moved, the thread of another image could warn.
    if warnings.filters[:1] != [_QUIET]:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
