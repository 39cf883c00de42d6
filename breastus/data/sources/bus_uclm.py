"""BUS-UCLM: 683 breast ultrasound images of 38 patients, 419 normal, 174 benign, 90 malignant.

Recorded in Ciudad Real, Spain, 2022 and 2023 (Siemens ACUSON S2000); classes and masks by expert
radiologists. CC BY 4.0. As released:

    images/ALWI_000.png, masks/ALWI_000.png (RGB: green benign, red malignant), INFO.csv

The four letters are the patient. `INFO.csv` says of every image whether it is colour Doppler, has
caliper marks, or combines two views. Known faults: a few masks differ in size from their images.

Reference:
    Vallez, Bueno, Deniz, Rienda, Pastor: BUS-UCLM: Breast ultrasound lesion segmentation dataset.
    Scientific Data 12 (2025) 242. Mendeley Data 10.17632/7fvgj4jsp7.
"""

from pathlib import Path

import pandas as pd

from breastus.data.sources import SourceContent, SourceImage, files_below, here_or_below
from breastus.errors import DataError
from breastus.labels import label_of_finding

SOURCE = "bus_uclm"

_FINDINGS = {"normal": "normal", "benign": "benign", "malignant": "malignant"}
_FLAGS = {"Doppler": "color_doppler", "Marks": "caliper", "Combined": "dual_view"}


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, holds INFO.csv beside images/."""
    return _root(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with patient, finding, flags and mask.

    Raises:
        DataError: when INFO.csv cannot be read, lacks a column or has an unknown class.
    """
    root = _root(folder)
    table = _read_info(root / "INFO.csv")
    content = SourceContent(SOURCE)
    masks = {file.stem: file for file in files_below(root / "masks")}
    files = {file.stem: file for file in files_below(root / "images")}
    for row in table.to_dict("records"):
        name = Path(row["Image"]).stem
        if name not in files:
            content.problems.append(
                f"{root / 'INFO.csv'} names {row['Image']}, which is not in images/. Copy it, or "
                "remove its row."
            )
            continue
        finding = _FINDINGS[row["Label"].strip().lower()]
        mask = masks.pop(name, None)
        content.images.append(
            SourceImage(
                name=name,
                path=files.pop(name),
                mask_paths=(mask,) if mask else (),
                finding=finding,
                label=label_of_finding(finding),
                patient_id=name.partition("_")[0],
                flags=tuple(
                    flag for column, flag in _FLAGS.items() if row[column].strip().lower() == "yes"
                ),
            )
        )
    content.problems += [
        f"{file} has no row in INFO.csv and is left out." for file in files.values()
    ]
    content.problems += [
        f"{mask} is a mask without an image. Add its image or remove it." for mask in masks.values()
    ]
    if not content.images:
        raise DataError(f"{root} holds none of the images that its INFO.csv names.")
    return content


def _read_info(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep=";", dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if missing := [name for name in ("Image", "Label", *_FLAGS) if name not in table]:
        raise DataError(
            f"{path} lacks the column {', '.join(missing)}. Received: {', '.join(table.columns)}"
        )
    known = table["Label"].str.strip().str.lower().isin(_FINDINGS)
    if not known.all():
        row = table[~known].iloc[0]
        raise DataError(
            f"{path}: the Label of {row['Image']} must be Normal, Benign or Malignant. "
            f"Received: {row['Label']!r}"
        )
    return table


def _root(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        if (candidate / "INFO.csv").is_file() and (candidate / "images").is_dir():
            return candidate
    return None
