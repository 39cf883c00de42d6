"""Class folders: `lump/` and `no_lump/`, or `benign/`, `malignant/` and `normal/`.

They may be within `train/`, `val/` and `test/`, or contain these; then the image's name starts with
the split (`train/lump/a`), where `breastus.data.splits.folders` finds it. The label is the name of
the folder; its origin is unknown. Files named `..._mask`, and files in a folder named `masks` or
`GT`, are lesion masks of the image of the same name, never images.
"""

import re
from collections import Counter
from pathlib import Path

from breastus.data.sources.content import SourceContent, SourceImage, files_below
from breastus.data.sources.registry import register_source
from breastus.errors import DataError

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Folder name in lower case without spaces, dashes and underscores: (finding, label).
_CLASSES = {
    "lump": ("unknown", "lump"),
    "lumps": ("unknown", "lump"),
    "nolump": ("normal", "no_lump"),
    "nolumps": ("normal", "no_lump"),
    "nonlump": ("normal", "no_lump"),
    "benign": ("benign", "lump"),
    "malignant": ("malignant", "lump"),
    "normal": ("normal", "no_lump"),
}
_FINDING_IN_NAME = re.compile(r"(benign|malignant)", re.IGNORECASE)
_MASK_FOLDERS = {"mask", "masks", "labelmask", "labelmasks", "gt", "groundtruth", "segmentation"}
_IMAGE_FOLDERS = {"image", "images", "original"}
_MASK_STEM = re.compile(r"(.+?)[ _-]masks?(?:[ _-]?\d+)?", re.IGNORECASE)


def has_class_folders(folder: Path) -> bool:
    """Return whether a class folder is anywhere below a folder."""
    return any(path.is_dir() and parse_class(path.name) for path in folder.rglob("*"))


@register_source("folder", recognises=has_class_folders, is_layout=True)
def read(folder: Path) -> SourceContent:
    """List the images of all class folders below.

    Raises:
        DataError: if a class folder holds no images.
    """
    images: list[Path] = []
    masks: dict[tuple, list[Path]] = {}
    for file in files_below(folder):
        mask = _MASK_STEM.fullmatch(file.stem)
        parts = file.relative_to(folder).parts[:-1]
        if mask or any(_plain(part) in _MASK_FOLDERS for part in parts):
            key = _mask_key(folder, file, mask[1] if mask else file.stem)
            masks.setdefault(key, []).append(file)
        else:
            images.append(file)
    content = SourceContent()
    stems = [_name(folder, file, suffix=False) for file in images]
    count = Counter(stems)
    for file, stem in zip(images, stems, strict=True):
        classes = [part for part in file.relative_to(folder).parts[:-1] if parse_class(part)]
        if not classes:
            content.problems.append(f"{file} is in no class folder and is ignored.")
            continue
        finding, label = parse_class(classes[-1])
        if finding == "unknown" and (in_name := _FINDING_IN_NAME.search(file.stem)):
            finding = in_name[1].lower()
        content.images.append(
            SourceImage(
                # Two files that differ by suffix only keep it, so that names stay unique.
                name=_name(folder, file, suffix=count[stem] > 1),
                path=file,
                mask_paths=tuple(masks.pop(_mask_key(folder, file, file.stem), ())),
                finding=finding,
                label=label,
            )
        )
    content.add_orphan_masks(mask for unused in masks.values() for mask in unused)
    _check_no_class_is_empty(folder, content)
    return content


def split_of_name(name: str) -> str:
    """Return the split that an image's name starts with, or ""."""
    first = name.partition("/")[0]
    return first if first in ("train", "val", "test") else ""


def parse_split(*words: str) -> str:
    """Return the split that the first of some words such as "training" means, or ""."""
    return next((_SPLITS[word.lower()] for word in words if word.lower() in _SPLITS), "")


def parse_class(name: str) -> tuple[str, str] | None:
    """Return finding and label of a class name such as "No lump", or None."""
    return _CLASSES.get(_plain(name))


def is_mask(stem: str) -> bool:
    """Return whether a file name without its suffix is the name of a lesion mask."""
    return _MASK_STEM.fullmatch(stem) is not None


def _name(folder: Path, file: Path, *, suffix: bool) -> str:
    relative = file.relative_to(folder)
    relative = relative if suffix else relative.with_suffix("")
    split = parse_split(*relative.parent.parts)
    if not split:
        return relative.as_posix()
    others = [part for part in relative.parent.parts if parse_split(part) != split]
    return "/".join([split, *others, relative.name])


def _plain(part: str) -> str:
    return re.sub(r"[ _-]", "", part.lower())


def _mask_key(folder: Path, file: Path, stem: str) -> tuple:
    """Return the folders of a file without those such as "masks" and "images", and the stem."""
    parts = file.relative_to(folder).parts[:-1]
    kept = (part for part in parts if _plain(part) not in _MASK_FOLDERS | _IMAGE_FOLDERS)
    return (*kept, stem)


def _check_no_class_is_empty(folder: Path, content: SourceContent) -> None:
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() or not parse_class(path.name):
            continue
        if any(_plain(part) in _MASK_FOLDERS for part in path.relative_to(folder).parts):
            continue
        if not any(path in image.path.parents for image in content.images):
            raise DataError(
                f"{path} holds no images. Put images of its class there, or remove the folder."
            )
