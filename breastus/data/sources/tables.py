"""Tables that come with images: a CSV or Excel file in, its rows as text out.

Column names and values are stripped; an empty cell is the empty text. Errors number rows as a
spreadsheet does, in which the first line holds the column names.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from breastus.errors import DataError

_EXCEL = (".xlsx", ".xlsm")


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table whose columns are separated by commas, semicolons or tabs.

    Args:
        path: a .csv, .xlsx or .xlsm file.
        columns: required columns.

    Returns:
        A table of text in the file's order. The row with index i is row i + 2 of the file.

    Raises:
        DataError: if it cannot be read, lacks a column, or is an Excel file and openpyxl is not
            installed.
    """
    table = _read_excel(path) if path.suffix.lower() in _EXCEL else _read_csv(path)
    table.columns = [str(name).strip() for name in table.columns]
    table = table.apply(lambda column: column.fillna("").astype(str).str.strip())
    if (repeated := table.columns.duplicated()).any():
        raise DataError(
            f"{path} has two columns {table.columns[repeated][0]}. Rename or remove one."
        )
    if missing := [name for name in columns if name not in table]:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}. Received: {', '.join(table.columns)}"
        )
    # Spreadsheets leave lines of separators below a table.
    return table[(table != "").any(axis=1)]


def columns_of(path: Path) -> list[str]:
    """Return the column names of a CSV file, none if it cannot be read as one."""
    try:
        return [str(name).strip() for name in _read_csv(path, rows=0).columns]
    except DataError:
        return []


def check_values(
    table: pd.DataFrame, column: str, allowed: Collection[str], path: Path, *, empty: bool = False
) -> None:
    """Check that a column holds allowed values, in upper or lower case.

    Args:
        table: table from `read_table`.
        column: name of the column.
        allowed: allowed values in lower case.
        path: file of the table, for the error message.
        empty: whether cells may be empty.

    Raises:
        DataError: if a value is not allowed; the message names the row.
    """
    fine = table[column].str.lower().isin([*allowed, *([""] if empty else [])])
    if not fine.all():
        row = fine.idxmin()
        raise DataError(
            f"{path}, {row_name(table, row)}: {column} must be one of {', '.join(allowed)}"
            f"{' or empty' if empty else ''}. Received: {table.at[row, column]!r}"
        )


def check_unique(table: pd.DataFrame, column: str, path: Path) -> None:
    """Check that each image has one row.

    Raises:
        DataError: if two rows have the same value in `column`; the message names both.
    """
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


def _read_csv(path: Path, rows: int | None = None) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        return pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            encoding="utf-8-sig",
            keep_default_na=False,
            skip_blank_lines=False,  # so that rows keep their numbers
            index_col=False,
            nrows=rows,
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _read_excel(path: Path) -> pd.DataFrame:
    import zipfile

    try:
        import openpyxl  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path} is an Excel file, which needs openpyxl: pip install 'breastus[xlsx]'. Or save "
            f"it as CSV, as {path.with_suffix('.csv').name} beside it."
        ) from error
    try:
        return pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an Excel file: {error}") from error
