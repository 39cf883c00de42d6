"""Class folders: `lump/` and `no_lump/`, or `benign/`, `malignant/` and `normal/`.

They may be within `train/`, `val/` and `test/`, or contain these; then the image's name starts with
the split (`train/lump/a`), where `breastus.data.splits.folders` finds it. The label is the name of
the folder; its origin is unknown. Files named `..._mask`, and files in a folder named `masks` or
`GT`, are lesion masks of the image of the same name, never images. So is any file with few
grey levels and a name similar to the name of an image.
"""

import re
from collections import Counter
from pathlib import Path

from breastus.data.sources.class_names import ClassNames, plain, suggestion
from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import FileTree, walk
from breastus.data.sources.mask_pairs import MaskFiles, find_masks
from breastus.data.sources.registry import register_source
from breastus.data.sources.split_words import parse_split
from breastus.errors import DataError

_FINDING_IN_NAME = re.compile(r"(benign|malignant)", re.IGNORECASE)
_MASK_FOLDERS = {"mask", "masks", "labelmask", "labelmasks", "gt", "groundtruth", "segmentation"}
_IMAGE_FOLDERS = {"image", "images", "original"}
_SHOWN = 4  # folders in a suggestion
_MASK_STEM = re.compile(r"(.+?)[ _-]masks?(?:[ _-]?\d+)?", re.IGNORECASE)


def has_class_folders(folder: Path, names: ClassNames) -> bool:
    """Return whether a class folder is anywhere below a folder."""
    return any(names.parse(path.name) for path in walk(folder).folders)


@register_source("folder", recognises=has_class_folders, is_layout=True, takes_names=True)
def read(folder: Path, names: ClassNames) -> SourceContent:
    """List the images of all class folders below. Raises DataError if one holds no images."""
    tree = walk(folder)
    images, masks = _named_masks(folder, tree)
    masks_of = {file: masks.pop(_mask_key(folder, file, file.stem), []) for file in images}
    orphans = [mask for unused in masks.values() for mask in unused]
    scans = set(images)
    found = find_masks(
        folder,
        images + orphans,
        fits=lambda file, image: image in scans and _may_belong(folder, names, file, image),
    )
    content = SourceContent(class_names={path.name for path in tree.folders})
    _report_masks(content, found)
    images = [file for file in images if file not in content.left_out]
    stems = [_name(folder, file, suffix=False) for file in images]
    count = Counter(stems)
    unclassed = []
    for file, stem in zip(images, stems, strict=True):
        if (parsed := _class_of(folder, names, file)) is None:
            unclassed.append(file)
            continue
        finding, label = parsed
        if finding == "unknown" and (in_name := _FINDING_IN_NAME.search(file.stem)):
            finding = in_name[1].lower()
        content.images.append(
            SourceImage(
                # Two files that differ by suffix only keep it, so that names stay unique.
                name=_name(folder, file, suffix=count[stem] > 1),
                path=file,
                mask_paths=(*masks_of[file], *found.masks_of(file)),
                finding=finding,
                label=label,
            )
        )
    _check_no_class_is_empty(folder, tree, names, content)
    _report_unclassed(content, folder, unclassed)
    content.add_orphan_masks(mask for mask in orphans if mask not in content.left_out)
    return content


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


def _mask_key(folder: Path, file: Path, stem: str) -> tuple:
    """Return the folders of a file without those such as "masks" and "images", and the stem."""
    others = _MASK_FOLDERS | _IMAGE_FOLDERS
    kept = (part for part in _folders(folder, file) if plain(part) not in others)
    return (*kept, stem)


def _named_masks(folder: Path, tree: FileTree) -> tuple[list[Path], dict[tuple, list[Path]]]:
    """Return the other files, and those that are masks by their name or folder."""
    images: list[Path] = []
    masks: dict[tuple, list[Path]] = {}
    for file in tree.images:
        mask = _MASK_STEM.fullmatch(file.stem)
        if mask or any(plain(part) in _MASK_FOLDERS for part in _folders(folder, file)):
            key = _mask_key(folder, file, mask[1] if mask else file.stem)
            masks.setdefault(key, []).append(file)
        else:
            images.append(file)
    return images, masks


def _folders(folder: Path, file: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts[:-1]


def _class_of(folder: Path, names: ClassNames, file: Path) -> tuple[str, str] | None:
    """Return finding and label of the innermost class folder around a file, or None."""
    parsed = (names.parse(part) for part in reversed(_folders(folder, file)))
    return next(filter(None, parsed), None)


def _class_in_name(names: ClassNames, file: Path) -> tuple[str, str] | None:
    words = re.findall(r"[^\W\d_]+", file.stem)
    return next(filter(None, map(names.parse, words)), None)


def _may_belong(folder: Path, names: ClassNames, file: Path, image: Path) -> bool:
    """Return whether the class and split of a file allow it to be a mask of an image."""
    label, split = _class_of(folder, names, image), parse_split(*_folders(folder, image))
    stated = _class_of(folder, names, file) or _class_in_name(names, file)
    return (
        label is not None
        and stated in (None, label)
        and parse_split(*_folders(folder, file)) in ("", split)
    )


def _report_masks(content: SourceContent, found: MaskFiles) -> None:
    few = "because of few grey levels and a name similar to"
    content.leave_out(
        [mask for mask, image in found.masks.items() if image is not None],
        f"is used as a lesion mask, not as an image, {few} an image.",
        f"are used as lesion masks, not as images, {few} an image.",
    )
    content.leave_out(
        [mask for mask, image in found.masks.items() if image is None],
        f"is ignored as a lesion mask, {few} several images.",
        f"are ignored as lesion masks, {few} several images.",
    )
    content.leave_out(
        found.cutouts,
        "is ignored, because it shows a part of another image on black.",
        "are ignored, because they show parts of other images on black.",
    )


def _report_unclassed(content: SourceContent, folder: Path, files: list[Path]) -> None:
    inner = list(dict.fromkeys(file.parent.name for file in files if file.parent != folder))
    hint = f" State their class if they have one: {suggestion(inner[:_SHOWN])}" if inner else ""
    content.leave_out(
        files,
        f"is in no class folder and is ignored.{hint}",
        f"are in no class folder and are ignored.{hint}",
    )


def _check_no_class_is_empty(
    folder: Path, tree: FileTree, names: ClassNames, content: SourceContent
) -> None:
    used = {image.path for image in content.images} | content.left_out
    for path in tree.folders:
        if not names.parse(path.name):
            continue
        if any(plain(part) in _MASK_FOLDERS for part in path.relative_to(folder).parts):
            continue
        if not any(path in file.parents for file in used):
            unread = [file for file in tree.others if path in file.parents]
            why = f" {len(unread)} files there are no images that breastus reads." if unread else ""
            raise DataError(
                f"{path} holds no images.{why} Put images of its class there, or remove the folder."
            )
