"""BUS-UCLM: 683 breast ultrasound images of 38 patients, 419 normal, 174 benign, 90 malignant.

Recorded in Ciudad Real, Spain, 2022 and 2023 (Siemens ACUSON S2000); classes and masks by expert
radiologists. CC BY 4.0. As released:

    images/ALWI_000.png, masks/ALWI_000.png (RGB: green benign, red malignant), INFO.csv

The four letters are the patient. `INFO.csv` says of every image whether it is colour Doppler, has
caliper marks, or combines two views. Known faults: a few masks differ in size from their images; a
row of `INFO.csv` says Y instead of Yes.

Reference:
    Vallez, Bueno, Deniz, Rienda, Pastor: BUS-UCLM: Breast ultrasound lesion segmentation dataset.
    Scientific Data 12 (2025) 242. Mendeley Data 10.17632/7fvgj4jsp7.
"""

from pathlib import Path

import pandas as pd

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

SOURCE = "bus_uclm"

_FINDINGS = ("normal", "benign", "malignant")
_YES, _NO = ("yes", "y"), ("no", "n")
_FLAGS = {"Doppler": "color_doppler", "Marks": "caliper", "Combined": "dual_view"}


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, holds INFO.csv beside images/."""
    return _root(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with patient, finding, flags and mask.

    Raises:
        DataError: when INFO.csv cannot be read, lacks a column, names an image twice, has an
            unknown class, or a flag that is neither Yes nor No.
    """
    root = _root(folder)
    info = root / "INFO.csv"
    table = _read_info(info)
    content = SourceContent(SOURCE)
    masks = {file.stem: file for file in files_below(root / "masks")}
    files = {file.stem: file for file in files_below(root / "images")}
    for row in table.to_dict("records"):
        name = Path(row["Image"]).stem
        if name not in files:
            content.problems.append(not_there(row["Image"], info, "images/"))
            continue
        finding = row["Label"].lower()
        mask = masks.pop(name, None)
        content.images.append(
            SourceImage(
                name=name,
                path=files.pop(name),
                mask_paths=(mask,) if mask else (),
                finding=finding,
                label=label_of_finding(finding),
                patient_id=name.partition("_")[0],
                flags=tuple(flag for column, flag in _FLAGS.items() if row[column].lower() in _YES),
            )
        )
    content.problems += [*unlisted(files.values(), info), *orphans(masks.values())]
    if not content.images:
        raise DataError(f"{root} holds none of the images that its INFO.csv names.")
    return content


def _read_info(path: Path) -> pd.DataFrame:
    table = read_table(path, ["Image", "Label", *_FLAGS])
    check_once(table, "Image", path)
    check_values(table, "Label", _FINDINGS, path)
    for column in _FLAGS:
        check_values(table, column, (*_YES, *_NO), path)
    return table


def _root(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        if (candidate / "INFO.csv").is_file() and (candidate / "images").is_dir():
            return candidate
    return None
