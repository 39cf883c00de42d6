"""The picture of a lesion map: an image and its map in, the image in colours and a colour bar out.

The colours are matplotlib's `viridis`: perceptually uniform, and distinct for colour-blind readers.
They become fainter towards 0, so that the tissue stays visible. The white line runs along 0.5.
"""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from breastus.reporting.pictures import shrink
from breastus.utils.opencv import cv2

_STRENGTH = 0.6  # largest weight of the colours
_LINE = 0.5
_BAR, _GAP, _SCALE = 10, 8, 30  # widths in pixels: the colour bar, before it, its numbers
_INK = (235, 238, 243)  # on black, as images are


def heat_map(pixels: np.ndarray, lesion_map: np.ndarray, *, side: int) -> np.ndarray:
    """Return an image with its lesion map and a colour bar.

    Args:
        pixels: uint8 [H, W, 3].
        lesion_map: float32, 0 to 1, of any size; it is stretched over the image.
        side: longer side of the image in the picture, in pixels.

    Returns:
        uint8 [h, w, 3].
    """
    drawn = shrink(pixels, side)
    height, width = drawn.shape[:2]
    level = np.clip(cv2.resize(lesion_map.astype(np.float32), (width, height)), 0, 1)
    mixed = _mixed(drawn, level)
    contours, _ = cv2.findContours(
        (level >= _LINE).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(mixed, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([mixed, _color_bar(height)], axis=1)


def _mixed(grey: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return uint8 [h, w, 3]: an image under the colours of levels 0 to 1, [h, w]."""
    colors = _colors()[np.round(255 * level).astype(int)]
    weight = _STRENGTH * np.minimum(2 * level, 1.0)[..., None]
    return np.round((1 - weight) * grey + weight * colors).astype(np.uint8)


def beside_image(pixels: np.ndarray, lesion_map: np.ndarray, *, side: int) -> np.ndarray:
    """Return an image and, beside it, `heat_map`: uint8 [h, w, 3]; arguments as there."""
    image = shrink(pixels, side)
    gap = np.zeros((len(image), _GAP, 3), np.uint8)
    return np.concatenate([image, gap, heat_map(pixels, lesion_map, side=side)], axis=1)


@functools.cache
def _colors() -> np.ndarray:
    """Return float [256, 3], 0 to 255."""
    import matplotlib as mpl

    return 255 * mpl.colormaps["viridis"](np.arange(256))[:, :3]


def _color_bar(height: int) -> np.ndarray:
    """Return uint8 [height, w, 3]: the colours on a middle grey, from 1 at the top to 0."""
    bar = np.zeros((height, _GAP + _BAR + _SCALE, 3), np.uint8)
    level = np.repeat(np.linspace(1, 0, height)[:, None], _BAR, axis=1)
    bar[:, _GAP : _GAP + _BAR] = _mixed(np.full((height, _BAR, 3), 110, np.uint8), level)
    image = Image.fromarray(bar)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    left = _GAP + _BAR + 4
    for value, anchor in ((1.0, "lt"), (0.5, "lm"), (0.0, "lb")):
        place = (left, round((1 - value) * (height - 1)))
        draw.text(place, f"{value:g}", fill=_INK, font=font, anchor=anchor)
    return np.array(image)
