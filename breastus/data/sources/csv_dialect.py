"""CSV files of any dialect: a file in, its rows as lists of text out.

Spreadsheets save as UTF-8, UTF-16 or Windows-1252, separate cells by commas, semicolons, tabs or
`|`, and may write a first line `sep=;`. All of these are read without a setting.
"""

import codecs
import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from breastus.errors import DataError

_SEPARATORS = ",;\t|"
_MAX_BYTES = 100 * 2**20
_SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)
_BLANK_LINE = re.compile(r"[ \t]*(?:\r\n|\r|\n)")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WAY_OUT = "Save it as 'CSV UTF-8' in the spreadsheet program."


class CsvContent(NamedTuple):
    """The rows of a CSV file."""

    rows: list[list[str]]  # cells; the column names come first, and a blank line has no cells
    first: int  # number of the first row in the file, counted from 1
    separator: str  # character between cells
    problem: str  # sentence about what had to be guessed, or ""


def read_csv_rows(path: Path, *, strip: bool = True) -> CsvContent:
    """Read the rows of a CSV file, whatever its encoding and separator.

    With `strip`, blanks around a cell are removed. A file that cannot be read, is empty or is no
    CSV file raises DataError.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if size > _MAX_BYTES:
        raise DataError(
            f"{path} cannot be read as a table: it must be below {_MAX_BYTES >> 20} MiB. "
            f"Received: {size >> 20} MiB"
        )
    text, problem = _decode(data, path)
    first, separator = 1, None
    if line := _SEP_LINE.match(text):
        separator, text, first = line[1], text[line.end() :], 2
    while blank := _BLANK_LINE.match(text):
        text, first = text[blank.end() :], first + 1
    if not text.strip():
        raise DataError(f"{path} cannot be read as a table: it is empty.")
    separator = separator or _guess_separator(text)
    try:
        rows = _parse(text, separator, strip=strip)
    except csv.Error as error:
        raise DataError(
            f"{path} cannot be read as a table: {error}. Check its quotation marks."
        ) from error
    return CsvContent(rows, first, separator, problem)


def _decode(data: bytes, path: Path) -> tuple[str, str]:
    """Return the text, and a sentence if its encoding is a guess."""
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path} is an Excel file with the name of a CSV file. {_WAY_OUT}")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    if encoding is None:
        # In UTF-16 every second byte of a Latin letter is zero.
        utf16 = {data[0:4:2]: "utf-16-be", data[1:4:2]: "utf-16-le"}
        encoding = utf16.get(b"\0\0", "utf-8")
    problem = ""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        problem = (
            f"{path} is not UTF-8 (row {row}) and is read as Windows-1252, which is for Western "
            f"European languages. If names come out wrong: {_WAY_OUT}"
        )
        try:
            text = data.decode("cp1252" if encoding.startswith("utf-8") else encoding)
        except UnicodeDecodeError as other:
            raise DataError(
                f"{path} cannot be read as a table: its encoding is unknown (row {row}). {_WAY_OUT}"
            ) from other
    if "\0" in text:
        raise DataError(f"{path} cannot be read as a table: it does not hold text. {_WAY_OUT}")
    return text, problem


def _guess_separator(text: str) -> str:
    best = max(_SEPARATORS, key=lambda each: _fit(text, each))
    if _fit(text, best)[0]:
        return best
    # None separates, perhaps because of a stray quotation mark, which is reported later.
    return max(_SEPARATORS, key=text.splitlines()[0].count)


def _fit(text: str, separator: str) -> tuple[bool, float, int]:
    """Return how well a separator fits: whether it separates, share of even rows, columns."""
    try:
        rows = [row for row in _parse(text, separator) if any(row)]
    except csv.Error:
        return False, 0.0, 0
    columns = len(rows[0]) if rows else 0
    return columns > 1, sum(len(row) == columns for row in rows) / max(len(rows), 1), columns


def _parse(text: str, separator: str, *, strip: bool = True) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=strip, strict=True)
    return [[cell.strip() for cell in row] if strip else row for row in rows]
