"""Draw annotations on an image as a sonographer does: pixels and a seed in, annotated pixels out.

They are two measurements, each of two crosses with a dotted line between them and a number beside
it, and a line of text below. Sizes, grey level and noise follow the GE LOGIQ E9 of BUSI: crosses of
17 pixels, strokes of 3, level 226 of 255, on images about 500 pixels high. Larger images have
larger annotations.
"""

import numpy as np

from breastus.errors import ImageError
from breastus.utils.opencv import cv2

TEXTS = ("RT UOQ", "LT UOQ", "RT LIQ", "LT 3 O'CLOCK", "RT 9 O'CLOCK", "LT RETROAR", "RT BREAST")
MIN_SIDE = 96  # pixels; smaller images have no room for annotations

_LEVEL, _NOISE = 226, 5  # grey levels
_CROSS, _GAP, _SIZE = 8, 5, 14  # pixels of an arm, from dot to dot, and of a letter
_USUAL = 500  # height in pixels of an image with annotations of these sizes
_FONT, _LETTER = 0, 21  # FONT_HERSHEY_SIMPLEX, and the height of its capitals at scale 1, pixels


def draw_annotations(pixels: np.ndarray, seed: int) -> np.ndarray:
    """Return a copy of an image, uint8 [H, W, 3], with calipers and a line of text.

    The seed decides positions, lengths and the text. An image with a side below `MIN_SIDE` raises
    ImageError.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"An image must have at least {MIN_SIDE} pixels a side to be drawn on. "
            f"Received: {width} x {height}"
        )
    rng = np.random.default_rng(seed)
    scale = max(1, round(min(height, width) / _USUAL))
    mask = np.zeros((height, width), np.uint8)
    middle = np.array([width, height]) * rng.uniform([0.4, 0.3], [0.6, 0.45])
    angle = rng.uniform(-0.4, 0.4)
    for number, (turn, share) in enumerate(((0.0, 0.4), (np.pi / 2, 0.25)), start=1):
        length = min(height, width) * share * rng.uniform(0.7, 1.0)
        half = length / 2 * np.array([np.cos(angle + turn), np.sin(angle + turn)])
        _measure(mask, middle - half, middle + half, str(number), scale)
    text = str(rng.choice(TEXTS))
    place = rng.uniform([0.08, 0.8], [0.25, 0.9]) * [width, height]
    _write(mask, text, place, scale, widest=int(0.7 * width))

    drawn = mask > 0
    marked = pixels.copy()
    level = rng.normal(_LEVEL, _NOISE, (int(drawn.sum()), 1))
    marked[drawn] = np.clip(np.round(level), 0, 255).astype(np.uint8)
    return marked


def _measure(mask: np.ndarray, start, end, number: str, scale: int) -> None:
    arm, thick = _CROSS * scale, scale  # pixels from the centre line of a stroke to its edge
    for x, y in (np.round(start).astype(int), np.round(end).astype(int)):
        mask[max(0, y - thick) : y + thick + 1, max(0, x - arm) : x + arm + 1] = 1
        mask[max(0, y - arm) : y + arm + 1, max(0, x - thick) : x + thick + 1] = 1
    steps = int(np.hypot(*(end - start)) / (_GAP * scale))
    for x, y in np.round(np.linspace(start, end, steps + 1)).astype(int):
        mask[y : y + 2 * scale, x : x + 2 * scale] = 1
    beside = start + np.array([-1.9, 1.9]) * arm
    _write(mask, number, beside, scale, widest=4 * arm)


def _write(mask: np.ndarray, text: str, place, scale: int, *, widest: int) -> None:
    """Write a text, in smaller letters where it would be too wide."""
    thick = 2 * scale
    factor = _SIZE * scale / _LETTER
    (length, _), _ = cv2.getTextSize(text, _FONT, factor, thick)
    factor *= min(1.0, widest / length)
    x, y = (round(float(value)) for value in place)
    cv2.putText(mask, text, (x, y), _FONT, factor, 1, thick)
