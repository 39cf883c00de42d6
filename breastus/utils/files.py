"""Write files and folders atomically: under a temporary name first, then renamed.

A reader never sees an incomplete file, and a full disk leaves the old one in place.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from breastus.errors import RunError

_BLOCK = 2**24  # bytes written at a time


@contextlib.contextmanager
def write_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds.

    The temporary name keeps the suffix, because writers such as Keras choose the format by it.

    Raises:
        RunError: if the file cannot be written, for instance on a full disk.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        sync(aside)
        os.replace(aside, path)
    except OSError as error:
        raise RunError(_could_not_write(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_aside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty temporary folder; rename it to `path` if the block succeeds.

    An earlier folder at `path` is replaced only once the new one is complete.

    Raises:
        RunError: if the folder cannot be written; an earlier one stays.
    """
    path = Path(path)
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        aside.chmod(0o755)  # mkdtemp's 0700 would travel with the folder
        yield aside
        if path.exists():
            old = aside.with_suffix(".old")
            os.replace(path, old)
            os.replace(aside, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(aside, path)
    except OSError as error:
        raise RunError(_could_not_write(path, error)) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def printable(text: str | os.PathLike) -> str:
    """Return a path, or a text with paths, in which bytes that are not UTF-8 read `\\xe9`."""
    # Python keeps the byte 0xe9 as the surrogate U+DCE9.
    text = re.sub("[\udc80-\udcff]", lambda one: f"\\x{ord(one[0]) - 0xDC00:x}", os.fspath(text))
    return text.encode(errors="backslashreplace").decode()


def sync(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("r+b") as handle:  # Windows does not flush a file that is open for reading
        os.fsync(handle.fileno())


def reserve(file: BinaryIO, size: int) -> None:
    """Give an empty file its size, or raise OSError at once if the disk has too little space."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    # macOS and Windows have no such call, and would reserve nothing for an empty range.
    for start in range(0, size, _BLOCK):
        file.write(bytes(min(_BLOCK, size - start)))
    file.flush()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text as UTF-8, atomically; file names that are not UTF-8 are escaped."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN and infinity become null."""
    write_text(path, json.dumps(jsonable(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file. Raises RunError if it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def write_csv(path: str | os.PathLike, table) -> None:
    """Write a pandas table without its index, atomically."""
    with write_aside(path) as aside:
        table.to_csv(aside, index=False)


def jsonable(value: Any) -> Any:
    """Return a value with NumPy scalars and arrays as numbers and lists, and NaN as None."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalar or array
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def sha256_of(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _could_not_write(path: Path, error: OSError) -> str:
    return (
        f"{path} could not be written: {error.strerror or error}. No incomplete file remains. "
        "Free some space or choose another place (on the command line: --out)."
    )
