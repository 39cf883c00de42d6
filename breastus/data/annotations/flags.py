"""What is drawn on an image or done to it, from its pixels: an image in, flags out.

    caliper        measuring crosses, arrows and boxes that somebody drew on the tissue
    text           letters on the image
    color_doppler  flow in red and blue, or the yellow box in which it is looked for
    color_mode     colour over a large part: elastography and the like
    dual_view      two images side by side
    body_marker    the panel that shows where the probe was

They are found by what tells drawings from echoes: one flat colour, edges of one pixel, straight
lines. What a device prints in the colours and blur of tissue is not found. How well each flag does
on two hospitals' images stands in experiments/RESULTS.md.
"""

import numpy as np

from breastus.data.annotations.calipers import has_crosses
from breastus.data.annotations.color_overlay import Overlay
from breastus.data.annotations.layout import is_dual, panel, straight_lines
from breastus.data.annotations.text import text_lines
from breastus.utils.opencv import cv2

CALIPER, TEXT, COLOR_DOPPLER, COLOR_MODE, DUAL_VIEW, BODY_MARKER = FLAGS = (
    "caliper",
    "text",
    "color_doppler",
    "color_mode",
    "dual_view",
    "body_marker",
)
# What each means for somebody who reads a prediction.
MEANINGS = {
    CALIPER: "somebody has measured or marked something on the image, which can sway a model",
    TEXT: "there is text on the image, which can sway a model",
    COLOR_DOPPLER: "it is a colour Doppler image, not plain B-mode",
    COLOR_MODE: "a large part of it is in colour, as in elastography; it is not plain B-mode",
    DUAL_VIEW: "it shows two views side by side, where models expect one",
    BODY_MARKER: "a panel shows where the probe was, which is no tissue",
}
_SMALLEST = 96  # pixels a side; smaller images have no room for any of these


def annotation_flags(pixels: np.ndarray) -> tuple[str, ...]:
    """Return the flags of an image.

    Args:
        pixels: uint8 [H, W, 3], RGB, as the device drew it: shrunk images lose their marks.

    Returns:
        Names of `FLAGS`, in their order.
    """
    if min(pixels.shape[:2]) < _SMALLEST:
        return ()
    marker = panel(pixels)
    if marker is not None:  # what is drawn there is its own
        left, top, right, bottom = marker
        pixels = pixels.copy()
        pixels[top:bottom, left:right] = 0
    grey = cv2.max(cv2.max(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    overlay = Overlay.of(pixels)
    letters = text_lines(grey)
    boxed = straight_lines(grey)
    found = {
        CALIPER: boxed or overlay.graphics or has_crosses(grey, except_in=letters),
        TEXT: bool(letters),
        COLOR_DOPPLER: not overlay.wide and (overlay.flow or (boxed and overlay.yellow)),
        COLOR_MODE: overlay.wide,
        DUAL_VIEW: is_dual(grey),
        BODY_MARKER: marker is not None,
    }
    return tuple(flag for flag in FLAGS if found[flag])
