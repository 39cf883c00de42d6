"""The elements of a DICOM file, read so that nothing of a patient leaves with an error or a log.

Messages name tag, keyword and rule. They quote a value only if the caller passes it, and no
exception of pydicom or Pillow is chained to them, because those quote any value of the file.
"""

import hashlib
import hmac
import io
import logging
import re
import secrets
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from breastus.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_INSTALL = "pip install 'breastus[dicom]'"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMAGE_GROUPS = (0x0028, 0x7FE0)  # Image Pixel and its data, which name no person
_SECRET = secrets.token_bytes(32)  # drawn in each process, so that no table of keys can be made
_IGNORE = ("ignore", None, Warning, re.compile(r"pydicom(\.|$)"), 0)


class DamageError(Exception):
    """Damage of a frame; the message holds no value of the file."""


def attempt(work: Callable[[], Any]) -> tuple[Any, str]:
    """Return the result of `work` and "", or None and what is wrong, without quoting a value.

    The exception is gone when this returns, so an error raised afterwards does not carry it.
    """
    try:
        return work(), ""
    except ImageError:
        raise
    except DamageError as damage:
        return None, str(damage)
    except Exception as error:  # damaged files make pydicom and Pillow raise almost anything
        return None, f"is damaged: {type(error).__name__}"


def patient_key(patient_id: str) -> str:
    """Return a text that is the same for the same PatientID in this process; "" if unknown."""
    if not patient_id:
        return ""
    return hmac.new(_SECRET, patient_id.encode(), hashlib.sha256).hexdigest()[:24]


class Elements:
    """The elements of one data set, as read by pydicom, by keyword."""

    def __init__(self, name: str, dataset: "Dataset"):
        self.name = name
        self.dataset = dataset

    @classmethod
    def read(cls, name: str, stream: BinaryIO, keywords: list[str], *, pixels: bool) -> "Elements":
        """Read the elements that describe the image, and the `keywords`; skip all others.

        It raises ImageError if pydicom is not installed, or the file is damaged or deflated.
        """
        try:
            import pydicom
            from pydicom.datadict import DicomDictionary
        except ImportError as error:
            raise ImageError(
                f"{name} is a DICOM file. Install pydicom to read it: {_INSTALL}"
            ) from error
        _silence_pydicom()
        stream = _BoundedStream(name, stream)
        tags = [*keywords, *(tag for tag in DicomDictionary if tag >> 16 in _IMAGE_GROUPS)]
        dataset, problem = attempt(
            lambda: pydicom.dcmread(
                stream, force=True, stop_before_pixels=not pixels, specific_tags=tags
            )
        )
        if problem:
            raise ImageError(
                f"{name} {problem}, or it is not a DICOM file. Export or copy it again."
            )
        return cls(name, dataset)

    def has(self, keyword: str) -> bool:
        """Return whether the element is present."""
        return keyword in self.dataset

    def value(self, keyword: str) -> Any:
        """Return the value of an element as pydicom gives it; None if it is absent or empty."""
        value, problem = attempt(lambda: self.dataset.get(keyword))
        if problem:
            raise self.error(keyword, f"{problem}. Export or copy the file again")
        return None if isinstance(value, str | bytes | list) and not value else value

    def text(self, keyword: str) -> str:
        """Return the value of an element as text without padding; "" if it is absent."""
        value = self.value(keyword)
        return str(value).strip(" \0") if value is not None else ""

    def integer(self, keyword: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number from `low` to `high`; it must be present if there is no default."""
        value = self.value(keyword)
        if value is None and default is not None:
            return default
        number, problem = attempt(lambda: int(value))
        if problem or not low <= number <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            received = "nothing" if value is None else "no number" if problem else number
            raise self.error(keyword, f"must be {wanted}", received)
        return number

    def items(self, keyword: str) -> list["Elements"]:
        """Return the items of a sequence; an empty list if it is absent."""
        value = self.value(keyword)
        items, problem = attempt(lambda: [Elements(self.name, item) for item in value or []])
        if problem:
            raise self.error(keyword, "must be a sequence")
        return items

    def error(self, keyword: str, rule: str, received: object = None) -> ImageError:
        """Return the error that an element breaks a rule."""
        from pydicom.datadict import tag_for_keyword

        tag = tag_for_keyword(keyword)
        ending = f" Received: {received}" if received is not None else ""
        return ImageError(
            f"{self.name}: ({tag >> 16:04X},{tag & 0xFFFF:04X}) {keyword} {rule}.{ending}"
        )


class _BoundedStream:
    """A file that gives pydicom no more bytes than it holds, and none to inflate."""

    def __init__(self, name: str, file: BinaryIO):
        self._name = name
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        self.tell, self.seek = file.tell, file.seek
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            # Only a deflated data set is read to its end in one call. pydicom inflates it without
            # a limit, so a small file could fill any memory.
            raise ImageError(
                f"{self._name}: (0002,0010) TransferSyntaxUID must not be deflated. Convert the "
                f"file, for instance with dcmconv +te. Received: {_DEFLATED}"
            )
        # A damaged length of 4 GB would be allocated before the end of the file is reached.
        return self._file.read(max(0, min(size, self._end - self.tell())))


def _silence_pydicom() -> None:
    """Switch off the warnings and log entries of pydicom, which may quote values."""
    # Only if another filter came first: a thread that reads another image could warn meanwhile.
    if warnings.filters[:1] != [_IGNORE]:
        warnings.filterwarnings("ignore", module=_IGNORE[3].pattern)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
