"""Crop black borders and resize, in TensorFlow ops: [H, W, C] to [S, S, C], values 0 to 255."""

import functools
from collections.abc import Iterator

import tensorflow as tf

# A border line is black when at most 1 % of its pixels are brighter than 10 of 255: it may hold
# JPEG noise or a stray annotation, but no echoes. Both numbers are our choice.
_BLACK_LEVEL = 10
_BLACK_LINE = 100  # one in so many
_BLOCKS = 4  # of rows or columns that are resized together
_MIN_SIDE = 8  # pixels; a smaller box is no image but an annotation on black


def border_box(image: tf.Tensor) -> tf.Tensor:
    """Return the box without the black borders of an image; dark parts inside it stay.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        int32 [4]: top, bottom, left, right. It is the whole image when that is black all over, or
        holds only an annotation on black.
    """
    brightest = functools.reduce(tf.maximum, tf.unstack(tf.cast(image, tf.int32), axis=-1))
    bright = tf.cast(brightest > _BLACK_LEVEL, tf.int32)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    top, bottom = _extent(_BLACK_LINE * tf.reduce_sum(bright, axis=1) > width)
    left, right = _extent(_BLACK_LINE * tf.reduce_sum(bright, axis=0) > height)
    usable = (bottom - top >= _MIN_SIDE) & (right - left >= _MIN_SIDE)
    return tf.where(usable, [top, bottom, left, right], [0, height, 0, width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Return the part of an image [H, W, C] in a box from `border_box`."""
    top, bottom, left, right = tf.unstack(box)
    return image[top:bottom, left:right]


def resize(image: tf.Tensor, size: int, *, aspect: str = "squash") -> tf.Tensor:
    """Resize to a square with antialiasing, to the same grey levels in every runtime.

    The filter is the triangle of `tf.image.resize(method="bilinear", antialias=True)`, rows first.
    Its weights are whole numbers, and sums of whole numbers below 2**24 are exact in float32 in any
    order, so TensorFlow, ONNX Runtime and LiteRT agree. Results are within one grey level of
    `tf.image.resize`.

    Args:
        image: [H, W, C], any number type, whole numbers 0 to 255.
        size: side of the result in pixels.
        aspect: "squash" fills the square, as the study did; "keep" keeps the ratio of the sides
            and pads with black on both sides equally.

    Returns:
        float32 [size, size, C] in whole grey levels 0 to 255. Because of the rounding, pixels that
        training caches as uint8 equal the pixels of the exported graph.
    """
    height, width, channels = tf.shape(image)[0], tf.shape(image)[1], image.shape[-1]
    rows = columns = tf.constant(size)
    if aspect == "keep":
        longer = tf.maximum(height, width)
        rows = tf.maximum(height * size // longer, 1)
        columns = tf.maximum(width * size // longer, 1)
    resized = _resize_planes(image, rows, columns)
    if aspect == "keep":
        top, left = (
            size * (longer - height) // (2 * longer),
            size * (longer - width) // (2 * longer),
        )
        around = [[top, size - rows - top], [left, size - columns - left], [0, 0]]
        resized = tf.pad(resized, around)
    return tf.reshape(resized, [size, size, channels])  # a static shape


def _resize_planes(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return float32 [rows, columns, C]; the planes of a grey image are resized once."""

    def plane(channel: int) -> tf.Tensor:
        # Grey levels in sixteenths in between, then whole ones.
        lines = tf.cast(image[..., channel], tf.float32)
        shrunk = tf.concat(
            [
                tf.round(16.0 * (weights @ lines[first:last]) / sums)
                for first, last, weights, sums in _blocks(tf.shape(lines)[0], rows)
            ],
            axis=0,
        )
        return tf.concat(
            [
                tf.round(
                    tf.matmul(shrunk[:, first:last], weights, transpose_b=True)
                    / (16.0 * tf.transpose(sums))
                )
                for first, last, weights, sums in _blocks(tf.shape(lines)[1], columns)
            ],
            axis=1,
        )

    channels = range(image.shape[-1])
    if len(channels) == 1:
        return tf.expand_dims(plane(0), -1)
    grey = tf.reduce_all([tf.reduce_all(image[..., 0] == image[..., c]) for c in channels[1:]])
    return tf.cond(
        grey,
        lambda: tf.repeat(tf.expand_dims(plane(0), -1), len(channels), axis=-1),
        lambda: tf.stack([plane(channel) for channel in channels], axis=-1),
    )


def _blocks(length: tf.Tensor, size: tf.Tensor) -> Iterator[tuple[tf.Tensor, ...]]:
    """Yield the weights that resize a line of `length` pixels to `size`, block by block.

    The weight of pixel j for pixel i is `1 - |j + 0.5 - center| / support` where that is positive,
    in 256ths, rounded; `center = (i + 0.5) * length / size`, `support = max(length / size, 1)`. It
    is computed in whole numbers. If a pixel has more than 16 weights on a side, they are coarser
    than 256ths, so that sums of them and of sixteenths of grey levels stay below 2**24.

    Yields:
        First pixel and end of the pixels that count for a block of results; float32 weights
        [results, pixels], which are not divided by their sums; the sums [results, 1].
    """
    longer = tf.maximum(length, size)
    support = -(-longer // size)  # pixels, rounded up
    unit = tf.minimum(256, 4096 // support - 1)
    for block in range(_BLOCKS):
        start, end = block * size // _BLOCKS, (block + 1) * size // _BLOCKS
        first = tf.maximum(start * length // size - support, 0)
        last = tf.minimum(end * length // size + support + 1, length)
        pixels, center = 2 * tf.range(first, last) + 1, 2 * tf.range(start, end) + 1
        distance = tf.abs(
            pixels * size - tf.expand_dims(center, 1) * length
        )  # in 1 / (2 * size) pixels
        nearness = tf.maximum(2 * longer - distance, 0)
        weights = tf.cast((unit * nearness + longer) // (2 * longer), tf.float32)
        yield first, last, weights, tf.reduce_sum(weights, axis=1, keepdims=True)


def _extent(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first true position and one past the last; (0, 0) if all are false."""
    positions = tf.cast(tf.where(lines)[:, 0], tf.int32)
    found = tf.size(positions) > 0
    # reduce_min of an empty tensor is the largest value of its type.
    return (
        tf.where(found, tf.reduce_min(positions), 0),
        tf.where(found, tf.reduce_max(positions) + 1, 0),
    )
