"""Class folders: `lump/` and `no_lump/`, or `benign/`, `malignant/` and `normal/`.

They may lie within, or hold, `train/`, `val/` and `test/`; then the split is the first part of
each image's name (`train/lump/a`), where `breastus.data.splits.make` finds it. The label is the
folder's word: who gave it, and how, breastus cannot know. Files named `..._mask`, or in a
folder named `masks` or `GT`, are lesion masks: they belong to the image of the same name and are
never images.
"""

import re
from collections import Counter
from pathlib import Path

from breastus.data.sources import SourceContent, SourceImage, files_below, orphans
from breastus.errors import DataError
from breastus.labels import label_of_finding

SOURCE = "folder"

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# folder name, lower case and without spaces, dashes and underscores: (finding, label)
_CLASSES = {
    "lump": ("unknown", "lump"),
    "lumps": ("unknown", "lump"),
    "nolump": ("normal", "no_lump"),
    "nolumps": ("normal", "no_lump"),
    "nonlump": ("normal", "no_lump"),
    "benign": ("benign", label_of_finding("benign")),
    "malignant": ("malignant", label_of_finding("malignant")),
    "normal": ("normal", label_of_finding("normal")),
}
_FINDING_IN_NAME = re.compile(r"(benign|malignant)", re.IGNORECASE)
_MASK_FOLDERS = {"mask", "masks", "labelmask", "labelmasks", "gt", "groundtruth", "segmentation"}
_IMAGE_FOLDERS = {"image", "images", "original"}
_MASK_STEM = re.compile(r"(.+?)[ _-]masks?(?:[ _-]?\d+)?", re.IGNORECASE)


def recognises(folder: Path) -> bool:
    """Whether a class folder lies anywhere below."""
    return any(path.is_dir() and class_folder(path.name) for path in folder.rglob("*"))


def read(folder: Path) -> SourceContent:
    """List the images of all class folders below.

    Raises:
        DataError: when a class folder holds no images.
    """
    images, masks = [], []
    for file in files_below(folder):
        parts = file.relative_to(folder).parts
        in_mask_folder = any(_plain(part) in _MASK_FOLDERS for part in parts[:-1])
        (masks if in_mask_folder or is_mask(file.stem) else images).append(file)

    content = SourceContent(SOURCE)
    masks_of = _masks_by_image(folder, masks)
    stems = [_name(folder, file, suffix=False) for file in images]
    count = Counter(stems)
    for file, stem in zip(images, stems, strict=True):
        parts = file.relative_to(folder).parts[:-1]
        classes = [part for part in parts if class_folder(part)]
        if not classes:
            content.problems.append(f"{file} lies in no class folder and is left out.")
            continue
        finding, label = class_folder(classes[-1])
        if finding == "unknown" and (said := _FINDING_IN_NAME.search(file.stem)):
            finding = said[1].lower()
        content.images.append(
            SourceImage(
                # Two files that differ by suffix alone keep it, so that names stay unique.
                name=_name(folder, file, suffix=count[stem] > 1),
                path=file,
                mask_paths=tuple(masks_of.pop(_mask_key(folder, file, file.stem), ())),
                finding=finding,
                label=label,
            )
        )
    content.problems += orphans(mask for left in masks_of.values() for mask in left)
    _check_no_class_is_empty(folder, content)
    return content


def split_of(name: str) -> str:
    """Return the split that an image's name starts with, or ""."""
    first = name.partition("/")[0]
    return first if first in ("train", "val", "test") else ""


def split_folder(parts: tuple[str, ...]) -> str:
    """Return the split that one of some folder names stands for, or ""."""
    return next((_SPLITS[part.lower()] for part in parts if part.lower() in _SPLITS), "")


def class_folder(name: str) -> tuple[str, str] | None:
    """Return finding and label of a class folder's name, None when it is no class."""
    return _CLASSES.get(_plain(name))


def is_mask(stem: str) -> bool:
    """Whether a file's name, without its suffix, is that of a lesion mask."""
    return _MASK_STEM.fullmatch(stem) is not None


def _name(folder: Path, file: Path, *, suffix: bool) -> str:
    relative = file.relative_to(folder)
    relative = relative if suffix else relative.with_suffix("")
    split = split_folder(relative.parent.parts)
    if not split:
        return relative.as_posix()
    rest = [part for part in relative.parent.parts if split_folder((part,)) != split]
    return "/".join([split, *rest, relative.name])


def _plain(part: str) -> str:
    return re.sub(r"[ _-]", "", part.lower())


def _masks_by_image(folder: Path, masks: list[Path]) -> dict[tuple, list[Path]]:
    by_image: dict[tuple, list[Path]] = {}
    for mask in masks:
        named = _MASK_STEM.fullmatch(mask.stem)
        by_image.setdefault(_mask_key(folder, mask, named[1] if named else mask.stem), []).append(
            mask
        )
    return by_image


def _mask_key(folder: Path, file: Path, stem: str) -> tuple:
    # The folders apart from those that only say "masks", "images" or "original".
    parts = file.relative_to(folder).parts[:-1]
    kept = tuple(part for part in parts if _plain(part) not in _MASK_FOLDERS | _IMAGE_FOLDERS)
    return (*kept, stem)


def _check_no_class_is_empty(folder: Path, content: SourceContent) -> None:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() or not class_folder(path.name):
            continue
        if any(_plain(part) in _MASK_FOLDERS for part in path.relative_to(folder).parts):
            continue
        if not any(path in image.path.parents for image in content.images):
            raise DataError(
                f"{path} holds no images. Put images of its class there, or remove the folder."
            )
