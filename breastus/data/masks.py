"""Lesion masks: the mask files of one image in, the pixels that its lesions cover out."""

import math
import os
from collections.abc import Sequence

import numpy as np

from breastus.data.images import ImageFile
from breastus.utils.opencv import cv2

_COMPRESSION_NOISE = 8  # grey levels that lossy compression may add to a black mask


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Return what one mask file covers, bool [H, W].

    Any level but black counts, in any channel: masks are drawn in colours, and some hold class
    numbers such as 1, which look black.

    Raises:
        ImageError: when the file cannot be read.
    """
    file = ImageFile.read(path)
    black = _COMPRESSION_NOISE if file.lossy else 0
    lit = [plane > black for plane in np.moveaxis(file.pixels, -1, 0)]
    return lit[0] | lit[1] | lit[2]


def lesion_mask(mask_paths: Sequence[str | os.PathLike], size: tuple[int, int]) -> np.ndarray:
    """Return the union of an image's masks.

    Args:
        mask_paths: mask files; none for an image without a lesion.
        size: height and width of the image in pixels. A mask of another size, as there are in
            BUS-UCLM, is resized to it (nearest neighbour).

    Returns:
        uint8 [H, W], 255 within a lesion and 0 elsewhere.

    Raises:
        ImageError: when a mask cannot be read; the message names it.
    """
    union = np.zeros(size, np.uint8)
    for path in mask_paths:
        mask = read_mask(path).astype(np.uint8) * 255
        if mask.shape != size:
            # INTER_NEAREST is off by half a pixel.
            mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        union |= mask
    return union


def lesion_area_fraction(mask_paths: Sequence[str | os.PathLike], size: tuple[int, int]) -> float:
    """Return the fraction of the image that its lesions cover, 0 to 1; NaN without masks.

    Arguments and errors as of `lesion_mask`.
    """
    if not mask_paths:
        return math.nan
    return float((lesion_mask(mask_paths, size) > 0).mean())
