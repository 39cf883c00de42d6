"""BrEaST (Breast-Lesions-USG): 256 images of 256 patients, 154 benign, 98 malignant, 4 normal.

Recorded in Poland, annotated by radiologists; each class was confirmed by biopsy or by follow-up.
266 lesions are outlined. CC BY 4.0. As released on The Cancer Imaging Archive:

    BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx
    BrEaST-Lesions_USG-images_and_masks/case001.png, case001_tumor.png, case001_other1.png

The table has a row an image: CaseID, Image_filename, Mask_tumor_filename, Mask_other_filename (both
`&`-joined where there are several), Pixel_size, ..., Classification. Masks named `other` show
findings that are no tumour, and are left out. The table is read from a CSV file as well, if its
columns keep their names; where both lie side by side the CSV is read. Known faults: hardly an image
is normal, so it can only be learned from beside another source.

Reference:
    Pawlowska, Cwierz-Pienkowska, Domalik, Jagus, Kasprzak, Matkowski, Fura, Nowicki, Zolek: Curated
    benchmark dataset for ultrasound based breast lesion analysis. Scientific Data 11 (2024) 148.
    TCIA 10.7937/9WKK-Q141.
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
from breastus.data.sources.tables import check_once, check_values, columns_of, read_table
from breastus.errors import DataError
from breastus.labels import label_of_finding

SOURCE = "breast_usg"

_COLUMNS = (
    "CaseID",
    "Image_filename",
    "Mask_tumor_filename",
    "Mask_other_filename",
    "Classification",
)
_FINDINGS = ("benign", "malignant", "normal")
_TABLE = re.compile(r"breast-lesions.usg.*\.(csv|xlsx)", re.IGNORECASE)


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, holds the table of clinical data."""
    return _table(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with patient, finding and the masks of tumours.

    Raises:
        DataError: when the table cannot be read, lacks a column, names an image twice or has an
            unknown class, or openpyxl is needed for it and not installed.
    """
    path = _table(folder)
    table = read_table(path, _COLUMNS)
    check_once(table, "Image_filename", path)
    check_values(table, "Classification", _FINDINGS, path)
    content = SourceContent(SOURCE)
    files = {file.name: file for file in files_below(path.parent)}
    for row in table.to_dict("records"):
        tumors, others = (_names(row[f"Mask_{kind}_filename"]) for kind in ("tumor", "other"))
        masks = [files.pop(name, None) for name in tumors]
        content.problems += [
            not_there(name, path, "its folder")
            for name, mask in zip(tumors, masks, strict=True)
            if mask is None
        ]
        for name in others:
            files.pop(name, None)
        name = row["Image_filename"]
        if name not in files:
            content.problems.append(not_there(name, path, "its folder"))
            continue
        finding = row["Classification"].lower()
        content.images.append(
            SourceImage(
                name=Path(name).stem,
                path=files.pop(name),
                mask_paths=tuple(mask for mask in masks if mask is not None),
                finding=finding,
                label=label_of_finding(finding),
                patient_id=row["CaseID"],
            )
        )
    left = {True: [], False: []}
    for name, file in files.items():
        left[re.search(r"_(tumor|other\d*)\.\w+$", name) is not None].append(file)
    content.problems += [*unlisted(left[False], path), *orphans(left[True])]
    if not content.images:
        raise DataError(f"{path.parent} holds none of the images that {path.name} names.")
    return content


def _names(cell: str) -> list[str]:
    return [name for name in map(str.strip, cell.split("&")) if name]


def _table(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        files = [file for file in candidate.glob("*.*") if file.is_file()]
        csv = [file for file in files if file.suffix.lower() == ".csv"]
        # Of whatever name, if it has the columns: it was saved by hand.
        for file in sorted(csv):
            if {"Image_filename", "Mask_tumor_filename"} <= set(columns_of(file)):
                return file
        for file in sorted(files):
            if _TABLE.fullmatch(file.name):
                return file
    return None
