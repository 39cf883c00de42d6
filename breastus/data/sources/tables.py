"""Tables that come with images: a CSV or Excel file in, its rows as text out.

An empty cell is the empty text. Errors number rows as a spreadsheet does, in which the first line
holds the column names.
"""

import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from breastus.data.sources.csv_dialect import read_csv_rows
from breastus.errors import DataError, DataWarning

# Columns that name the image file of a row in a user's own table, whether of images or of a split.
IMAGE_COLUMNS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_file",
    "image_name",
    "image_path",
)
_OTHER_IMAGE_COLUMNS = ("name", "image_id")  # which often hold something else
_EXCEL = (".xlsx", ".xlsm")
_NO_PATIENT = {
    *("", "-", "?", "na", "n/a", "#n/a", "<na>", "nan", "nat", "none", "null", "unknown"),
}


def read_table(path: Path, columns: Sequence[str] = (), *, strip: bool = True) -> pd.DataFrame:
    """Read a table: an Excel file, or a CSV file of any dialect.

    `columns` are required. With `strip`, blanks around a value are removed; Excel's always are.
    It warns if the encoding of the file is a guess.

    Returns:
        A table of text in the file's order. The row with index i is row i + 2 of the file.

    Raises:
        DataError: if it cannot be read, lacks a column, has a row with more cells than columns, or
            is an Excel file and openpyxl is not installed.
    """
    if path.suffix.lower() in _EXCEL:
        rows, first, separator = _read_excel(path), 1, ""
    else:
        rows, first, separator, problem = read_csv_rows(path, strip=strip)
        if problem:
            warnings.warn(problem, DataWarning, stacklevel=2)
    names, *rows = rows
    for number, row in enumerate(rows, first + 1):
        if any(row[len(names) :]):
            raise DataError(
                f"{path}, row {number} has {len(row)} cells for {len(names)} columns. Put a cell "
                f"that contains {separator!r} in quotation marks."
            )
    unnamed = [f"column {number}" for number, name in enumerate(names, 1) if not name]
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path} has two columns {repeated}. Rename or remove one.")
    table = pd.DataFrame(
        [(row + [""] * len(names))[: len(names)] for row in rows],
        index=range(first - 1, first - 1 + len(rows)),
        columns=names,
        dtype=str,
    )
    if missing := [name for name in columns if name not in table]:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}. Received: {', '.join(table.columns)}"
        )
    # Spreadsheets leave lines of separators below a table, and columns of them beside it.
    table = table.drop(columns=[name for name in unnamed if (table[name] == "").all()])
    return table[(table != "").any(axis=1)]


def read_image_table(path: Path) -> pd.DataFrame:
    """Read a user's own table with one image a row, its column names in lower case with `_`.

    It raises DataError as `read_table` does, and if two column names differ in case only.
    """
    table = read_table(path)
    table.columns = [_plain(name) for name in table.columns]
    if (repeated := table.columns.duplicated()).any():
        raise DataError(
            f"{path} has two columns {table.columns[repeated][0]}. Rename or remove one."
        )
    return table


def find_image_column(table: pd.DataFrame, path: Path) -> str | None:
    """Return the column of a user's table that names the image files, or None.

    Several such columns raise DataError.
    """
    found = [name for name in IMAGE_COLUMNS if name in table]
    if len(found) > 1:
        raise DataError(
            f"{path} must have one column of {', '.join(IMAGE_COLUMNS)}. Rename the others. "
            f"Received: {', '.join(found)}"
        )
    return next(iter(found or [name for name in _OTHER_IMAGE_COLUMNS if name in table]), None)


def columns_of(path: Path) -> list[str]:
    """Return the column names of a CSV file, none if it cannot be read as one."""
    try:
        return read_csv_rows(path).rows[0]
    except DataError:
        return []


def names_images(columns: Sequence[str]) -> bool:
    """Return whether a column of a user's table is named as one of image files."""
    return any(_plain(name) in IMAGE_COLUMNS for name in columns)


def file_of(folder: Path, cell: str) -> Path:
    """Return the file that a cell names, relative to a folder or absolute.

    Backslashes separate folders, as on Windows, if no file has them in its name.
    """
    file = folder / cell
    return file if "\\" not in cell or file.is_file() else folder / cell.replace("\\", "/")


