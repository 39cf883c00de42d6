"""The elements of a DICOM data set: values out, or an error that names tag, keyword and rule.

A message quotes a value only where the caller hands it over, and no exception of pydicom is chained
to it: those quote any value of the file, a patient's name among them.
"""

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from breastus.data.dicom.privacy import attempt, silence_pydicom
from breastus.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_INSTALL = "pip install 'breastus[dicom]'"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMAGE_GROUPS = (0x0028, 0x7FE0)  # Image Pixel and its data, which name no person


class Elements:
    """The elements of one data set, by keyword.

    Args:
        name: name of the file in error messages.
        dataset: data set as read by pydicom.
    """

    def __init__(self, name: str, dataset: "Dataset"):
        self.name = name
        self.dataset = dataset

    @classmethod
    def read(cls, name: str, stream: BinaryIO, keywords: list[str], *, pixels: bool) -> "Elements":
        """Read the elements of an image and some others.

        Args:
            name: name of the file in error messages.
            stream: the open file.
            keywords: further elements; all others are skipped.
            pixels: false stops before the pixel data.

        Raises:
            ImageError: when pydicom is not installed, or the file is damaged or deflated.
        """
        try:
            import pydicom
            from pydicom.datadict import DicomDictionary
        except ImportError as error:
            raise ImageError(
                f"{name} is a DICOM file. Install pydicom to read it: {_INSTALL}"
            ) from error
        silence_pydicom()
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
        """Return whether the element is there."""
        return keyword in self.dataset

    def value(self, keyword: str) -> Any:
        """Return the value of an element as pydicom gives it, None when it is absent or empty."""
        value, problem = attempt(lambda: self.dataset.get(keyword))
        if problem:
            raise self.error(keyword, f"{problem}. Export or copy the file again")
        return None if isinstance(value, str | bytes | list) and len(value) == 0 else value

    def text(self, keyword: str) -> str:
        """Return the value of an element as text without padding, "" when it is absent."""
        value = self.value(keyword)
        return "" if value is None else str(value).strip(" \0")

    def integer(self, keyword: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number between two bounds; without a default it must be there."""
        value = self.value(keyword)
        if value is None and default is not None:
            return default
        number, problem = attempt(lambda: int(value))
        if problem or not low <= number <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            shown = "nothing" if value is None else "no number" if problem else number
            raise self.error(keyword, f"must be {wanted}", shown)
        return number

    def numbers(self, keyword: str) -> list[float]:
        """Return the values of an element as finite numbers, none when it is absent."""
        value = self.value(keyword)
        if value is None:
            return []
        values, problem = attempt(lambda: np.atleast_1d(np.array(value, np.float64)).tolist())
        if problem or not np.isfinite(values).all():
            raise self.error(keyword, "must hold numbers")
        return values

    def items(self, keyword: str) -> list["Elements"]:
        """Return the items of a sequence, none when it is absent."""
        value = self.value(keyword)
        items, problem = attempt(lambda: [Elements(self.name, item) for item in value or []])
        if problem:
            raise self.error(keyword, "must be a sequence")
        return items

    def error(self, keyword: str, rule: str, received: object = None) -> ImageError:
        """Return the error that an element breaks a rule."""
        from pydicom.datadict import tag_for_keyword

        tag = tag_for_keyword(keyword)
        ending = "" if received is None else f" Received: {received}"
        return ImageError(
            f"{self.name}: ({tag >> 16:04X},{tag & 0xFFFF:04X}) {keyword} {rule}.{ending}"
        )


class _BoundedStream:
    """What pydicom reads from: it gives no more than the file holds, and nothing to inflate."""

    def __init__(self, name: str, file: BinaryIO):
        self._name = name
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        self.tell, self.seek = file.tell, file.seek
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            # Only a deflated data set is read to its end at once. pydicom inflates it without a
            # limit, so a small file could fill any memory.
            raise ImageError(
                f"{self._name}: (0002,0010) TransferSyntaxUID must not be deflated. Convert the "
                f"file, for instance with dcmconv +te. Received: {_DEFLATED}"
            )
        # A damaged length of 4 GB would be allocated before the file's end is seen.
        return self._file.read(max(0, min(size, self._end - self.tell())))
