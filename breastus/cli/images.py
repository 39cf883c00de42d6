"""The model and the image files that command-line arguments name."""

import glob
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

IMAGES_HELP = (
    "image files, folders or quoted patterns such as 'scans/*.png'; masks in folders are skipped"
)
MODEL_AND_IMAGES_HELP = (
    f"{IMAGES_HELP}. Before them a bundle or run folder, such as models/cnn (default: models/busi, "
    "which ships with the repository)"
)


def model_and_images(arguments: Sequence[str]) -> tuple[Path, list[Path]]:
    """Return the model and the image files that `[MODEL] IMAGE...` names.

    The first argument is the model if it is a bundle, a run or a cross-validation, or if it does
    not exist and is not called like a file. Otherwise the model is the one that ships.

    Raises:
        BundleError: when no model is named and none ships.
        DataError: when a folder holds no image or cannot be read.
    """
    from breastus.deploy.bundle import is_model, shipped_bundle

    first, *others = arguments or ("",)
    if first and (is_model(first) or not (Path(first).exists() or Path(first).suffix)):
        return Path(first), image_files(others)
    return shipped_bundle(), image_files(arguments)


def image_files(arguments: Iterable[str]) -> list[Path]:
    """Return the image files that command-line arguments name.

    Args:
        arguments: files, folders and glob patterns. A folder means all images below it, without
            lesion masks (by name or content) and other files, which are printed. A file that
            exists is never read as a pattern, and a name that matches nothing is kept, so that
            the prediction reports it.

    Raises:
        DataError: when a folder holds no image or cannot be read.
    """
    files = []
    for argument in arguments:
        path = Path(argument)
        if path.exists() or not glob.has_magic(argument):
            matches = [path]
        else:
            matches = [Path(name) for name in sorted(glob.glob(argument, recursive=True))] or [path]
        for match in matches:
            files += _images_below(match) if match.is_dir() else [match]
    return files


def _images_below(folder: Path) -> list[Path]:
    """Return the images below a folder, and print which files are skipped.

    Raises:
        DataError: when the folder holds no image or cannot be read.
    """
    from breastus.data.sources.class_folders import is_mask
    from breastus.data.sources.file_tree import walk
    from breastus.data.sources.mask_pairs import find_masks
    from breastus.errors import DataError

    tree = walk(folder)
    found = find_masks(folder, tree.images, fits=lambda file, image: True)
    masks = [
        file
        for file in tree.images
        if is_mask(file.stem) or file in found.masks or file in found.cutouts
    ]
    if len(masks) == len(tree.images):
        raise DataError(
            f"{folder} holds no image{' but lesion masks' if masks else ''}. Name image files, or "
            "a folder that holds some."
        )
    for files, what in ((masks, "lesion masks or cut-out lesions"), (tree.others, "no images")):
        if files:
            print(
                f"breastus: {folder}: {len(files)} left out as {what}, such as {files[0].name}",
                file=sys.stderr,
            )
    return [file for file in tree.images if file not in set(masks)]
