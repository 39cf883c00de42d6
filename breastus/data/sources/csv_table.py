"""A user's own table of images: `--data my.csv`, or a folder that holds images.csv or that one CSV.

    path,label,patient_id            path (or image, or file) is relative to the CSV, or absolute
    scans/a.png,lump,001             label: lump, no_lump, benign, malignant, normal, or empty
    scans/b.png,no_lump,002          (unknown); or a column finding: benign, malignant, normal,
                                     unknown; or both

Optional columns: `patient_id`, `mask_paths` and `flags` (each `;`-joined), `source` (the hospital
or data set, so that one can be left out), `excluded` (the reason why an image is not used). Who
gave the labels, and how, breastus cannot know. What is not understood is refused, with its row: a
label that is guessed at would be worse than none.
"""

import difflib
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from breastus.data.sources import SourceContent, SourceImage, not_there
from breastus.data.sources.folder import class_folder
from breastus.data.sources.folder import recognises as holds_class_folders
from breastus.data.sources.tables import check_values, columns_of, read_table, row_name
from breastus.errors import DataError
from breastus.labels import FINDINGS, label_of_finding

SOURCE = "csv"

_TABLE = "images.csv"
_PATHS = ("path", "image", "file")
_LABELS = ("label", "finding")
_OPTIONAL = ("patient_id", "mask_paths", "flags", "source", "excluded")
_SOURCE = re.compile(r"[\w .-]+")
_FLAG = re.compile(r"[a-z0-9_]+")
_NO_REASON = {"yes", "no", "true", "false", "0", "1"}


def is_table(path: Path) -> bool:
    """Whether a file is a CSV with a column of images and one of labels."""
    columns = {name.lower() for name in columns_of(path)}
    return bool(columns & set(_PATHS)) and bool(columns & set(_LABELS))


def recognises(folder: Path) -> bool:
    """Whether the folder holds images.csv, or a single CSV that is a table of images."""
    return _table(folder) is not None


def read(path: Path) -> SourceContent:
    """List the images that a CSV file, or the one in a folder, names.

    Raises:
        DataError: when it cannot be read, lacks or mistakes a column, holds a value that is not
            known or that contradicts another, names an image twice, or none that is there; or when
            a folder holds class folders as well.
    """
    if path.is_dir():
        path = _unambiguous(path)
    content = SourceContent(SOURCE)
    table, where = _understood(path, content)
    check_values(table, "finding", FINDINGS, path, empty=True)
    files = [path.parent / text for text in table[where]]
    _check_files_differ(table, files, path)
    names = _names(path.parent, files)
    for row, cells, file, name in zip(
        table.index, table.to_dict("records"), files, names, strict=True
    ):
        here = f"{path}, {row_name(table, row)}"
        finding, label = _finding_and_label(cells["finding"].lower(), cells["label"], here)
        image = SourceImage(
            name=name,
            path=file,
            mask_paths=_masks(path, cells["mask_paths"], content),
            finding=finding,
            label=label,
            patient_id=cells["patient_id"],
            flags=_flags(cells["flags"], here),
            excluded=_reason(cells["excluded"], here),
            source=_source(cells["source"], here),
        )
        if file.is_file():
            content.images.append(image)
        else:
            content.problems.append(not_there(cells[where], path, "that place"))
    if not content.images:
        raise DataError(
            f"{path} names no image that is there. Its paths must be absolute, or relative to "
            f"{path.parent}."
        )
    return content


def _table(folder: Path) -> Path | None:
    if (named := folder / _TABLE).is_file():
        return named
    tables = [file for file in folder.glob("*.csv") if is_table(file)]
    return tables[0] if len(tables) == 1 else None


def _unambiguous(folder: Path) -> Path:
    table = _table(folder)
    if table.name != _TABLE and holds_class_folders(folder):
        raise DataError(
            f"{folder} can be read in two ways: by its class folders, or by {table.name}. Name the "
            f"CSV file itself (--data {table}), or move it elsewhere for the folders."
        )
    return table


