"""UDIAT (Dataset B): 163 breast ultrasound images, 110 benign, 53 malignant, no normal.

Origin: UDIAT Diagnostic Centre, Sabadell, Spain (Siemens ACUSON Sequoia C512). Its table gives
class and diagnosis, not how they were found. No open licence: the authors share it on a signed
agreement. As released:

    original/000001.png, GT/000001.png (the mask), DatasetB.xlsx (Image, Type)

DatasetB.csv is preferred to DatasetB.xlsx. Some copies have no table but the classes as folders,
`Benign/original/000001.png` or `original/Benign/000001.png`; these are read too. Known faults: some
papers count 109 benign and 54 malignant; there are no patient ids; no image is without a lump, so a
network needs another source as well.

Reference:
    Yap, Pons, Marti, Ganau, Sentis, Zwiggelaar, Davison, Marti: Automated breast ultrasound lesions
    detection using convolutional neural networks. IEEE Journal of Biomedical and Health Informatics
    22 (2018) 1218-1226.
"""

import re
from pathlib import Path

from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below, find_root
from breastus.data.sources.registry import register_source
from breastus.data.sources.tables import check_unique, check_values, read_table

_FINDINGS = ("benign", "malignant")
_TABLES = ("DatasetB.csv", "DatasetB.xlsx")
_NUMBER = re.compile(r"\d{6}")


def _is_root(folder: Path) -> bool:
    if _find_table(folder) and (folder / "original").is_dir():
        return True
    return _has_class_folders(folder)


@register_source("udiat", recognises=lambda folder: find_root(folder, _is_root) is not None)
def read(folder: Path) -> SourceContent:
    """List the images with finding and mask."""
    root = find_root(folder, _is_root)
    files = files_below(root)
    images = {file.stem: file for file in files if "original" in _folders(root, file)}
    masks = {file.stem: file for file in files if "gt" in _folders(root, file)}
    content = SourceContent()
    if path := _find_table(root):
        table = read_table(path, ["Image", "Type"])
        table["Image"] = table["Image"].str.zfill(6)  # spreadsheets turn 000001 into 1
        check_unique(table, "Image", path)
        check_values(table, "Type", _FINDINGS, path)
        finding_of = dict(zip(table["Image"], table["Type"].str.lower(), strict=True))
        for name in finding_of:
            if name not in images:
                content.add_missing(name, path, "original/")
        unlisted = [file for name, file in images.items() if name not in finding_of]
        content.add_unused_files(path, files=unlisted)
    else:
        finding_of = {name: _finding_of_folders(root, file) for name, file in images.items()}
    for name, file in images.items():
        mask = masks.pop(name, None)
        if name not in finding_of:
            content.left_out.update([mask] if mask else [])
        else:
            content.images.append(
                SourceImage(
                    name=name,
                    path=file,
                    mask_paths=(mask,) if mask else (),
                    finding=finding_of[name],
                )
            )
    content.add_orphan_masks(masks.values())
    return content


def _has_class_folders(folder: Path) -> bool:
    """Return whether `original` and `GT` have class folders above or below, and nothing else.

    The file names must have six digits, because other data sets use such folders too.
    """
    if not any((folder / name).is_dir() for name in ("original", "Benign", "benign")):
        return False
    files = files_below(folder)
    kinds = [{"original", "gt"} & set(_folders(folder, file)) for file in files]
    images = [file for file, kind in zip(files, kinds, strict=True) if kind == {"original"}]
    stems = {file.stem for file in images}
    return (
        {"gt"} in kinds
        and all(kinds)
        and len(stems) == len(images)
        and all(_NUMBER.fullmatch(stem) for stem in stems)
        and all(_finding_of_folders(folder, file) for file in images)
    )


def _find_table(root: Path) -> Path | None:
    return next((root / name for name in _TABLES if (root / name).is_file()), None)


def _folders(root: Path, file: Path) -> list[str]:
    return [part.lower() for part in file.relative_to(root).parts[:-1]]


def _finding_of_folders(root: Path, file: Path) -> str:
    return next((part for part in _folders(root, file) if part in _FINDINGS), "")
