"""BrEaST (Breast-Lesions-USG): 256 images of 256 patients, 154 benign, 98 malignant, 4 normal.

Origin: Poland, annotated by radiologists; each class was confirmed by biopsy or by follow-up. 266
lesions are outlined. Licence: CC BY 4.0. As released on The Cancer Imaging Archive:

    BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx
    BrEaST-Lesions_USG-images_and_masks/case001.png, case001_tumor.png, case001_other1.png

The table has one row per image: CaseID, Image_filename, Mask_tumor_filename, Mask_other_filename
(both `&`-joined if there are several), Pixel_size, ..., Classification. Masks named `other` show
findings that are no tumour and are ignored. The table may also be saved as a CSV file with the same
columns, which is preferred. Known faults: hardly any image is normal, so a network needs another
source as well.

Reference:
    Pawlowska, Cwierz-Pienkowska, Domalik, Jagus, Kasprzak, Matkowski, Fura, Nowicki, Zolek: Curated
    benchmark dataset for ultrasound based breast lesion analysis. Scientific Data 11 (2024) 148.
    TCIA 10.7937/9WKK-Q141.
"""

import re
from pathlib import Path

from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below, find_root
from breastus.data.sources.registry import register_source
from breastus.data.sources.tables import (
    check_unique,
    check_values,
    columns_of,
    patients_of,
    read_table,
)

_COLUMNS = (
    "CaseID",
    "Image_filename",
    "Mask_tumor_filename",
    "Mask_other_filename",
    "Classification",
)
_TABLE = re.compile(r"breast-lesions.usg.*\.(csv|xlsx)", re.IGNORECASE)


def _find_table(folder: Path) -> Path | None:
    files = sorted(file for file in folder.glob("*.*") if file.is_file())
    # A CSV is saved by hand, so its name may be any; its columns decide.
    saved_by_hand = (
        file
        for file in files
        if file.suffix.lower() == ".csv" and set(_COLUMNS[1:3]) <= set(columns_of(file))
    )
    released = (file for file in files if _TABLE.fullmatch(file.name))
    return next(saved_by_hand, None) or next(released, None)


@register_source("breast_usg", recognises=lambda folder: find_root(folder, _find_table) is not None)
def read(folder: Path) -> SourceContent:
    """List the images with patient, finding and the masks of tumours."""
    root = find_root(folder, _find_table)
    path = _find_table(root)
    table = read_table(path, _COLUMNS)
    check_unique(table, "Image_filename", path)
    check_values(table, "Classification", ("benign", "malignant", "normal"), path)
    table["CaseID"] = patients_of(table, "CaseID", path, required=True)
    content = SourceContent()
    files = {file.name: file for file in files_below(root)}
    for row in table.to_dict("records"):
        masks = []
        for name in _names(row["Mask_tumor_filename"]):
            if name in files:
                masks.append(files.pop(name))
            else:
                content.add_missing(name, path, "its folder")
        for name in _names(row["Mask_other_filename"]):
            if (ignored := files.pop(name, None)) is not None:
                content.left_out.add(ignored)
        name = row["Image_filename"]
        if name not in files:
            content.add_missing(name, path, "its folder")
            continue
        content.images.append(
            SourceImage(
                name=Path(name).stem,
                path=files.pop(name),
                mask_paths=tuple(masks),
                finding=row["Classification"].lower(),
                patient_id=row["CaseID"],
            )
        )
    masks = {name for name in files if re.search(r"_(tumor|other\d*)\.\w+$", name)}
    content.add_unused_files(
        path,
        files=(file for name, file in files.items() if name not in masks),
        masks=(file for name, file in files.items() if name in masks),
    )
    return content


def _names(cell: str) -> list[str]:
    return [name for name in map(str.strip, cell.split("&")) if name]
