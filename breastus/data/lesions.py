"""How much of an image its lesions cover: mask files in, a share and a count out.

An image may have several masks; a pixel that two of them cover counts once.
"""

import math
import os
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from breastus.data.masks import read_mask
from breastus.data.sources.resolve import DataWarning
from breastus.utils.opencv import cv2

_SPECK = 1e-4  # share of the image; what is smaller is a slip of the pen, and no lesion


class Lesions(NamedTuple):
    """What the masks of an image say.

    Attributes:
        share: of the image's pixels that any mask covers, 0 to 1; NaN without masks, which is
            unknown and not none.
        count: lesions, connected pieces of each mask; None without masks.
        resized: masks whose size was not the image's.
    """

    share: float
    count: int | None
    resized: int


def measure_lesions(
    mask_paths: Sequence[str | os.PathLike], *, size: tuple[int, int] | None = None
) -> Lesions:
    """Read the masks of one image.

    Args:
        mask_paths: files; none for an image without masks.
        size: height and width of the image; None takes the first mask's.

    Raises:
        ImageError: when a mask cannot be read; the message names it.

    Warns:
        DataWarning: for each mask of another size, which is resized to the nearest pixel.
    """
    covered, count, resized = None, 0, 0
    for path in mask_paths:
        mask = read_mask(path)
        size = size or mask.shape
        if mask.shape != tuple(size):
            warnings.warn(
                f"{path} is resized to its image's {size[1]} x {size[0]} pixels, by the nearest "
                f"one. It has {mask.shape[1]} x {mask.shape[0]}",
                DataWarning,
                stacklevel=2,
            )
            mask = _nearest(mask, size)
            resized += 1
        count += _pieces(mask)
        covered = mask if covered is None else covered | mask
    if covered is None:
        return Lesions(math.nan, None, 0)
    return Lesions(float(covered.mean()), count, resized)


def lesion_shares(
    mask_paths: Sequence[str | os.PathLike], *, size: tuple[int, int] | None = None
) -> float:
    """Return `measure_lesions(...).share`: how much of the image its lesions cover."""
    return measure_lesions(mask_paths, size=size).share


def _nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    flags = cv2.INTER_NEAREST_EXACT  # INTER_NEAREST is off by half a pixel
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=flags) > 0


def _pieces(mask: np.ndarray) -> int:
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return int((boxes[1:, cv2.CC_STAT_AREA] >= _SPECK * mask.size).sum())
