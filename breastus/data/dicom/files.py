"""Which files are DICOM, how one frame is named (`scan.dcm#frame=12`), what their flags mean."""

import os
import re
from pathlib import Path

from breastus.data.image_files import first_bytes

SUFFIXES = (".dcm", ".dicom")
# What a flag that a header states means to the reader of a prediction.
FLAG_MEANINGS = {
    "burned_in_text": "the file states that its pixels hold text, which can mislead a model",
    "color_doppler": "the file states a region of colour flow; it is not plain B-mode",
    "no_region": "the file states no B-mode region, so the whole frame was taken",
    "impossible_region": "the file states an impossible B-mode region; the whole frame was taken",
}

_FRAME = re.compile(r"(.+)#frame=(\d{1,9})")
# How files without a preamble start: with an element of a low group, in either byte order.
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")


def is_dicom(data: bytes, suffix: str = "") -> bool:
    """Whether a file is DICOM: by its first 132 bytes, or by suffix if it has no preamble."""
    if data[128:132] == b"DICM":
        return True
    return suffix.lower() in SUFFIXES and data[:2] in _FIRST_GROUPS


def is_dicom_file(path: Path) -> bool:
    """Whether a path leads to a DICOM file; false for what cannot be read."""
    return is_dicom(first_bytes(path, 132), path.suffix)


def may_be_dicom(name: str) -> bool:
    """Whether a file name is worth a look: a DICOM suffix, none, or a number as in an UID."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or not suffix.strip(".0123456789")


def frame_path(path: Path, number: int) -> Path:
    """Return the path that names one frame of a file, counted from 1."""
    return path.with_name(f"{path.name}#frame={number}")


def split_frame(path: str) -> tuple[str, int | None]:
    """Return file and frame of `scan.dcm#frame=12`; None where no frame is named.

    A file that is really called so is taken for itself.
    """
    if (named := _FRAME.fullmatch(path)) and not os.path.lexists(path):
        return named[1], int(named[2])
    return path, None
