"""Colour on a grey image: RGB pixels in, what the colours are of out.

Devices tint their grey images. What counts is how far a pixel's colour is from that of the image's
other pixels of its brightness.
"""

from dataclasses import dataclass

import numpy as np

from breastus.utils.opencv import cv2

_TINT = 40  # levels between the channels up to which a colour may be the device's tint
_GREY = 12  # levels between the channels up to which an image has no colour: a JPEG's rounding
_COLORED = 25  # levels from the image's own tint
_VIVID = 60  # for drawings: levels from it, and between the channels
_STRONG = 40  # levels by which red or blue exceeds the other two channels in flow
_FLOW = 2.5e-4  # share of the image; the least of 24 Doppler images has 3.0e-4
_WIDE = 0.1  # share of the image that elastography colours at the least
_DRAWN = 20  # pixels of drawings in colour; the smallest caliper has 24
_YELLOW, _YELLOW_PIXELS = 8, 400  # the faint lines of a Doppler box
# Devices mark the probe's side at the top, the focus at the sides, the depth at the bottom; those
# say nothing of lumps. Shares of height and width.
_TOP, _SIDES, _BOTTOM = 0.045, 0.015, 0.03


@dataclass(frozen=True)
class Overlay:
    """What is coloured on an image.

    Attributes:
        flow: whether there is red or blue as in colour Doppler.
        wide: whether a large part is coloured.
        graphics: whether something is drawn in another colour, apart from flow.
        yellow: whether there is as much faint yellow as the lines of a Doppler box have.
    """

    flow: bool = False
    wide: bool = False
    graphics: bool = False
    yellow: bool = False

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Overlay":
        """Look at an image, uint8 [H, W, 3], RGB."""
        red, green, blue = cv2.split(pixels)
        spread = cv2.subtract(
            cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        )
        if spread.max() <= _GREY:
            return cls()
        off_tint = _off_tint(pixels, spread <= _TINT)
        _cut_edges(off_tint)
        colored = off_tint > _COLORED
        red_or_blue = (
            (cv2.subtract(red, cv2.max(green, blue)) > _STRONG)
            | (cv2.subtract(blue, cv2.max(red, green)) > _STRONG)
        ) & colored
        # In a warm tint everything is yellowish; lines are more so than the rest.
        yellow = (cv2.subtract(cv2.min(red, green), blue) > _YELLOW) & (off_tint > _YELLOW)
        return cls(
            flow=bool(red_or_blue.mean() >= _FLOW),
            wide=bool(colored.mean() >= _WIDE),
            graphics=_drawn((off_tint > _VIVID) & (spread > _VIVID), red_or_blue) >= _DRAWN,
            yellow=int(yellow.sum()) >= _YELLOW_PIXELS,
        )


def _off_tint(pixels: np.ndarray, pale: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from its image's tint, that of the pale pixels of its level.

    Returns:
        int16 [H, W], grey levels.
    """
    red, green, blue = cv2.split(pixels)
    level = cv2.max(cv2.max(red, green), blue) >> 3
    # A ninth of the pixels tells as much.
    some_pale = pale[::3, ::3]
    some_level = level[::3, ::3][some_pale]
    order = np.argsort(some_level, kind="stable")
    numbers, starts = np.unique(some_level[order], return_index=True)
    off = np.zeros(level.shape, np.int16)
    for channel in (red, blue):
        chroma = cv2.subtract(channel, green, dtype=cv2.CV_16S)
        tint = np.zeros(32, np.int16)
        parts = np.split(chroma[::3, ::3][some_pale][order], starts[1:])
        for number, part in zip(numbers, parts, strict=False):  # of no level there is one, empty
            tint[number] = np.median(part)
        off = cv2.max(off, cv2.absdiff(chroma, tint[level]))
    return off


def _cut_edges(values: np.ndarray) -> None:
    height, width = values.shape
    top, bottom = int(_TOP * height), height - int(_BOTTOM * height)
    left, right = int(_SIDES * width), width - int(_SIDES * width)
    values[:top] = values[bottom:] = 0
    values[:, :left] = values[:, right:] = 0


def _drawn(vivid: np.ndarray, flow: np.ndarray) -> int:
    """Return how many vivid pixels are part of no flow; 0 where there are too few to matter."""
    if np.count_nonzero(vivid) < _DRAWN:
        return 0
    # Between red and blue, flow has other colours; the whole patch is flow.
    count, parts = cv2.connectedComponents(
        cv2.dilate((vivid | flow).astype(np.uint8), np.ones((3, 3), np.uint8)), connectivity=8
    )
    is_flow = np.zeros(count, bool)
    is_flow[parts[flow]] = True
    return int((vivid & ~is_flow[parts]).sum())
