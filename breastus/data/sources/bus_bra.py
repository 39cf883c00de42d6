"""BUS-BRA: 1875 breast ultrasound images of 1064 patients, 1268 benign, 607 malignant, no normal.

Recorded at the National Institute of Cancer, Rio de Janeiro, with four scanners. Every lesion was
biopsied: 722 patients benign, 342 malignant; a senior ultrasonographer drew the masks and gave the
BI-RADS category. CC BY 4.0. As released:

    Images/bus_0001-l.png, Masks/mask_0001-l.png, bus_data.csv, 5-fold-cv.csv, 10-fold-cv.csv

`bus_data.csv` has a row an image: ID, Case (the patient), Histology, Pathology, BIRADS, Device,
Width, Height, Side, BBOX. Known faults: there is no image without a lump, so it can only be learned
from beside another source; many patients have several images, which must stay together.

Reference:
    Gomez-Flores, Gregorio-Calas, Coelho de Albuquerque Pereira: BUS-BRA: A breast ultrasound
    dataset for assessing computer-aided diagnosis systems. Medical Physics 51 (2024) 3110-3123.
    Zenodo 10.5281/zenodo.8231412.
"""

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

SOURCE = "bus_bra"

_TABLE = "bus_data.csv"
_FINDINGS = ("benign", "malignant")


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, holds bus_data.csv beside Images/."""
    return _root(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with patient, finding and mask.

    Raises:
        DataError: when bus_data.csv cannot be read, lacks a column, names an image twice, has an
            unknown class or a row without a patient.
    """
    root = _root(folder)
    path = root / _TABLE
    table = read_table(path, ["ID", "Case", "Pathology"])
    check_once(table, "ID", path)
    check_values(table, "Pathology", _FINDINGS, path)
    if (table["Case"] == "").any():
        name = table.loc[table["Case"] == "", "ID"].iloc[0]
        raise DataError(
            f"{path} must name the patient of each image. Received: {name} without Case"
        )
    content = SourceContent(SOURCE)
    files = {file.stem: file for file in files_below(root / "Images")}
    masks = {file.stem: file for file in files_below(root / "Masks")}
    for row in table.to_dict("records"):
        name = Path(row["ID"]).stem
        if name not in files:
            content.problems.append(not_there(row["ID"], path, "Images/"))
            continue
        finding = row["Pathology"].lower()
        mask = masks.pop(f"mask_{name.removeprefix('bus_')}", None)
        content.images.append(
            SourceImage(
                name=name,
                path=files.pop(name),
                mask_paths=(mask,) if mask else (),
                finding=finding,
                label=label_of_finding(finding),
                patient_id=row["Case"],
            )
        )
    content.problems += [*unlisted(files.values(), path), *orphans(masks.values())]
    if not content.images:
        raise DataError(f"{root} holds none of the images that its {_TABLE} names.")
    return content


def _root(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        if (candidate / _TABLE).is_file() and (candidate / "Images").is_dir():
            return candidate
    return None
