"""Which files are DICOM, and how one frame of them is named: `scan.dcm#frame=12`."""

import os
import re
from pathlib import Path

SUFFIXES = (".dcm", ".dicom")

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
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return is_dicom(file.read(132), path.suffix)
    except OSError:
        return False


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
