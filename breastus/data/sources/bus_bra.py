"""BUS-BRA: 1875 breast ultrasound images of 1064 patients, 1268 benign, 607 malignant, no normal.

Origin: National Institute of Cancer, Rio de Janeiro, four scanners. Every lesion was biopsied (722
patients benign, 342 malignant); a senior ultrasonographer drew the masks and gave the BI-RADS
category. Licence: CC BY 4.0. As released:

    Images/bus_0001-l.png, Masks/mask_0001-l.png, bus_data.csv, 5-fold-cv.csv, 10-fold-cv.csv

`bus_data.csv` has one row per image: ID, Case (the patient), Histology, Pathology, BIRADS, Device,
Width, Height, Side, BBOX. Known faults: no image is without a lump, so a network needs another
source as well; many patients have several images, which must stay together.

Reference:
    Gomez-Flores, Gregorio-Calas, Coelho de Albuquerque Pereira: BUS-BRA: A breast ultrasound
    dataset for assessing computer-aided diagnosis systems. Medical Physics 51 (2024) 3110-3123.
    Zenodo 10.5281/zenodo.8231412.
"""

from pathlib import Path

from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below, find_root
from breastus.data.sources.registry import register_source
from breastus.data.sources.tables import check_unique, check_values, patients_of, read_table

_TABLE = "bus_data.csv"


def _is_root(folder: Path) -> bool:
    return (folder / _TABLE).is_file() and (folder / "Images").is_dir()


@register_source("bus_bra", recognises=lambda folder: find_root(folder, _is_root) is not None)
def read(folder: Path) -> SourceContent:
    """List the images with patient, finding and mask."""
    root = find_root(folder, _is_root)
    path = root / _TABLE
    table = read_table(path, ["ID", "Case", "Pathology"])
    check_unique(table, "ID", path)
    check_values(table, "Pathology", ("benign", "malignant"), path)
    table["Case"] = patients_of(table, "Case", path, required=True)
    content = SourceContent()
    files = {file.stem: file for file in files_below(root / "Images")}
    masks = {file.stem: file for file in files_below(root / "Masks")}
    for row in table.to_dict("records"):
        name = Path(row["ID"]).stem
        if name not in files:
            content.add_missing(row["ID"], path, "Images/")
            continue
        mask = masks.pop(f"mask_{name.removeprefix('bus_')}", None)
        content.images.append(
            SourceImage(
                name=name,
                path=files.pop(name),
                mask_paths=(mask,) if mask else (),
                finding=row["Pathology"].lower(),
                patient_id=row["Case"],
            )
        )
    content.add_unused_files(path, files=files.values(), masks=masks.values())
    return content
