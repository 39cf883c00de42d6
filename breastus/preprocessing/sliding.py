"""Sliding windows and grey-scale morphology in TensorFlow ops: [H, W] in, [H, W] out.

A window of n pixels takes about log2(n) operations on whole images: two windows of half its length
are joined, one shifted against the other. On a CPU that is faster than TensorFlow's own pooling.
"""

from collections.abc import Callable

import tensorflow as tf

Join = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def sliding_reduce(
    image: tf.Tensor, axis: int, join: Join, *, before: int, after: int, outside: float = 0.0
) -> tf.Tensor:
    """Reduce each pixel and its neighbours along one axis to one value.

    Args:
        image: [H, W].
        axis: 0 for columns, 1 for rows.
        join: associative function of two tensors, such as `tf.maximum` or `tf.add`.
        before: number of neighbours before the pixel.
        after: number of neighbours after it.
        outside: value beyond the image.
    """
    pads = [[before, after] if number == axis else [0, 0] for number in (0, 1)]
    image = tf.pad(image, pads, constant_values=outside)
    length, joined = before + after + 1, 1
    while joined < length:
        # Windows may overlap for maxima, but not for sums: their length must be a power of two.
        step = min(joined, length - joined)
        count = tf.shape(image)[axis] - step
        image = join(_part(image, axis, 0, count), _part(image, axis, step, count))
        joined += step
    return image


def dilate(image: tf.Tensor, side: int) -> tf.Tensor:
    """Return the largest value (at least 0) in the square of odd `side` around each pixel."""
    half = side // 2
    for axis in (0, 1):
        image = sliding_reduce(image, axis, tf.maximum, before=half, after=half)
    return image


def erode(image: tf.Tensor, side: int) -> tf.Tensor:
    """Return the smallest value (at most 255) in the square of odd `side` around each pixel."""
    half = side // 2
    for axis in (0, 1):
        image = sliding_reduce(image, axis, tf.minimum, before=half, after=half, outside=255.0)
    return image


def _part(image: tf.Tensor, axis: int, start: int, count: tf.Tensor) -> tf.Tensor:
    end = start + count
    return image[start:end] if axis == 0 else image[:, start:end]
