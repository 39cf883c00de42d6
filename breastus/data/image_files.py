"""Image files on disk: limits of their size, and their bytes."""

import stat
from pathlib import Path

from breastus.errors import ImageError

MAX_PIXELS = 50_000_000  # an ultrasound still has about 0.5 million, a decompression bomb hundreds
MAX_BYTES = 256 * 2**20


def check_file(path: Path) -> None:
    """Raise ImageError unless a path leads to a readable file of at most `MAX_BYTES`."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise cannot_open(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path} is a directory. Name the image files in it.")
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe or a device might never end.
        raise ImageError(f"{path} is not a file but a pipe or a device.")
    if status.st_size > MAX_BYTES:
        raise ImageError(
            f"{path} is too large: an image file may have {MAX_BYTES >> 20} MiB. "
            f"Received: {status.st_size >> 20} MiB"
        )


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file. Raises as `check_file`; also when it may not be read."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_open(path, error) from error


def first_bytes(path: Path, count: int) -> bytes:
    """Return the first bytes of a file; none for what is no file or cannot be read."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def cannot_open(path: Path, error: Exception) -> ImageError:
    """Return the error that a file cannot be opened."""
    reason = getattr(error, "strerror", None) or error
    return ImageError(f"{path} cannot be opened: {reason}. Check the path and its permissions.")
