"""Views of test-time augmentation: few, fixed, and in whole pixels, as the exported graph needs.

For images uint8 [n, S, S, 3] a view applies, in this order:

    flip    reverses axis 2
    crop    keeps rows top to S - bottom and columns left to S - right; each of the four is
            (S * parts + 50) // 100 pixels. Then resizes to S x S as the image transform does:
            `breastus.preprocessing.crop_and_resize.resize_batch`.
    gain    looks each value up in a table of 256: `tf.gather(gain_table(decibels), image)`
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastus.errors import ConfigError
from breastus.evaluation.robustness.corruptions import DYNAMIC_RANGE

_BLACK, _ECHO = 10, 34  # grey levels from which a gain sets in, and applies in full


@dataclass(frozen=True)
class View:
    """One view of an image.

    Attributes:
        flip: mirror left and right.
        crop: margins cut at the top, bottom, left and right, in whole hundredths of the side. Equal
            margins zoom in; others also shift the window.
        gain: gain in dB, as of a scanner; black stays black.
    """

    flip: bool = False
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    gain: float = 0.0


_PLAIN, _FLIP = View(), View(flip=True)
_ZOOMS = (View(crop=(4, 4, 4, 4)), View(flip=True, crop=(4, 4, 4, 4)))
_SHIFTS = tuple(
    View(crop=crop) for crop in ((0, 6, 0, 6), (0, 6, 6, 0), (6, 0, 0, 6), (6, 0, 6, 0))
)
_GAINS = (View(gain=2.0), View(gain=-2.0))
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (_PLAIN,),
    "flip": (_PLAIN, _FLIP),
    "flip_zoom": (_PLAIN, _FLIP, *_ZOOMS),
    "flip_shift": (_PLAIN, _FLIP, *_SHIFTS),
    "flip_gain": (_PLAIN, _FLIP, *_GAINS),
    "all": (_PLAIN, _FLIP, *_ZOOMS, *_SHIFTS, *_GAINS),
}


def gain_table(decibels: float) -> np.ndarray:
    """Return the grey level that a gain gives each grey level, uint8 [256], never falling.

    Decibels are grey levels as in `corruptions`. They are added in full from level 34 on, not at
    all up to 10, and in proportion between.

    Args:
        decibels: gain in dB, -5 to 5, so that no level overtakes another.
    """
    if not abs(decibels) <= 5:
        raise ConfigError(f"gain must be from -5 to 5 dB. Received: {decibels}")
    level = np.arange(256, dtype=np.float64)
    weight = np.clip((level - _BLACK) / (_ECHO - _BLACK), 0, 1)
    changed = level + weight * decibels * 255 / DYNAMIC_RANGE
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def margins(side: int, crop: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the margins of a crop at the top, bottom, left and right of a square, in pixels."""
    return tuple((side * parts + 50) // 100 for parts in crop)