def _understood(path: Path, content: SourceContent) -> tuple[pd.DataFrame, str]:
    """Return the table with all columns, and which of them holds the paths."""
    table = read_table(path)
    table.columns = [name.lower() for name in table.columns]
    if table.columns.duplicated().any():
        raise DataError(f"{path} has two columns {table.columns[table.columns.duplicated()][0]}.")
    wheres = [name for name in _PATHS if name in table]
    known = [*_LABELS, *_OPTIONAL]
    if len(wheres) != 1 or not any(name in table for name in _LABELS):
        raise DataError(
            f"{path} must have one column of {', '.join(_PATHS)}, and label or finding. "
            f"Received: {', '.join(table.columns)}"
        )
    others = [name for name in table if name not in (*wheres, *known)]
    for name in others:
        # A misspelt patient_id that is passed over would put one patient on both sides of a split.
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise DataError(
                f"{path} has a column {name}. If {near[0]} is meant, name it so; else name it "
                "otherwise."
            )
    if others:
        content.problems.append(f"{path}: the columns {', '.join(others)} are not used.")
    if table.empty:
        raise DataError(f"{path} names no images: it has no row below the names of its columns.")
    table = table.reindex(columns=[*wheres, *known], fill_value="")
    if (empty := table[wheres[0]] == "").any():
        raise DataError(f"{path}, row {empty.idxmax() + 2}: {wheres[0]} must not be empty.")
    return table, wheres[0]


def _finding_and_label(finding: str, said: str, here: str) -> tuple[str, str]:
    """Return both, each from the other where one is not given."""
    finding = finding or "unknown"
    if said.lower() in ("", "unknown"):
        return finding, label_of_finding(finding)
    if (known := class_folder(said)) is None:
        raise DataError(
            f"{here}: label must be lump, no_lump, benign, malignant, normal, or empty if unknown. "
            f"Received: {said!r}"
        )
    of_label, label = known
    if finding == "unknown":
        return of_label, label
    if label_of_finding(finding) != label or of_label not in ("unknown", finding):
        raise DataError(
            f"{here}: label and finding contradict each other. Received: {said}, {finding}"
        )
    return finding, label


def _masks(table: Path, cell: str, content: SourceContent) -> tuple[Path, ...]:
    masks = [table.parent / text for text in map(str.strip, cell.split(";")) if text]
    content.problems += [
        f"{table} names the mask {mask}, which is not there."
        for mask in masks
        if not mask.is_file()
    ]
    return tuple(mask for mask in masks if mask.is_file())


def _flags(cell: str, here: str) -> tuple[str, ...]:
    flags = tuple(flag for flag in map(str.strip, cell.split(";")) if flag)
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise DataError(
                f"{here}: flags must be words of small letters, digits and _, such as caliper, "
                f"joined by ';'. Received: {flag!r}"
            )
    return flags


def _reason(cell: str, here: str) -> str:
    if cell.lower() in _NO_REASON:
        raise DataError(
            f"{here}: excluded must hold the reason why the image is left out, or be empty. "
            f"Received: {cell!r}"
        )
    return cell


def _source(cell: str, here: str) -> str:
    if cell and not _SOURCE.fullmatch(cell):
        raise DataError(
            f"{here}: source must be of letters, digits, blanks, '.', '_' and '-'. "
            f"Received: {cell!r}"
        )
    return cell


def _check_files_differ(table: pd.DataFrame, files: list[Path], path: Path) -> None:
    first: dict[Path, int] = {}
    for row, file in zip(table.index, files, strict=True):
        if (earlier := first.setdefault(file.resolve(), row)) != row:
            raise DataError(
                f"{path}: {row_name(table, earlier)} and {row_name(table, row)} are of one image. "
                "Remove one."
            )


def _names(folder: Path, files: list[Path]) -> list[str]:
    """Return a name of its own for each file.

    Files elsewhere are named by their last parts alone, two or as many as it takes: where on a
    machine they lie is nobody's business.
    """
    folder = Path(os.path.abspath(folder))
    files = [Path(os.path.abspath(file)) for file in files]
    here = [file.is_relative_to(folder) for file in files]
    for last in range(2, max(len(file.parts) for file in files) + 1):
        names = [
            file.relative_to(folder).as_posix() if inside else "/".join(file.parts[1:][-last:])
            for file, inside in zip(files, here, strict=True)
        ]
        if len(set(names)) == len(names):
            break
    stems = [name.removesuffix(file.suffix) for name, file in zip(names, files, strict=True)]
    count = Counter(stems)
    # Two files that differ by suffix alone keep it.
    return [stem if count[stem] == 1 else name for name, stem in zip(names, stems, strict=True)]
