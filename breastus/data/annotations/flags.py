"""Flags for annotations, colour modes and black images: the pixels of an image in, flags out.

    caliper        measuring crosses, arrows and boxes drawn on the tissue
    text           letters on the image
    color_doppler  flow in red and blue, or the yellow box in which it is measured
    color_mode     colour over a large part, as in elastography
    dual_view      two images side by side
    body_marker    the panel that shows the position of the probe
    nearly_black   hardly any pixel is brighter than a quarter of the range

Drawings differ from echoes by one flat colour, edges of one pixel and straight lines. Annotations
in the colours and blur of tissue are not found. experiments/RESULTS.md lists the sensitivity and
specificity of each flag on images of two hospitals.
"""

import numpy as np

from breastus.data.annotations.calipers import has_crosses
from breastus.data.annotations.color_overlay import find_color
from breastus.data.annotations.drawing import MIN_SIDE
from breastus.data.annotations.layout import find_panel, has_straight_line, is_dual_view
from breastus.data.annotations.text import text_lines
from breastus.utils.opencv import cv2

# What each flag means to the reader of a prediction.
MEANINGS = {
    "caliper": "calipers or other marks are drawn on the image, which can mislead a model",
    "text": "there is text on the image, which can mislead a model",
    "color_doppler": "it is a colour Doppler image, not plain B-mode",
    "color_mode": "a large part of it is in colour, as in elastography; it is not plain B-mode",
    "dual_view": "it shows two views side by side, where models expect one",
    "body_marker": "it holds a body marker panel, which is not tissue",
    "nearly_black": "it is nearly black, perhaps because its grey range was misread when exported",
}
FLAGS = tuple(MEANINGS)
CALIPER, TEXT, COLOR_DOPPLER, COLOR_MODE, DUAL_VIEW, BODY_MARKER, NEARLY_BLACK = FLAGS
# An image is nearly black if less than this fraction of its pixels reaches this level. Of the
# images of BUSI and BUS-UCLM each reaches 120.
_LIT_FRACTION, _LIT_LEVEL = 0.01, 64


def annotation_flags(pixels: np.ndarray) -> tuple[str, ...]:
    """Return the flags of an image, in the order of `FLAGS`.

    Args:
        pixels: uint8 [H, W, 3], RGB, at the original size: shrunk images lose their annotations.
    """
    grey = cv2.max(cv2.max(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    dark = (NEARLY_BLACK,) if _is_nearly_black(grey) else ()
    if min(pixels.shape[:2]) < MIN_SIDE:
        return dark
    panel = find_panel(pixels)
    if panel is not None:  # drawings in the panel belong to it
        left, top, right, bottom = panel
        pixels = pixels.copy()
        pixels[top:bottom, left:right] = grey[top:bottom, left:right] = 0
    color = find_color(pixels)
    letters = text_lines(grey)
    boxed = has_straight_line(grey)
    found = {
        CALIPER: boxed or color.graphics or has_crosses(grey, except_in=letters),
        TEXT: bool(letters),
        COLOR_DOPPLER: not color.wide and (color.flow or (boxed and color.yellow)),
        COLOR_MODE: color.wide,
        DUAL_VIEW: is_dual_view(grey),
        BODY_MARKER: panel is not None,
    }
    return (*(flag for flag in FLAGS if found.get(flag)), *dark)


def _is_nearly_black(grey: np.ndarray) -> bool:
    return np.count_nonzero(grey >= _LIT_LEVEL) < _LIT_FRACTION * grey.size
