"""What leaves a DICOM file: no name, no id, no value that a library quotes in its messages."""

import hashlib
import hmac
import logging
import re
import secrets
import warnings
from collections.abc import Callable
from typing import Any

from breastus.errors import ImageError

_SECRET = secrets.token_bytes(32)  # drawn in each process, so that no table of keys can be made
_IGNORE = ("ignore", None, Warning, re.compile(r"pydicom(\.|$)"), 0)


class DamageError(Exception):
    """Damage of a frame; the message holds no value of the file."""


def attempt(work: Callable[[], Any]) -> tuple[Any, str]:
    """Return what `work` returns and "", or None and what went wrong, without quoting anything.

    The exception is gone once this returns, so an error raised afterwards does not carry it.
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
    """Return a text that is the same for the same PatientID in this process; "" for none."""
    if not patient_id:
        return ""
    return hmac.new(_SECRET, patient_id.encode(), hashlib.sha256).hexdigest()[:24]


def silence_pydicom() -> None:
    """Switch off the warnings and log entries of pydicom, which may quote values."""
    # Only if another filter came first: a thread that reads another image could warn meanwhile.
    if warnings.filters[:1] != [_IGNORE]:
        warnings.filterwarnings("ignore", module=_IGNORE[3].pattern)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
