"""BUSI: 780 breast ultrasound images of 600 women, 437 benign, 210 malignant, 133 normal.

Origin: Baheya Hospital, Cairo, 2018 (GE LOGIQ E9); classes by radiologists of the hospital, 798
lesion masks drawn by hand. Licence: CC0 according to its listing on Kaggle. As released:

    benign/benign (1).png, benign/benign (1)_mask.png, a second lesion in benign (1)_mask_1.png
    malignant/..., normal/... (with empty masks)

Known faults: there are no patient ids; hundreds of images are near-duplicates of others; some show
the axilla or a biopsy needle, or are colour Doppler images, as published by Pawlowska et al.

Reference:
    Al-Dhabyani, Gomaa, Khaled, Fahmy: Dataset of breast ultrasound images. Data in Brief 28 (2020)
    104863.
    Pawlowska, Karwat, Zolek: Letter to the Editor. Re: "[Dataset of breast ultrasound images]".
    Data in Brief 48 (2023) 109247. Table: Mendeley Data 10.17632/k8t3gnx9h6.1.
"""

import re
from dataclasses import replace
from pathlib import Path

from breastus.data.sources import class_folders
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.content import Fault, SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below, find_root, find_roots
from breastus.data.sources.registry import register_source
from breastus.data.sources.split_words import is_fold, parse_split
from breastus.errors import DataError

_FINDINGS = ("benign", "malignant", "normal")
_IMAGE = re.compile(r"(benign|malignant|normal) \((\d+)\)")
_MASK = re.compile(r"((?:benign|malignant|normal) \(\d+\))_mask(?:_\d+)?")

# Faults by finding and number, from the table of Pawlowska et al.
AXILLA = {
    "benign": {
        *(106, 166, 199, 205, 207, 210, 217, 218, 223, 225, 228, 233, 235, 236, 243, 247, 248, 256),
        *(257, 262, 268, 292, 293, 294, 296, 298, 299, 306),
    },
    "malignant": {11, 12, 13, 27, 28, 61, 108, 109, 110, 113, 148, 149, 167, 180, 200},
    "normal": {
        *(2, 39, 42, 45, 48, 49, 56, 58, 60, 62, 69, 75, 83, 85, 90, 91, 92, 93, 94, 97, 98, 100),
        *(101, 104, 107, 110, 118),
    },
}
NEEDLE = {"benign": set(), "malignant": {69, 70, 173, 174, 190}, "normal": {35, 129}}
DOPPLER = {
    "benign": {6, 13, 102, 234, 240, 255, 261, 277, 323, 330},
    "malignant": {196},
    "normal": set(),
}
_FAULTS = (
    ("axilla", AXILLA, "shows the axilla, not the breast"),
    ("needle", NEEDLE, "shows a biopsy needle"),
    ("doppler", DOPPLER, "is a colour Doppler image"),
)


def _is_root(folder: Path) -> bool:
    return any(
        _IMAGE.fullmatch(file.stem)
        for finding in _FINDINGS
        for file in (folder / finding).glob(f"{finding} (*).*")
    )


@register_source(
    "busi",
    recognises=lambda folder, names: find_root(folder, _is_root) is not None,
    takes_names=True,
)
def read(folder: Path, names: ClassNames) -> SourceContent:
    """List the images with their masks and published faults.

    A copy in other folders, such as `train/` and `test/`, or `images/` and `masks/`, is read as
    class folders, which keeps its split. Images of other names get the source `folder`.
    """
    if (root := _find_release(folder)) is not None:
        return _read_release(root)
    content = class_folders.read(folder, names)
    content.images = [_with_faults(image) for image in content.images]
    return content


def _find_release(folder: Path) -> Path | None:
    """Return the root of the release, if the folder holds it alone and unchanged."""
    root, *others = find_roots(folder, _is_root)
    if others or parse_split(root.name) or is_fold(root.name):
        return None
    of_classes = {root / finding for finding in _FINDINGS}
    return root if all(file.parent in of_classes for file in files_below(folder)) else None


def _read_release(root: Path) -> SourceContent:
    content = SourceContent()
    for finding in _FINDINGS:
        if not (root / finding).exists():
            continue  # part of the release; the splits check later that both classes are there
        masks: dict[str, list[Path]] = {}
        images: dict[str, Path] = {}
        strangers: list[Path] = []
        for file in files_below(root / finding):
            if mask := _MASK.fullmatch(file.stem):
                masks.setdefault(mask[1], []).append(file)
            elif _IMAGE.fullmatch(file.stem) and file.stem not in images:
                images[file.stem] = file
            else:
                strangers.append(file)
        if not images:
            raise DataError(
                f"{root / finding} holds no images. Put the images of its class there, or remove "
                "the folder."
            )
        for name, file in images.items():
            of_image = tuple(masks.pop(name, []))
            image = SourceImage(name=name, path=file, mask_paths=of_image, finding=finding)
            content.images.append(_with_faults(image))
        content.leave_out(
            strangers,
            "is not named like an image of BUSI; it is ignored.",
            "are not named like images of BUSI; they are ignored.",
        )
        content.add_orphan_masks(mask for unused in masks.values() for mask in unused)
    return content


def _with_faults(image: SourceImage) -> SourceImage:
    """Return an image with its published faults; or of the source `folder` if it is not BUSI."""
    if not (named := _IMAGE.fullmatch(image.path.stem)):
        return replace(image, source="folder")
    kind, number = named[1], int(named[2])
    flags = ("color_doppler",) if number in DOPPLER[kind] else ()
    return replace(image, flags=flags, faults=faults_of(kind, number))


def faults_of(finding: str, number: int) -> tuple[Fault, ...]:
    """Return the published faults of an image of BUSI."""
    return tuple(
        Fault(kind, f"known fault: {reason} (Pawlowska et al. 2023)")
        for kind, images, reason in _FAULTS
        if number in images[finding]
    )
