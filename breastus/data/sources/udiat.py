"""UDIAT (Dataset B): 163 breast ultrasound images, 110 benign, 53 malignant, no normal.

Recorded at the UDIAT Diagnostic Centre, Sabadell, Spain (Siemens ACUSON Sequoia C512). Its table
gives class and diagnosis, not how they were found. No open licence: its authors hand it out against
a signed agreement. As released:

    original/000001.png, GT/000001.png (the mask), DatasetB.xlsx (Image, Type)

Some copies have no table but the classes as folders, `Benign/original/000001.png` or
`original/Benign/000001.png`; these are read too, and DatasetB.csv before DatasetB.xlsx. Known
faults: some papers count 109 benign and 54 malignant; there are no patient ids; there is no image
without a lump, so it can only be learned from beside another source.

Reference:
    Yap, Pons, Marti, Ganau, Sentis, Zwiggelaar, Davison, Marti: Automated breast ultrasound lesions
    detection using convolutional neural networks. IEEE Journal of Biomedical and Health Informatics
    22 (2018) 1218-1226.
"""

import re
from pathlib import Path

from breastus.data.sources import (
    SourceContent,
    SourceImage,
    files_below,
    here_or_below,
    not_there,
    orphans,
    unlisted,
)
from breastus.data.sources.tables import check_once, check_values, read_table
from breastus.errors import DataError
from breastus.labels import label_of_finding

SOURCE = "udiat"

_FINDINGS = ("benign", "malignant")
_TABLES = ("DatasetB.csv", "DatasetB.xlsx")
_NUMBER = re.compile(r"\d{6}")


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, has `original`, `GT` and the classes."""
    return _root(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with finding and mask.

    Raises:
        DataError: when the table cannot be read, lacks a column, names an image twice or has an
            unknown class, or openpyxl is needed for it and not installed.
    """
    root = _root(folder)
    files = files_below(root)
    images = {file.stem: file for file in files if "original" in _parts(root, file)}
    masks = {file.stem: file for file in files if "gt" in _parts(root, file)}
    content = SourceContent(SOURCE)
    if path := _table(root):
        table = read_table(path, ["Image", "Type"])
        table["Image"] = table["Image"].str.zfill(6)  # a spreadsheet keeps 1 of 000001
        check_once(table, "Image", path)
        check_values(table, "Type", _FINDINGS, path)
        finding_of = dict(zip(table["Image"], table["Type"].str.lower(), strict=True))
        content.problems += [
            not_there(name, path, "original/") for name in finding_of if name not in images
        ]
        content.problems += unlisted(
            (file for name, file in images.items() if name not in finding_of), path
        )
    else:
        finding_of = {name: _finding_in_folders(root, file) for name, file in images.items()}
    for name, file in images.items():
        if name in finding_of:
            mask = masks.pop(name, None)
            content.images.append(
                SourceImage(
                    name=name,
                    path=file,
                    mask_paths=(mask,) if mask else (),
                    finding=finding_of[name],
                    label=label_of_finding(finding_of[name]),
                )
            )
    content.problems += orphans(mask for name, mask in masks.items() if name not in images)
    if not content.images:
        raise DataError(f"{root} holds none of the images that its table names.")
    return content


def _root(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        if _table(candidate) and (candidate / "original").is_dir():
            return candidate
        if _has_class_folders(candidate):
            return candidate
    return None


def _has_class_folders(candidate: Path) -> bool:
    """Whether there are `original` and `GT` with classes above or below, and nothing else in them.

    File names of six digits as well, as other sets use such folders too.
    """
    if not any((candidate / name).is_dir() for name in ("original", "Benign", "benign")):
        return False
    files = files_below(candidate)
    kinds = [{"original", "gt"} & set(_parts(candidate, file)) for file in files]
    images = [file for file, kind in zip(files, kinds, strict=True) if kind == {"original"}]
    stems = {file.stem for file in images}
    return (
        {"gt"} in kinds
        and all(kinds)
        and len(stems) == len(images)
        and all(_NUMBER.fullmatch(stem) for stem in stems)
        and all(_finding_in_folders(candidate, file) for file in images)
    )


def _table(root: Path) -> Path | None:
    return next((root / name for name in _TABLES if (root / name).is_file()), None)


def _parts(root: Path, file: Path) -> list[str]:
    return [part.lower() for part in file.relative_to(root).parts[:-1]]


def _finding_in_folders(root: Path, file: Path) -> str:
    return next((part for part in _parts(root, file) if part in _FINDINGS), "")