def patients_of(
    table: pd.DataFrame,
    column: str,
    path: Path,
    *,
    scope: str | None = None,
    used: pd.Series | None = None,
    required: bool = False,
) -> pd.Series:
    """Return the patient of each row, "" if unknown. Words such as "n/a" count as empty cells.

    Args:
        table: table from `read_table`.
        column: column of patients.
        path: file of the table, for the error message.
        scope: column of hospitals, each of which may know its patients or not.
        used: bool, whether the image of each row is used; None means all.
        required: true to refuse a table without any patient as well.

    Raises:
        DataError: if only some of the used rows have a patient, as where a spreadsheet had merged
            cells: images of one patient would be split apart.

    Warns:
        DataWarning: if ids differ in case, blanks or zeros only, such as 1 and 1.0.
    """
    patients = table[column].where(~table[column].str.lower().isin(_NO_PATIENT), "")
    known = patients != ""
    some = known.groupby(table[scope]).transform("any") if scope else known.any()
    lacking = ~known & (some | required) & (used if used is not None else True)
    way_out = (
        "give an image of an unknown patient an id of its own; or remove the column if no patient "
        "is known."
    )
    check_none_lack(lacking, table, column, path, way_out)
    _warn_of_two_spellings(patients[known], table[scope][known] if scope else None, column, path)
    return patients


def _warn_of_two_spellings(
    patients: pd.Series, scopes: pd.Series | None, column: str, path: Path
) -> None:
    """Warn if ids differ only as a spreadsheet or a typist changes them: 1.0, 001, p1 and P-1."""
    plain = patients.map(_plain_patient)
    keys = plain if scopes is None else plain + "\n" + scopes
    spellings = patients.groupby(keys).unique()
    twice = spellings[spellings.map(len) > 1]
    if len(twice):
        warnings.warn(
            f"{path}: {len(twice)} patients may be written in two ways in {column}, such as "
            f"{' and '.join(twice.iloc[0][:2])}. Each counts as two patients, whose images may be "
            "split apart. Write each in one way if it is one.",
            DataWarning,
            stacklevel=4,
        )


def _plain_patient(name: str) -> str:
    name = re.sub(r"(?<=\d)[.,]0+$", "", name.casefold())
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]", "", name))


def check_none_lack(
    lacking: pd.Series, table: pd.DataFrame, column: str, path: Path, way_out: str
) -> None:
    """Raise DataError if any row is `lacking` a value (bool); `way_out` ends the message."""
    if lacking.any():
        raise DataError(
            f"{path}: {lacking.sum()} of {len(table)} rows have no {column}, the first is "
            f"{row_name(table, lacking.idxmax())}. Merged cells? Fill in every row; {way_out}"
        )


def check_values(
    table: pd.DataFrame, column: str, allowed: Collection[str], path: Path, *, empty: bool = False
) -> None:
    """Raise DataError, naming the row, unless a column holds `allowed` values, in any case.

    `empty` allows empty cells too.
    """
    fine = table[column].str.lower().isin([*allowed, *([""] if empty else [])])
    if not fine.all():
        row = fine.idxmin()
        raise DataError(
            f"{path}, {row_name(table, row)}: {column} must be one of {', '.join(allowed)}"
            f"{' or empty' if empty else ''}. Received: {table.at[row, column]!r}"
        )


def check_unique(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise DataError, naming both rows, if two rows have the same value in a column."""
    repeated = table[column].duplicated()
    if repeated.any():
        second = repeated.idxmax()
        first = (table[column] == table.at[second, column]).idxmax()
        raise DataError(
            f"{path}: {row_name(table, first)} and {row_name(table, second)} name the same image. "
            f"Remove one. Received: {table.at[second, column]}"
        )


def row_name(table: pd.DataFrame, row: int) -> str:
    """Return the name of a row for error messages, such as `row 3 (ALWI_001.png)`."""
    return f"row {row + 2} ({table.iloc[table.index.get_loc(row), 0]})"


def _plain(name: str) -> str:
    name = name.strip().lower()
    return re.sub(r"[\s-]+", "_", name) if re.fullmatch(r"[\w\s-]+", name) else name


def _read_excel(path: Path) -> list[list[str]]:
    import zipfile

    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path} is an Excel file, which needs openpyxl: pip install 'breastus[xlsx]'. Or save "
            f"it as CSV, as {path.with_suffix('.csv').name} beside it."
        ) from error
    try:
        table = pd.read_excel(
            path, header=None, dtype=str, keep_default_na=False, engine="openpyxl"
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an Excel file: {error}") from error
    rows = table.fillna("").astype(str).to_numpy().tolist() or [[]]
    return [[cell.strip() for cell in row] for row in rows]
