"""BUS-UCLM: 683 breast ultrasound images of 38 patients, 419 normal, 174 benign, 90 malignant.

Origin: Ciudad Real, Spain, 2022 and 2023 (Siemens ACUSON S2000); classes and masks by expert
radiologists. Licence: CC BY 4.0. As released:

    images/ALWI_000.png, masks/ALWI_000.png (RGB: green benign, red malignant), INFO.csv

The four letters are the patient. `INFO.csv` states of every image whether it is colour Doppler, has
caliper marks, or combines two views. Known faults: a few masks differ in size from their images; a
row of `INFO.csv` contains Y instead of Yes.

Reference:
    Vallez, Bueno, Deniz, Rienda, Pastor: BUS-UCLM: Breast ultrasound lesion segmentation dataset.
    Scientific Data 12 (2025) 242. Mendeley Data 10.17632/7fvgj4jsp7.
"""

from pathlib import Path

from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below, find_root
from breastus.data.sources.registry import register_source
from breastus.data.sources.tables import check_unique, check_values, read_table

_TABLE = "INFO.csv"
_YES, _NO = ("yes", "y"), ("no", "n")
_FLAGS = {"Doppler": "color_doppler", "Marks": "caliper", "Combined": "dual_view"}


def _is_root(folder: Path) -> bool:
    return (folder / _TABLE).is_file() and (folder / "images").is_dir()


@register_source("bus_uclm", recognises=lambda folder: find_root(folder, _is_root) is not None)
def read(folder: Path) -> SourceContent:
    """List the images with patient, finding, flags and mask."""
    root = find_root(folder, _is_root)
    path = root / _TABLE
    table = read_table(path, ["Image", "Label", *_FLAGS])
    check_unique(table, "Image", path)
    check_values(table, "Label", ("normal", "benign", "malignant"), path)
    for column in _FLAGS:
        check_values(table, column, (*_YES, *_NO), path)
    content = SourceContent()
    masks = {file.stem: file for file in files_below(root / "masks")}
    files = {file.stem: file for file in files_below(root / "images")}
    for row in table.to_dict("records"):
        name = Path(row["Image"]).stem
        if name not in files:
            content.add_missing(row["Image"], path, "images/")
            continue
        mask = masks.pop(name, None)
        content.images.append(
            SourceImage(
                name=name,
                path=files.pop(name),
                mask_paths=(mask,) if mask else (),
                finding=row["Label"].lower(),
                patient_id=name.partition("_")[0],
                flags=tuple(flag for column, flag in _FLAGS.items() if row[column].lower() in _YES),
            )
        )
    content.add_unused_files(path, files=files.values(), masks=masks.values())
    return content
