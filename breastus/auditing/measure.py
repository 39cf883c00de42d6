"""Measure each image of a manifest and its lesion masks: the manifest in, a table out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.image_statistics import STATISTICS, image_statistics
from breastus.data.images import ImageFile, read_image
from breastus.data.masks import covered_pixels, looks_like_mask
from breastus.errors import ImageError
from breastus.utils.threads import in_threads

COLUMNS = (
    *STATISTICS,
    *("mask_like", "masks", "mask_share", "mask_resized", "mask_grey", "problem", "mask_problem"),
)


def measure(manifest: pd.DataFrame) -> pd.DataFrame:
    """Read every image and mask once.

    Args:
        manifest: rows with `image_id`, `path`, `mask_paths`.

    Returns:
        Index `image_id`; the columns of `STATISTICS` (float; NaN where the image cannot be
        read); `mask_like` (bool, whether the image looks like a mask); `masks` (int, how many
        files); `mask_share` (float, share of the mask's pixels that are not black, the largest over
        the masks; NaN without a readable mask); `mask_resized` (bool, whether a mask differs in
        size from the image); `mask_grey` (bool, whether a mask has many grey levels, as images
        have); `problem` and `mask_problem` (text, why the image or a mask cannot be read, without
        its folder; "" if it can).
    """
    paths = [
        (Path(path), [Path(mask) for mask in masks.split(";") if mask])
        for path, masks in zip(manifest["path"], manifest["mask_paths"], strict=True)
    ]
    rows = list(in_threads(lambda pair: _measure(*pair), paths, "measuring images"))
    index = pd.Index(manifest["image_id"], name="image_id")
    return pd.DataFrame(rows, index=index, columns=list(COLUMNS))


class _Mask(NamedTuple):
    share: float
    size: tuple[int, int]
    grey: bool


def _measure(path: Path, mask_paths: list[Path]) -> dict:
    row = dict.fromkeys(STATISTICS, np.nan)
    row |= {"mask_share": np.nan, "mask_resized": False, "problem": "", "mask_problem": ""}
    row |= {"mask_like": False, "mask_grey": False}
    row["masks"] = len(mask_paths)
    size = None
    try:
        pixels = read_image(path)
        row |= image_statistics(pixels)
        row["mask_like"] = looks_like_mask(pixels)
        size = pixels.shape[:2]
    except ImageError as error:
        row["problem"] = _without_folder(error, path)
    masks = []
    for mask_path in mask_paths:
        try:
            masks.append(_read_mask(mask_path))
        except ImageError as error:
            row["mask_problem"] = _without_folder(error, mask_path)
    if masks:
        row["mask_grey"] = any(mask.grey for mask in masks)
        row["mask_share"] = max(mask.share for mask in masks)
        row["mask_resized"] = size is not None and any(mask.size != size for mask in masks)
    return row


def _read_mask(path: Path) -> _Mask:
    file = ImageFile.read(path)
    marked = covered_pixels(file)
    return _Mask(float(marked.mean()), marked.shape, not looks_like_mask(file.pixels))


def _without_folder(error: ImageError, path: Path) -> str:
    # The page may be passed on, and must not reveal folders.
    return str(error).replace(str(path), path.name)
