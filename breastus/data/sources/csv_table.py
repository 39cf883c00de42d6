"""A user's table of images: `--data my.csv`, or a folder that holds images.csv or a single CSV.

    path,label,patient_id            path (or file, filename, image, ...) is relative to the CSV, or
    scans/a.png,lump,001             absolute; label: lump, no_lump, benign, malignant, normal, or
    scans/b.png,no_lump,002          empty (unknown); or a column finding: benign, malignant,
                                     normal, unknown; or both

Optional columns: `patient_id`, filled in every row or in none; `mask_paths` and `flags`, each
`;`-joined; `source`, the hospital or data set, which `source:NAME` can then test on; `excluded`,
the reason why an image is not used. The origin of the labels is unknown. A value that is not
understood is refused with its row, because a guessed label would be worse than none.
"""

import difflib
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from breastus.data.sources.class_folders import has_class_folders
from breastus.data.sources.class_names import ClassNames, suggestion
from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.registry import register_source
from breastus.data.sources.tables import (
    IMAGE_COLUMNS,
    check_none_lack,
    check_values,
    columns_of,
    file_of,
    find_image_column,
    names_images,
    patients_of,
    read_image_table,
    row_name,
)
from breastus.errors import DataError
from breastus.labels import FINDINGS, label_of_finding

_TABLE = "images.csv"
_LABELS = ("label", "finding")
_OPTIONAL = ("patient_id", "mask_paths", "flags", "source", "excluded")
_SOURCE = re.compile(r"[\w .-]+")
_FLAG = re.compile(r"[a-z0-9_]+")
_NO_REASON = {"yes", "no", "true", "false", "0", "1"}


def _is_table_of_images(path: Path) -> bool:
    columns = columns_of(path)
    return names_images(columns) and any(name.lower() in _LABELS for name in columns)


def _find_table(folder: Path) -> Path | None:
    if (named := folder / _TABLE).is_file():
        return named
    tables = [file for file in folder.glob("*.csv") if _is_table_of_images(file)]
    return tables[0] if len(tables) == 1 else None


@register_source(
    "csv",
    recognises=lambda folder, names: _find_table(folder) is not None,
    is_layout=True,
    takes_names=True,
)
def read(path: Path, class_names: ClassNames) -> SourceContent:
    """List the images of a CSV file, or of the one in a folder.

    A folder that holds class folders as well is refused.
    """
    if path.is_dir():
        folder, path = path, _find_table(path)
        if path.name != _TABLE and has_class_folders(folder, class_names):
            raise DataError(
                f"{folder} can be read in two ways: by its class folders, or by {path.name}. Name "
                f"the CSV file itself (--data {path}), or move it elsewhere for the folders."
            )
    content = SourceContent()
    table, path_column = _read(path, content)
    check_values(table, "finding", FINDINGS, path, empty=True)
    is_labelled = ~table[list(_LABELS)].isin(["", "unknown"]).all(axis=1)
    used = is_labelled & (table["excluded"] == "")
    patients = patients_of(table, "patient_id", path, scope="source", used=used)
    without_source = table["source"] == ""
    if without_source.any() and not without_source.all():
        if (patients != "").any():
            # One patient would be taken for two, of two hospitals.
            check_none_lack(without_source, table, "source", path, "or remove the column.")
        content.problems.append(
            f"{path}: {without_source.sum()} of {len(table)} rows have no source and count as csv."
        )
    files = [file_of(path.parent, text) for text in table[path_column]]
    content.class_names = set(table["label"])
    _check_files_differ(table, files, path)
    names = _names(path.parent, files)
    for row, cells, file, name, patient in zip(
        table.index, table.to_dict("records"), files, names, patients, strict=True
    ):
        where = f"{path}, {row_name(table, row)}"
        finding, label = _finding_and_label(
            cells["finding"].lower(), cells["label"], class_names, where
        )
        image = SourceImage(
            name=name,
            path=file,
            mask_paths=_masks(path, cells["mask_paths"], content),
            finding=finding,
            label=label,
            patient_id=patient,
            flags=_flags(cells["flags"], where),
            excluded=_reason(cells["excluded"], where),
            source=_source(cells["source"], where),
        )
        if file.is_file():
            content.images.append(image)
        else:
            content.add_missing(cells[path_column], path, "that place")
    if not content.images:
        raise DataError(
            f"{path} names no existing image. Its paths must be absolute, or relative to "
            f"{path.parent}. Received: {table[path_column].iloc[0]}"
        )
    return content


