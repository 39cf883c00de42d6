"""Tables that come with images: a CSV or Excel file in, its rows as texts out.

Column names and values lose the blanks around them; an empty cell is the empty text. A row is named
in errors as a person sees it in a spreadsheet, where the first line holds the names of the columns.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from breastus.errors import DataError

_EXCEL = (".xlsx", ".xlsm")


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table; commas, semicolons and tabs may stand between its columns.

    Args:
        path: a .csv, .xlsx or .xlsm file.
        columns: those that must be there.

    Returns:
        Texts, in the table's order. The row of index i is row i + 2 of the file.

    Raises:
        DataError: when it cannot be read, lacks a column, or is an Excel file and openpyxl is not
            installed.
    """
    table = _read_excel(path) if path.suffix.lower() in _EXCEL else _read_csv(path)
    table.columns = [str(name).strip() for name in table.columns]
    table = table.apply(lambda column: column.fillna("").astype(str).str.strip())
    if twice := [name for name in set(table.columns) if list(table.columns).count(name) > 1]:
        raise DataError(f"{path} has two columns {twice[0]}. Name or remove one.")
    if missing := [name for name in columns if name not in table]:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}. Received: {', '.join(table.columns)}"
        )
    # Lines that hold separators alone, as spreadsheets leave them below a table.
    return table[(table != "").any(axis=1)]


def columns_of(path: Path) -> list[str]:
    """Return the names of a CSV file's columns, none when it cannot be read as one."""
    try:
        return [str(name).strip() for name in _read_csv(path, rows=0).columns]
    except DataError:
        return []


def check_values(
    table: pd.DataFrame, column: str, allowed: Collection[str], path: Path, *, empty: bool = False
) -> None:
    """See that a column holds allowed values, in whatever case.

    Args:
        table: as from `read_table`.
        column: its name.
        allowed: in lower case.
        path: the table's file, for the error.
        empty: whether a cell may be empty.

    Raises:
        DataError: when not, naming the row.
    """
    fine = table[column].str.lower().isin([*allowed, *([""] if empty else [])])
    if not fine.all():
        row = fine.idxmin()
        raise DataError(
            f"{path}, {row_name(table, row)}: {column} must be one of {', '.join(allowed)}"
            f"{' or empty' if empty else ''}. Received: {table.at[row, column]!r}"
        )


def check_once(table: pd.DataFrame, column: str, path: Path) -> None:
    """See that no two rows of a table are of one image.

    Raises:
        DataError: when they are, naming both rows.
    """
    twice = table[column].duplicated()
    if twice.any():
        second = twice.idxmax()
        first = (table[column] == table.at[second, column]).idxmax()
        raise DataError(
            f"{path}: {row_name(table, first)} and {row_name(table, second)} are of one image. "
            f"Remove one. Received: {table.at[second, column]}"
        )


def row_name(table: pd.DataFrame, row: int) -> str:
    """Return how a row is called in an error, such as `row 3 (ALWI_001.png)`."""
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
            f"{path} is an Excel file, for which openpyxl is needed: pip install 'breastus[xlsx]'. "
            f"Or save it as CSV, as {path.with_suffix('.csv').name} beside it."
        ) from error
    try:
        return pd.read_excel(path, dtype=str, keep_default_na=False, engine="openpyxl")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an Excel file: {error}") from error
