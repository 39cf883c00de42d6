"""One DICOM file of ultrasound: a path or bytes in, its frames, flags and patient key out.

Frames are decoded one at a time. Of the elements that identify a person only PatientID is read, and
it leaves as a key without meaning outside this process.
"""

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from breastus.data.dicom.pixels import PixelReader
from breastus.data.dicom.privacy import Elements, patient_key
from breastus.data.dicom.region import bmode_region
from breastus.data.image_files import cannot_open, check_file, read_bytes
from breastus.errors import ImageError

_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, PS3.6 A
_KEYWORDS = ["SOPClassUID", "Modality", "PatientID", "SequenceOfUltrasoundRegions"]


class DicomFile:
    """One DICOM file of modality US, whose header is checked.

    Attributes:
        name: name of the file in error messages.
        frames: number of frames.
        patient: text that is the same for the same PatientID within this process, "" if unknown.
        flags: flags of `bmode_region`, and `burned_in_text` if the file declares text in its
            pixels (0028,0301).
    """

    def __init__(self, elements: Elements, *, pixels: bool):
        self.name = elements.name
        sop_class, modality = elements.text("SOPClassUID"), elements.text("Modality")
        if sop_class == _DIRECTORY:
            raise ImageError(f"{self.name} is a DICOMDIR: a table of contents, without images.")
        if not sop_class and not modality and not elements.has("Rows"):
            raise ImageError(f"{self.name} is not a DICOM file, or its header is damaged.")
        if modality != "US":
            raise elements.error(
                "Modality",
                "must be US (ultrasound). If the image is one, correct its header, or export it "
                "as PNG",
                # A longer text may be a name that a damaged length drew in.
                modality if len(modality) <= 2 else "no known modality",
            )
        self._pixels = PixelReader(elements, need_pixels=pixels)
        self.frames = self._pixels.frames
        self.patient = patient_key(elements.text("PatientID"))
        self._box, flags = bmode_region(elements, self._pixels.rows, self._pixels.columns)
        burned_in = elements.text("BurnedInAnnotation") == "YES"
        self.flags = ("burned_in_text", *flags) if burned_in else flags

    @classmethod
    def read(
        cls, source: str | os.PathLike | bytes, *, name: str = "the image", pixels: bool = True
    ) -> "DicomFile":
        """Read a file and check its header.

        Args:
            source: path, or the bytes of a file.
            name: name in error messages if `source` is bytes.
            pixels: true if frames will be decoded, false for the header alone, which is quick to
                read from a path.

        Raises:
            ImageError: if the file is missing, too large, not DICOM, not ultrasound, damaged, or in
                a form that is not supported. The message names file, tag, keyword and value, and no
                value that could identify a person.
        """

        def parse(stream: BinaryIO) -> "DicomFile":
            return cls(Elements.read(name, stream, _KEYWORDS, pixels=pixels), pixels=pixels)

        if isinstance(source, bytes):
            return parse(io.BytesIO(source))
        path, name = Path(source), os.fspath(source)
        if pixels:
            return parse(io.BytesIO(read_bytes(path)))
        check_file(path)
        try:
            with path.open("rb") as stream:
                return parse(stream)
        except OSError as error:
            raise cannot_open(path, error) from error

    def frame(self, number: int = 1) -> np.ndarray:
        """Decode one frame, counted from 1, cut to the B-mode region: uint8 [H, W, 3], RGB.

        It raises ImageError if there is no such frame, or it cannot be decoded.
        """
        if not 1 <= number <= self.frames:
            raise ImageError(
                f"{self.name} has the frames 1 to {self.frames}. Received: frame {number}"
            )
        pixels = self._pixels.frame(number - 1)
        if self._box:
            left, top, right, bottom = self._box
            pixels = pixels[top:bottom, left:right]
        return np.ascontiguousarray(pixels)
