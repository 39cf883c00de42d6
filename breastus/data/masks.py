"""Lesion masks: mask files in, what they cover of their image out."""

import os
from collections.abc import Sequence

import numpy as np

from breastus.data.images import ImageFile
from breastus.utils.opencv import cv2

_JPEG_NOISE = 8  # grey levels that compression may add to a black mask


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Return what one mask file marks, bool [H, W].

    Any level but black counts, in any channel: masks are drawn in colours, and some hold class
    numbers such as 1, which look black.

    Raises:
        ImageError: when the file cannot be read.
    """
    file = ImageFile.read(path)
    black = _JPEG_NOISE if file.encoded.startswith(b"\xff\xd8") else 0
    lit = [plane > black for plane in np.moveaxis(file.pixels, -1, 0)]
    return lit[0] | lit[1] | lit[2]


def lesion_mask(mask_paths: Sequence[str | os.PathLike], size: tuple[int, int]) -> np.ndarray:
    """Return the union of an image's masks.

    Args:
        mask_paths: none for an image without a lesion.
        size: height and width of the image in pixels. A mask of another size, as a few of BUS-UCLM
            are, is stretched to it.

    Returns:
        uint8 [H, W], 255 within a lesion and 0 elsewhere.

    Raises:
        ImageError: when a mask cannot be read.
    """
    union = np.zeros(size, np.uint8)
    for path in mask_paths:
        mask = read_mask(path).astype(np.uint8) * 255
        if mask.shape != size:
            mask = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        union |= mask
    return union
