"""PARULA pseudo-colour, in TensorFlow ops: [..., 3] in, [..., 3] out, values 0 to 255, RGB."""

import functools

import numpy as np
import tensorflow as tf

from breastus.utils.opencv import cv2

_LUMA = (299, 587, 114)  # thousandths, ITU-R BT.601


@functools.cache
def parula_table() -> np.ndarray:
    """Return OpenCV's PARULA table: uint8 [256, 3], RGB, a row for each grey level."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    return cv2.applyColorMap(levels, cv2.COLORMAP_PARULA)[:, 0, ::-1].copy()


def parula(image: tf.Tensor) -> tf.Tensor:
    """Map the grey levels of an image to colours.

    Args:
        image: [..., 3], whole numbers 0 to 255; colours are first converted to grey (ITU-R BT.601).

    Returns:
        float32 [..., 3], RGB, values 0 to 255.
    """
    thousandths = tf.reduce_sum(tf.cast(image, tf.int32) * tf.constant(_LUMA), axis=-1)
    return tf.gather(tf.constant(parula_table(), tf.float32), (thousandths + 500) // 1000)
