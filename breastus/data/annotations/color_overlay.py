"""Colour on a grey image: RGB pixels in, the kinds of colour on it out.

Devices tint their grey images. A pixel is therefore compared with the tint of the image, which is
the median colour of the pale pixels of the same brightness.
"""

from dataclasses import dataclass

import numpy as np

from breastus.utils.opencv import cv2

# Grey levels between the channels, which the removal of annotations uses too.
GREY_SPREAD = 12  # an image without colour has at most this: the rounding of a JPEG
TINT_SPREAD = 40  # up to this a colour may be the tint of the device
VIVID = 60  # a drawing has more, and so much difference from the tint

_COLORED = 25  # levels from the tint of the image
_STRONG = 40  # levels by which red or blue exceeds the other two channels in flow
_FLOW = 2.5e-4  # fraction of the image; the least of 24 Doppler images has 3.0e-4
_WIDE = 0.1  # least fraction of the image that elastography colours
_DRAWN = 20  # pixels of drawings in colour; the smallest caliper has 24
_YELLOW, _YELLOW_PIXELS = 8, 400  # the faint lines of a Doppler box
# Devices mark the side of the probe at the top, the focus at the sides and the depth at the bottom,
# whether there is a lump or not. Fractions of height and width.
_TOP, _SIDES, _BOTTOM = 0.045, 0.015, 0.03


@dataclass(frozen=True)
class ColorOverlay:
    """The colours on an image."""

    flow: bool = False  # red or blue as in colour Doppler
    wide: bool = False  # a large coloured part
    graphics: bool = False  # a drawing in another colour that is no part of flow
    yellow: bool = False  # as much faint yellow as the lines of a Doppler box have


def find_color(pixels: np.ndarray) -> ColorOverlay:
    """Return the colours on an image, uint8 [H, W, 3], RGB."""
    red, green, blue = cv2.split(pixels)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    if spread.max() <= GREY_SPREAD:
        return ColorOverlay()
    off_tint = _off_tint(pixels, spread <= TINT_SPREAD)
    _clear_edges(off_tint)
    colored = off_tint > _COLORED
    flow = (
        (cv2.subtract(red, cv2.max(green, blue)) > _STRONG)
        | (cv2.subtract(blue, cv2.max(red, green)) > _STRONG)
    ) & colored
    # In a warm tint everything is yellowish, the lines of a box more than the tissue.
    yellow = (cv2.subtract(cv2.min(red, green), blue) > _YELLOW) & (off_tint > _YELLOW)
    return ColorOverlay(
        flow=bool(flow.mean() >= _FLOW),
        wide=bool(colored.mean() >= _WIDE),
        graphics=_count_drawn((off_tint > VIVID) & (spread > VIVID), flow) >= _DRAWN,
        yellow=int(yellow.sum()) >= _YELLOW_PIXELS,
    )


def _off_tint(pixels: np.ndarray, pale: np.ndarray) -> np.ndarray:
    """Return the difference of each pixel from the tint of the image, int16 [H, W], grey levels."""
    red, green, blue = cv2.split(pixels)
    level = cv2.max(cv2.max(red, green), blue) >> 3
    # A ninth of the pixels gives the same tint.
    some_pale = pale[::3, ::3]
    some_level = level[::3, ::3][some_pale]
    order = np.argsort(some_level, kind="stable")
    numbers, starts = np.unique(some_level[order], return_index=True)
    off = np.zeros(level.shape, np.int16)
    for channel in (red, blue):
        chroma = cv2.subtract(channel, green, dtype=cv2.CV_16S)
        tint = np.zeros(32, np.int16)
        parts = np.split(chroma[::3, ::3][some_pale][order], starts[1:])
        for number, part in zip(numbers, parts, strict=False):  # without pale pixels: one, empty
            tint[number] = np.median(part)
        off = cv2.max(off, cv2.absdiff(chroma, tint[level]))
    return off


def _clear_edges(values: np.ndarray) -> None:
    height, width = values.shape
    top, bottom = int(_TOP * height), height - int(_BOTTOM * height)
    left, right = int(_SIDES * width), width - int(_SIDES * width)
    values[:top] = values[bottom:] = 0
    values[:, :left] = values[:, right:] = 0


def _count_drawn(vivid: np.ndarray, flow: np.ndarray) -> int:
    """Return the number of vivid pixels outside flow; 0 where there are too few to matter."""
    if np.count_nonzero(vivid) < _DRAWN:
        return 0
    # Between red and blue, flow has other colours: the whole connected patch is flow.
    count, parts = cv2.connectedComponents(
        cv2.dilate((vivid | flow).astype(np.uint8), np.ones((3, 3), np.uint8)), connectivity=8
    )
    is_flow = np.zeros(count, bool)
    is_flow[parts[flow]] = True
    return int((vivid & ~is_flow[parts]).sum())
