"""Lesion masks: the mask files of one image in, the pixels that its lesions cover out.

Also what tells a mask, or a lesion that is cut out on black, from a B-mode image: speckle has many
grey levels, a mask has few.
"""

import math
import os
from collections.abc import Sequence

import numpy as np

from breastus.data.images import ImageFile
from breastus.utils.opencv import cv2

_COMPRESSION_NOISE = 8  # grey levels that lossy compression may add to a black mask
_NEAR = 6 / 255  # share of the range of grey levels within which pixels count as one level
_LEVELS = 4  # background and up to three classes
# Share of pixels in the most common levels: at most 0.68 in BUSI and BUS-UCLM, 1 in their masks.
_MASK_SHARE = 0.85
_OTHER_SHARE = 0.6  # the same without the most common level, because borders of scans are black
_EDGES = 0.02  # share of pixels at the edges of a lesion, whose levels are ignored

MIN_BLACK = 0.2  # share of a cut-out that is black


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Return what one mask file covers, bool [H, W].

    Any level but black counts, in any channel: masks are drawn in colours, and some hold class
    numbers such as 1, which look black.
    """
    return covered_pixels(ImageFile.read(path))


def covered_pixels(file: ImageFile) -> np.ndarray:
    """Return what a mask file that has been read covers, bool [H, W]; see `read_mask`."""
    black = _COMPRESSION_NOISE if file.lossy else 0
    lit = [plane > black for plane in np.moveaxis(file.pixels, -1, 0)]
    return lit[0] | lit[1] | lit[2]


def lesion_mask(mask_paths: Sequence[str | os.PathLike], size: tuple[int, int]) -> np.ndarray:
    """Return the union of an image's masks: uint8 [H, W], 255 within a lesion and 0 elsewhere.

    Args:
        mask_paths: mask files; none for an image without a lesion.
        size: height and width of the image in pixels. A mask of another size, as there are in
            BUS-UCLM, is resized to it (nearest neighbour).

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
    """Return the fraction of the image that its lesions cover, 0 to 1; NaN without masks."""
    if not mask_paths:
        return math.nan
    return float((lesion_mask(mask_paths, size) > 0).mean())


def looks_like_mask(pixels: np.ndarray) -> bool:
    """Return whether an image, uint8 [H, W, 3], has few grey levels, as masks and blank images."""
    # Green is enough, as B-mode images are grey, and a mask has few levels in each channel.
    counts = np.bincount(pixels[::2, :, 1].ravel(), minlength=256).astype(float)
    distance = round(_NEAR * int(np.flatnonzero(counts).max()))
    shares = []
    for _ in range(_LEVELS):
        level = int(counts.argmax())
        near = slice(max(0, level - distance), level + distance + 1)
        shares.append(counts[near].sum())
        counts[near] = 0
    left, total = counts.sum(), sum(shares) + counts.sum()
    others = total - shares[0]
    few = left <= _EDGES * total or sum(shares[1:]) >= _OTHER_SHARE * others
    return bool(few and sum(shares) >= _MASK_SHARE * total)


def is_cutout(pixels: np.ndarray, image: np.ndarray) -> bool:
    """Return whether an image is a part of another one, and black where the other one is not.

    Both are uint8 [H, W, 3].
    """
    if pixels.shape != image.shape:
        return False
    part, whole = pixels[..., 1].astype(np.int16), image[..., 1].astype(np.int16)
    lit, black = part > 2 * _COMPRESSION_NOISE, part <= _COMPRESSION_NOISE
    if not lit.any() or black.mean() < MIN_BLACK:
        return False
    same = np.abs(part - whole)[lit] <= 2 * _COMPRESSION_NOISE
    return bool(same.mean() >= 0.95 and (whole[black] > 3 * _COMPRESSION_NOISE).mean() >= 0.2)