def _read(path: Path, content: SourceContent) -> tuple[pd.DataFrame, str]:
    """Return the table with all columns, and the name of the column of paths."""
    table = read_image_table(path)
    path_column = find_image_column(table, path)
    known = [*_LABELS, *_OPTIONAL]
    if path_column is None or not any(name in table for name in _LABELS):
        raise DataError(
            f"{path} must have one column of {', '.join(IMAGE_COLUMNS)}, and label or finding. "
            f"Received: {', '.join(table.columns)}"
        )
    others = [name for name in table if name not in (path_column, *known)]
    for name in others:
        # An ignored misspelling of patient_id would put one patient on both sides of a split.
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise DataError(
                f"{path} has a column {name}. Rename it to {near[0]} if that is meant, else to "
                "something less similar."
            )
    if others:
        content.problems.append(f"{path}: the columns {', '.join(others)} are not used.")
    if table.empty:
        raise DataError(f"{path} names no images: it has no row below the column names.")
    table = table.reindex(columns=[path_column, *known], fill_value="")
    if (empty := table[path_column] == "").any():
        raise DataError(f"{path}, row {empty.idxmax() + 2}: {path_column} must not be empty.")
    return table, path_column


def _finding_and_label(finding: str, cell: str, names: ClassNames, where: str) -> tuple[str, str]:
    """Return both, each derived from the other if it is missing."""
    finding = finding or "unknown"
    parsed = names.parse(cell)
    if parsed is None and cell.lower() in ("", "unknown"):
        return finding, label_of_finding(finding)
    if parsed is None:
        raise DataError(
            f"{where}: label must be lump, no_lump, benign, malignant, normal, or empty (unknown). "
            f"If it means one of these, say which: {suggestion([cell])}. Received: {cell!r}"
        )
    finding_of_label, label = parsed
    if finding == "unknown":
        return finding_of_label, label
    if label_of_finding(finding) != label or finding_of_label not in ("unknown", finding):
        raise DataError(
            f"{where}: label and finding contradict each other. Received: {cell}, {finding}"
        )
    return finding, label


def _masks(table: Path, cell: str, content: SourceContent) -> tuple[Path, ...]:
    masks = [file_of(table.parent, text) for text in map(str.strip, cell.split(";")) if text]
    content.problems += [
        f"{table} names the mask {mask}, which does not exist."
        for mask in masks
        if not mask.is_file()
    ]
    return tuple(mask for mask in masks if mask.is_file())


def _flags(cell: str, where: str) -> tuple[str, ...]:
    flags = tuple(flag for flag in map(str.strip, cell.split(";")) if flag)
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            raise DataError(
                f"{where}: flags must be words of small letters, digits and _, such as caliper, "
                f"joined by ';'. Received: {flag!r}"
            )
    return flags


def _reason(cell: str, where: str) -> str:
    if cell.lower() in _NO_REASON:
        raise DataError(
            f"{where}: excluded must hold the reason why the image is excluded, or be empty. "
            f"Received: {cell!r}"
        )
    return cell


def _source(cell: str, where: str) -> str:
    if cell and not _SOURCE.fullmatch(cell):
        raise DataError(
            f"{where}: source must consist of letters, digits, blanks, '.', '_' and '-'. "
            f"Received: {cell!r}"
        )
    return cell


def _check_files_differ(table: pd.DataFrame, files: list[Path], path: Path) -> None:
    first: dict[Path, int] = {}
    for row, file in zip(table.index, files, strict=True):
        if (earlier := first.setdefault(file.resolve(), row)) != row:
            raise DataError(
                f"{path}: {row_name(table, earlier)} and {row_name(table, row)} name the same "
                "image. Remove one."
            )


def _names(folder: Path, files: list[Path]) -> list[str]:
    """Return a unique name for each file.

    Files outside the folder are named by their last two parts, or as many as make them unique:
    their place on a machine is not recorded.
    """
    folder = Path(os.path.abspath(folder))
    files = [Path(os.path.abspath(file)) for file in files]
    for last in range(2, max(len(file.parts) for file in files) + 1):
        names = [
            file.relative_to(folder).as_posix()
            if file.is_relative_to(folder)
            else "/".join(file.parts[1:][-last:])
            for file in files
        ]
        if len(set(names)) == len(names):
            break
    stems = [name.removesuffix(file.suffix) for name, file in zip(names, files, strict=True)]
    count = Counter(stems)
    # Two files that differ by suffix only keep it.
    return [stem if count[stem] == 1 else name for name, stem in zip(names, stems, strict=True)]
