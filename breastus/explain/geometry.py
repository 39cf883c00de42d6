"""From the frame of the transformed image back to the pixels of the original one."""

import numpy as np

from breastus.preprocessing.crop_and_resize import resized_shape
from breastus.preprocessing.transform import Transform
from breastus.utils.opencv import cv2


def to_original(lesion_map: np.ndarray, pixels: np.ndarray, transform: Transform) -> np.ndarray:
    """Return a lesion map in the frame of the original image; 0 in borders that were cut off.

    Args:
        lesion_map: float32 [S, S], in the frame of the transformed image.
        pixels: the original image, uint8 [H, W, 3].
        transform: the transform that the network's input went through.

    Returns:
        float32 [H, W].
    """
    top, bottom, left, right = transform.shown_box(pixels).numpy()
    height, width, side = bottom - top, right - left, transform.image_size
    rows, columns = (int(n) for n in resized_shape(height, width, side, aspect=transform.aspect))
    above, before = (side - rows) // 2, (side - columns) // 2
    filled = lesion_map[above : above + rows, before : before + columns]
    found = np.zeros(pixels.shape[:2], np.float32)
    # Both resize with pixel centres at half a pixel, so that places agree.
    found[top:bottom, left:right] = cv2.resize(filled, (int(width), int(height)))
    return found
