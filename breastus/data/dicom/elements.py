"""Single elements of a DICOM data set, read so that a damaged one is an error that names it.

Messages hold the tag, the keyword and a value only where the caller hands one over: no exception of
pydicom's is chained to them, since those may quote any value of the file, a name among them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from breastus.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset


class Problem(Exception):  # noqa: N818 - never seen outside
    """What is wrong with a frame, in words that hold no value of the file."""


def attempt(work: Callable[[], Any]) -> tuple[Any, str]:
    """Return what `work` returns and "", or None and what went wrong, without quoting anything.

    The exception is gone once this returns; what is raised then has it in no context.
    """
    try:
        return work(), ""
    except ImageError:
        raise
    except Problem as problem:
        return None, str(problem)
    except Exception as error:  # damaged files make pydicom and decoders raise almost anything
        return None, f"is damaged: {type(error).__name__}"


class Elements:
    """The elements of one data set, by keyword.

    Args:
        name: the file, as error messages call it.
        dataset: as pydicom reads it.
    """

    def __init__(self, name: str, dataset: "Dataset"):
        self.name = name
        self.dataset = dataset

    def has(self, keyword: str) -> bool:
        """Whether the element is there."""
        return keyword in self.dataset

    def undefined_length(self, keyword: str) -> bool:
        """Whether an element was written without a length, as compressed pixels are."""
        return bool(attempt(lambda: self.dataset[keyword].is_undefined_length)[0])

    def value(self, keyword: str) -> Any:
        """Return an element's value as pydicom gives it, None when it is absent or empty."""
        value, problem = attempt(lambda: self.dataset.get(keyword))
        if problem:
            raise self.refuse(keyword, f"{problem}. Export or copy the file again")
        return None if isinstance(value, str | bytes | list) and len(value) == 0 else value

    def text(self, keyword: str) -> str:
        """Return an element's value as text, without padding; "" when it is absent."""
        value = self.value(keyword)
        return "" if value is None else str(value).strip(" \0")

    def integer(self, keyword: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number between two bounds; without a default it has to be there."""
        value = self.value(keyword)
        if value is None and default is not None:
            return default
        number, problem = attempt(lambda: int(value))
        if problem or not low <= number <= high:
            wanted = str(low) if low == high else f"{low} to {high}"
            shown = "nothing" if value is None else "no number" if problem else number
            raise self.refuse(keyword, f"must be {wanted}", shown)
        return number

    def numbers(self, keyword: str) -> list[float]:
        """Return an element's values as finite numbers, none when it is absent."""
        value = self.value(keyword)
        if value is None:
            return []
        values, problem = attempt(lambda: np.atleast_1d(np.array(value, np.float64)).tolist())
        if problem or not np.isfinite(values).all():
            raise self.refuse(keyword, "must hold numbers")
        return values

    def items(self, keyword: str) -> list["Elements"]:
        """Return the items of a sequence, none when it is absent."""
        value = self.value(keyword)
        items, problem = attempt(lambda: [Elements(self.name, item) for item in value or []])
        if problem:
            raise self.refuse(keyword, "must be a sequence")
        return items

    def refuse(self, keyword: str, rule: str, received: object = None) -> ImageError:
        """Return the error that an element breaks a rule."""
        from pydicom.datadict import tag_for_keyword

        tag = tag_for_keyword(keyword)
        said = "" if received is None else f" Received: {received}"
        return ImageError(
            f"{self.name}: ({tag >> 16:04X},{tag & 0xFFFF:04X}) {keyword} {rule}.{said}"
        )
